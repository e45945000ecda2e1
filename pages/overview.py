"""What the tool answers, where to start, and the current experiment at a glance."""

import streamlit as st

from ntkcore.runs.presets import FRONT, PRESETS, Preset
from ntkcore.runs.specs import Experiment, StageSpec
from pages.ui.controls import sidebar
from pages.ui.controls.evolution import EVOLUTION
from pages.ui.controls.transfer import STORY
from pages.ui.sections import front
from pages.ui.sections.beside import beside, need_both
from pages.ui.sections.samples import task_if_there, task_of
from pages.ui.sections.talk import prepare_my_talk
from pages.ui.shell.links import go_to
from pages.ui.shell.page import page
from pages.ui.shell.present import headline
from pages.ui.shell.results import latest, need
from pages.ui.shell.terms import heading, say

experiment = page("Overview", "What does the neural tangent kernel say about adversarial robustness?", needed=False)

PAPER = (
    "N. Tsilivis and J. Kempe, [What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?]"
    "(https://arxiv.org/abs/2210.05577), NeurIPS 2022"
)
INTRODUCTION = (
    "A very wide network in NTK parameterisation, however long it is trained, predicts as a kernel machine does, "
    "with its **neural tangent kernel** (NTK). So the kernel alone, without training, makes adversarial examples "
    "for such networks. Its eigenvectors are **features**: the paper finds robust ones among the first, and "
    "useful but brittle ones behind them. These pages test that, and say how sure every number is. Pick data and "
    "an architecture in the sidebar, or start from one of these."
)


def _open(preset: Preset) -> None:
    """The sidebar takes the preset's experiment; one about finite nets opens on its own page."""
    sidebar.apply(preset.experiment)
    if preset.story is not None:
        go_to("pages/transfer.py", **STORY.values(preset.story))
    if preset.evolution is not None:
        go_to("pages/evolution.py", **EVOLUTION.values(preset.evolution))


def _wanted(e: Experiment) -> dict[str, StageSpec]:
    """What the first screen shows; the numbers below it may come later."""
    return {"first": front.attacked(e) or e.predict()}


chosen, found, what = experiment, None, "the kernel's prediction, clean and under attack"
with st.container():
    task = None if experiment is None else task_if_there(experiment)
    if task is not None:
        experiment = latest("overview", experiment, _wanted, what, Experiment.in_words)
        task = task_of(experiment)
        picture = front.attacked(experiment)
        found = None if picture is None else need(picture, "one image and all test images under the attack")
        experiments = beside(experiment)
        if found is not None:
            front.both_sums(experiments, task, found)
    words, figure = st.columns([2, 1], gap="large")
    with words:
        if found is not None:
            with headline():
                front.in_one_sentence(experiments, found)
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
        say(INTRODUCTION)
    if task is not None:
        with figure:
            front.features_in_small(experiments)

front.cards([PRESETS[name] for name in FRONT], _open)
with st.expander("More presets"):
    front.cards([preset for name, preset in PRESETS.items() if name not in FRONT], _open, with_pictures=False)
prepare_my_talk(chosen)

if task is not None:
    with st.container(key="glance"):
        heading("The current experiment at a glance")
        result = need_both(experiments, Experiment.predict, what)
        if result is not None:
            front.glance(experiments, task, result.map(lambda artifact: artifact.arrays))
