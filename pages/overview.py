"""What the tool answers, where to start, and the current experiment at a glance."""

from collections.abc import Mapping

import streamlit as st
from torch import Tensor

from ntkcore.data import Task
from ntkcore.readings.kernel import read_prediction
from ntkcore.runs.presets import PRESETS, Preset
from ntkcore.runs.specs import Experiment, StageSpec
from pages.ui.code import overview_lines
from pages.ui.controls import sidebar
from pages.ui.controls.evolution import EVOLUTION
from pages.ui.controls.transfer import STORY
from pages.ui.sections import front
from pages.ui.sections.samples import class_pictures, task_of
from pages.ui.shell.links import go_to
from pages.ui.shell.page import page
from pages.ui.shell.results import latest, need
from pages.ui.shell.show import explain, pictures

experiment = page("Overview", "What does the neural tangent kernel say about adversarial robustness?", needed=False)

FRONT = ("start", "shoes", "ten", "toy", "story", "evolution")  # all on bundled data
PAPER = (
    "N. Tsilivis and J. Kempe, [What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?]"
    "(https://arxiv.org/abs/2210.05577), NeurIPS 2022"
)
INTRODUCTION = (
    "A very wide network in NTK parameterisation, however long it is trained, predicts as a kernel machine does, "
    "with its **neural tangent kernel** (NTK). So the kernel alone, without training, makes adversarial examples "
    "for such networks. Its eigenvectors are **features**: the paper finds robust ones among the first, and "
    "useful but brittle ones behind them. These pages test that, and say how sure every number is. Pick data and "
    "an architecture on the left, or start from one of these."
)


def _open(preset: Preset) -> None:
    """The sidebar takes the preset's experiment; one about finite nets opens on its own page."""
    sidebar.apply(preset.experiment)
    if preset.story is not None:
        go_to("pages/transfer.py", **STORY.values(preset.story))
    if preset.evolution is not None:
        go_to("pages/evolution.py", **EVOLUTION.values(preset.evolution))


def _wanted(e: Experiment) -> dict[str, StageSpec]:
    picture = front.attacked(e)
    return {"predict": e.predict()} if picture is None else {"picture": picture, "predict": e.predict()}


def _glance(e: Experiment, task: Task, a: Mapping[str, Tensor]) -> None:
    """Images of each class, the three accuracies, and the sentence on them; how they are computed."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        pictures(class_pictures(task), width=88)
    with right:
        kind = str(e.attack).split()[0]
        clean, attacked, pgd = (float(a[name].double().mean()) for name in ("right", "attack_right", "pgd_right"))
        for place, (label, value) in zip(
            st.columns(3),
            (("Clean", clean), (kind, attacked), ("PGD" if kind != "PGD" else "PGD, strong", pgd)),
            strict=True,
        ):
            place.metric(
                label, f"{value:.1%}", border=True, help="Share of the test images that the kernel gets right."
            )
        st.markdown(
            read_prediction(
                a["right"].numpy(),
                a["attack_right"].numpy(),
                a["pgd_right"].numpy(),
                float(a["majority"]),
                str(e.attack),
                trained=e.checkpoint is not None,
            )
        )
        st.caption("In brackets: 95 % intervals over the test images, of this one draw of training images.")
        if float(a["outputs"].abs().max()) < 1e-8:
            st.info(
                "The prediction is zero up to rounding: the same images carry opposite labels, or the ridge is huge."
            )
        if int(a["left_out"]):
            st.caption(
                f"{int(a['left_out'])} eigenvalues are zero up to rounding (duplicate images?) and were left out."
            )
        st.page_link("pages/eigenfeatures.py", label="See which features survive", icon=":material/arrow_forward:")
    explain(
        r"f(x)=K(x,X)\,(K+\rho I)^{-1}Y,\qquad \text{accuracy}=\tfrac1m\,\#\{j:\ f(x'_j)\ \text{is right}\}",
        e.predict(),
        overview_lines(e),
    )


first, between, below = st.container(), st.container(), st.container(key="glance")
with between:
    front.cards([PRESETS[name] for name in FRONT], _open)
    with st.expander("More presets"):
        front.cards([preset for name, preset in PRESETS.items() if name not in FRONT], _open, with_pictures=False)

with first:
    if experiment is not None:
        task_of(experiment)
        what = "the kernel's prediction, clean and under attack"
        experiment = latest("overview", experiment, _wanted, what, Experiment.in_words)
        task = task_of(experiment)
        picture = front.attacked(experiment)
        found = None if picture is None else need(picture, "one image and all test images under the attack")
        if found is not None:
            front.the_sum(experiment, task, found)
    words, figure = st.columns([2, 1], gap="large")
    with words:
        if experiment is not None and found is not None:
            front.in_one_sentence(experiment, found)
        with st.container(horizontal=True):
            st.button(
                "Tell the story",
                key="front-story",
                type="primary",
                on_click=go_to,
                args=("pages/story.py",),
                icon=":material/auto_stories:",
            )
            st.button(
                "Explore",
                key="front-explore",
                on_click=go_to,
                args=("pages/eigenfeatures.py",),
                icon=":material/scatter_plot:",
            )
        st.markdown(PAPER)
        st.markdown(INTRODUCTION)
    if experiment is not None:
        with figure:
            front.features_in_small(experiment)

if experiment is not None:
    with below:
        st.subheader("The current experiment at a glance", anchor=False)
        result = need(experiment.predict(), what)
        if result is not None:
            _glance(experiment, task, result.arrays)
