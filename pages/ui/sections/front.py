"""The Overview's first screen: one image, the kernel's perturbation and their sum; what the attack does to all test
images; every feature as a dot in small, where that is known already; and the presets as cards with a picture.

::

    with st.container():
        both_sums(experiments, task, found)             # a pair; found: the artifact of the story's first claim
        in_one_sentence(experiments, found)
    cards(FRONT, open_preset)
    glance(experiments, task, both)                 # the numbers, below: both a pair of arrays by name
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch

from ntkcore import data
from ntkcore.analysis.attacks.balls import BALLS, in_pixels
from ntkcore.analysis.predict import margins
from ntkcore.data import Task
from ntkcore.errors import NTKError
from ntkcore.figures.drawing.images import data_uri, montage, signed_rgb, symmetric_scale, to_rgb
from ntkcore.figures.features.eigenfeatures import usefulness_robustness
from ntkcore.readings.kernel import read_prediction
from ntkcore.readings.words import percent, signed
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.presets import Preset
from ntkcore.runs.specs import Experiment, RobustFeaturesSpec, StageSpec, key
from ntkcore.runs.stages import read_robust_features
from ntkcore.runs.stages.kernel_side.solution import RESIDUAL
from ntkcore.runs.store import Artifact
from ntkcore.runs.talk import opened_specs
from pages.ui.code import overview_lines
from pages.ui.sections.beside import Pair, need_both, table
from pages.ui.sections.samples import class_pictures, predicted_classes
from pages.ui.shell import present
from pages.ui.shell.plain import plain
from pages.ui.shell.results import cost_in_words, need
from pages.ui.shell.services import load_task, services, stored
from pages.ui.shell.show import Figures, cached_text, dark, explain, pictures
from pages.ui.shell.terms import note, say, with_terms

SIDE = 264  # pixels of each of the three pictures, where the screen has them
IN_A_ROW = 3  # cards

# What is said below the pictures is read from afar; on a narrow screen the three stay side by side, smaller.
_LOOKS = """<style>
[class*=st-key-the-sum] { container-type: inline-size; flex-wrap: nowrap !important; }
[class*=st-key-the-sum] > * { min-width: 0 !important; flex-shrink: 1 !important; }
[class*=st-key-the-sum] h1 { padding: 0; }
[class*=st-key-the-sum] img { max-width: 27cqw !important; }
[class*=st-key-the-sum] :is([data-testid="stImage"], [data-testid="stImage"] *) { max-width: 27cqw; }
[class*=st-key-the-sum] [data-testid="stImageCaption"] * { font-size: 1.1rem; }
@media (max-width: 640px) {
  [class*=st-key-the-sum] { gap: 0.25rem !important; align-items: flex-start !important; }
  [class*=st-key-the-sum] h1 { font-size: 1.2rem; margin-top: 10vw; }
  [class*=st-key-the-sum] img { width: 25vw !important; }
  [class*=st-key-the-sum] :is([data-testid="stImage"], [data-testid="stImage"] *) { max-width: 25vw; }
  [class*=st-key-the-sum] [data-testid="stImageCaption"] * { font-size: 0.8rem; overflow-wrap: anywhere; }
}
</style>"""


def attacked(experiment: Experiment) -> StageSpec | None:
    """What the first screen shows: the stage of the story's first claim. None where nothing is attacked (eps = 0), and
    of a checkpoint's kernel, for which a network was trained."""
    if experiment.checkpoint is not None or experiment.attack.eps == 0:
        return None
    return CLAIMS[0].specs(experiment)["all"]


def the_sum(experiment: Experiment, task: Task, found: Artifact, key: str = "the-sum") -> None:
    """Image + perturbation = adversarial image, what the kernel says of each below it, with its margin.

    key: of the container; each on a page has its own.
    """
    a, eps, norm = found.arrays, experiment.attack.eps, experiment.attack.norm
    at = int(torch.argmin((a["eps"] - eps).abs()))
    image, seen = a["image"].numpy(), a["images"][at].numpy()
    outputs = a["outputs"][[0, at + 1]]
    said = predicted_classes(outputs, task)
    margin = margins(outputs, a["label"].expand_as(outputs))
    noise, size = seen - image, in_pixels(eps, norm)
    scale = symmetric_scale([noise])
    three = (
        (
            to_rgb(image),
            f"**{plain(said[0])}**, margin {signed(margin[0], '+.2f')}",
            f"the image; the kernel says {said[0]}",
        ),
        (
            signed_rgb(noise, scale),
            f"{BALLS[norm].sign} ≤ {size}, drawn {0.5 / scale:.0f} times stronger",
            "the noise: red pixels become brighter, blue ones darker",
        ),
        (
            to_rgb(np.clip(seen, 0, 1)),
            f"**{plain(said[1])}**, margin {signed(margin[1], '+.2f')}",
            f"their sum; the kernel says {said[1]}",
        ),
    )
    side = max(SIDE, present.SIDE) if present.presenting() else SIDE
    st.html(_LOOKS)
    with st.container(key=key, horizontal=True, vertical_alignment="center"):
        for sign, (plane, caption, alt) in zip(("", "+", "="), three, strict=True):
            if sign:
                st.markdown(f"# {plain(sign)}", width="content")
            st.image(data_uri(plane, -(-2 * side // plane.shape[1])), caption=caption, width=side, alt=alt)


def _what_is_below() -> None:
    note(
        "Below the images: what the kernel says of them, and its margin, below 0 where it is wrong. Noise: red pixels "
        "become brighter, blue ones darker."
    )


def both_sums(experiments: Pair[Experiment], task: Task, found: Artifact) -> None:
    """``the_sum`` of the current experiment, and below it that of the pinned one, both named."""
    picture = None if experiments.pinned is None else attacked(experiments.pinned)
    if picture is None:
        the_sum(experiments.now, task, found)
        _what_is_below()
        return
    (now, experiment), (name, other) = experiments.named()
    st.caption(now)
    the_sum(experiment, task, found)
    st.caption(name)
    pinned = need(picture, f"one image and all test images under the attack ({name})")
    if pinned is not None:
        the_sum(other, load_task(other.data), pinned, "the-sum-pinned")
    _what_is_below()


def in_one_sentence(experiments: Pair[Experiment], found: Artifact) -> None:
    """How many test images are right before and under the attack, in large type; of the pinned one below it."""
    before, after = _right(experiments.now, found)
    st.markdown(f"## {before} of test images right, {after} under an attack. No network was trained.")
    picture = None if experiments.pinned is None else attacked(experiments.pinned)
    if picture is not None and (other := stored(picture)) is not None:
        before, after = _right(experiments.pinned, other)
        st.markdown(f"#### Pinned, {plain(experiments.names[1])}: {before} right, {after} under the attack")


def _right(experiment: Experiment, found: Artifact) -> list[str]:
    """Shares of the test images right before and under the attack."""
    at = int(torch.argmin((found.arrays["eps"] - experiment.attack.eps).abs()))
    rights = found.arrays["right_before"], found.arrays["right_after"][at]
    return [percent(round(float(right.double().mean()), 2)) for right in rights]


def features_in_small(experiments: Pair[Experiment]) -> None:
    """Every feature as a dot, where they are known; no feature is attacked for it."""
    found = need_both(experiments, lambda e: RobustFeaturesSpec(curves=e.curves()), "features in small", _if_swept)
    if found is not None:
        found.joined(experiments).show(Figures(), "Features in small", _in_small, key="in-small")


def _if_swept(spec: StageSpec, what: str) -> Artifact | None:
    """The result; computed where all that it reads is there."""
    store = services().store
    return need(spec, what) if all(store.has(one.stage, key(one)) for one in spec.reads()) else stored(spec)


def _in_small(both: tuple[Artifact, Experiment]) -> go.Figure:
    """The scatter without a page around it: what the colours mean, and no more."""
    a, attack = read_robust_features(both[0]), str(both[1].attack)
    look = {"classes": a.codes, "colour": "class", "chance": a.chance, "attack": attack, "dark": dark()}
    fig = usefulness_robustness(a.usefulness, a.robustness, **look)
    fig.update_xaxes(title_text="how often a feature is right")
    fig.update_yaxes(title_text="under attack")
    fig.layout.annotations = ()
    return fig.update_layout(height=225)


RIGHT = {
    "Right": lambda a: a["right"],
    "Right under the attack": lambda a: a["attack_right"],
    "Right under PGD of the same radius": lambda a: a["pgd_right"],
}


def glance(experiments: Pair[Experiment], task: Task, both: Pair[Mapping[str, torch.Tensor]]) -> None:
    """Images of each class, the three accuracies, and the sentence on them; how they are computed."""
    e, a = experiments.now, both.now
    left, right = st.columns([3, 2], gap="large")
    with left:
        pictures(class_pictures(task), width=78)
    with right:
        kind = str(e.attack).split()[0]
        clean, attacked, pgd = (float(a[name].double().mean()) for name in ("right", "attack_right", "pgd_right"))
        for place, (label, value) in zip(
            st.columns(3),
            (("Clean", clean), (kind, attacked), ("PGD" if kind != "PGD" else "PGD, strong", pgd)),
            strict=True,
        ):
            told = with_terms("Share of the test images that the kernel gets right.", label)
            place.metric(label, f"{value:.1%}", border=True, help=told)
        say(
            read_prediction(
                a["right"].numpy(),
                a["attack_right"].numpy(),
                a["pgd_right"].numpy(),
                float(a["majority"]),
                str(e.attack),
                trained=e.checkpoint is not None,
            )
        )
        note("In brackets: 95 % intervals over the test images, of this one draw of training images.")
        if float(a["outputs"].abs().max()) < 1e-8:
            st.info(
                "The prediction is zero up to rounding: the same images carry opposite labels, or the ridge is huge."
            )
        if e.eigenpairs is not None:
            note(f"The prediction is solved for by conjugate gradients, up to {percent(RESIDUAL)} of the labels' norm.")
        if int(a["left_out"]):
            note(f"{int(a['left_out'])} eigenvalues are zero up to rounding (duplicate images?) and were left out.")
        st.page_link("pages/eigenfeatures.py", label="See which features survive", icon=":material/arrow_forward:")
    table(experiments, both, RIGHT)
    explain(
        "overview",
        r"f(x)=K(x,X)\,(K+\rho I)^{-1}Y,\qquad \text{accuracy}=\tfrac1m\,\#\{j:\ f(x'_j)\ \text{is right}\}",
        e.predict(),
        lambda: overview_lines(e),
    )


def cards(presets: Iterable[Preset], on_click: Callable[[Preset], None], with_pictures: bool = True) -> None:
    """Presets in rows of cards: a picture of the data, the title, what to look for, what it costs to open."""
    presets = list(presets)
    for start in range(0, len(presets), IN_A_ROW):
        for column, preset in zip(st.columns(IN_A_ROW), presets[start : start + IN_A_ROW], strict=False):
            with column.container(border=True, height="stretch"):
                if with_pictures and (picture := _images_of(preset, presets.index(preset))):
                    st.image(picture, width="stretch", alt=f"Some images of {preset.title}")
                st.markdown(f"**{preset.title}**")
                cost = cost_in_words(*opened_specs(preset))
                note(f"{preset.look_for} *{cost}.*" if cost else preset.look_for)
                st.button(
                    "Open",
                    key=f"preset-{preset.name}",
                    on_click=on_click,
                    args=(preset,),
                    help=preset.experiment.in_words(),
                    width="stretch",
                )


def _images_of(preset: Preset, nth: int) -> str | None:
    """Some training images of a preset in one row, as an address; None when they are not there."""
    spec = preset.experiment.data
    try:
        if not data.info(spec).present:
            return None
        return cached_text(f"card {preset.name} {nth}", lambda: _row(load_task(spec), nth))
    except NTKError:  # whoever opens the preset is told what is wrong with the images
        return None


def _row(task: Task, nth: int) -> str:
    """Six images, the classes in turn, from a place that differs from card to card."""
    each = max(1, 6 // task.n_classes)
    shown = np.stack([picture.image for picture in class_pictures(task, each * (nth + 1))])
    shown = shown.reshape(task.n_classes, -1, *shown.shape[1:])[:, -each:].swapaxes(0, 1)  # [each, classes, C, H, W]
    row = shown.reshape(-1, *shown.shape[2:])
    return data_uri(montage(row[:6], columns=6, gap=1), 3)
