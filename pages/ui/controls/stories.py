"""The story's controls on the Transfer page, its results as they come in, and a name for each net.

::

    story = story_controls(experiment)             # a Story; stops the page with a sentence when it makes none
    line = told(need_all(story.transfers(), "..."))
"""

from collections.abc import Mapping

import streamlit as st

from ntkcore.analysis.attacks.autoattack import available
from ntkcore.analysis.attacks.balls import BALLS
from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics
from ntkcore.errors import NTKError
from ntkcore.figures.drawing.palette import SOURCES
from ntkcore.runs.specs import OUTSIDE, Experiment, Story, radii
from ntkcore.runs.store import Artifact
from pages.ui.controls.sidebar import FIRST_RADIUS, FIRST_WIDTHS, radius_in_words
from pages.ui.shell.plain import complaint

WORST = "worst of all"
TESTED = 500  # test images at first: shares are told to 4 points or so
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]


def story_controls(experiment: Experiment) -> Story:
    """Widths, seeds, radii and the nets beside them, as one validated Story."""
    a, b, c, d = st.columns([4, 1, 2, 3])
    widths = a.multiselect(
        "Widths of the nets",
        WIDTHS,
        default=FIRST_WIDTHS[experiment.net.family],
        key="widths",
        bind="query-params",
        max_selections=6,
    )
    seeds = b.number_input("Seeds", 1, 5, 2, key="seeds", bind="query-params")
    norm = experiment.attack.norm
    unit = BALLS[norm].unit
    label = f"Largest radius, {BALLS[norm].unit_in_words}"
    radius = c.number_input(
        label,
        0.0,
        None if norm == "linf" else 100.0,
        FIRST_RADIUS[norm],
        key="radius",
        bind="query-params",
        format="%.2f",
        on_change=_radius_changed,
        args=(norm,),
    )
    outside = d.multiselect(
        "Beside them, trained by SGD",
        list(OUTSIDE),
        key="beside",
        bind="query-params",
        help="The widest twin in standard parameterisation, and networks that have no infinite twin here; trained by "
        "SGD on cross-entropy.",
    )
    with st.expander("Training of the twins, and the strong attack"):
        a, b, c, d, e = st.columns(5, vertical_alignment="bottom")
        lr = a.number_input(
            "Learning rate, in n / λmax of the kernel",
            0.001,
            1000.0,
            1.0,
            key="lr",
            bind="query-params",
            format="%.3f",
            help="Full-batch gradient descent on squared loss. With momentum μ it is stable below 2 (1 + μ).",
        )
        momentum = b.number_input("Momentum", 0.0, 0.99, 0.9, 0.05, key="momentum", bind="query-params")
        steps = c.number_input("Steps", 1, 5000, 100, key="descent", bind="query-params")
        m = max(1, experiment.data.n_test)
        tested = d.number_input(
            "Test images",
            1,
            m,
            min(TESTED, m),
            key="images",
            bind="query-params",
            help="The first ones: every attack is made on them for every net, which is most of the time.",
        )
        strong = e.toggle(
            "AutoAttack beside them",
            key="strong",
            bind="query-params",
            disabled=not available(),
            help="APGD, FAB and Square on every net: minutes. An optional extra: pip install pyautoattack.",
        )
    if not widths and not outside:
        st.info("Choose at least one width, or a net to stand beside.")
        st.stop()
    try:
        plain = Story()
        training = plain.training.replace(lr=lr, momentum=momentum, steps=steps)
        return Story(
            kernel=experiment.replace(data=experiment.data.replace(n_test=tested)).ntk(),
            widths=tuple(widths),
            seeds=seeds,
            eps=radii(radius / unit),
            norm=norm,
            training=training,
            outside=tuple(outside),
            strong=strong and available(),
        )
    except NTKError as error:
        st.error(complaint(error))
        st.stop()


def _radius_changed(norm: str) -> None:
    """Another largest radius: the numbers below are at half of it again."""
    unit = BALLS[norm].unit
    st.session_state["at"] = radius_in_words(radii(st.session_state.radius / unit)[-2], norm)


def choices(story: Story) -> dict[str, object]:
    """The page's controls, by their keys, for a story whose radii are halves of one another."""
    unit = BALLS[story.norm].unit
    return {
        "widths": list(story.widths),
        "seeds": story.seeds,
        "radius": max(story.eps) * unit,
        "beside": list(story.outside),
        "lr": story.training.lr,
        "momentum": story.training.momentum,
        "descent": story.training.steps,
        "images": story.kernel.data.n_test,
        "strong": story.strong,
    }


def compared(story: Story, m: int) -> str:
    """Which kernel the nets are compared with, and on which of the sidebar's m test images."""
    tested = story.kernel.data.n_test
    steps = f"{story.training.steps} step{'s' * (story.training.steps > 1)}"
    return (
        f"The kernel is the infinite net's tangent kernel, without ridge; its prediction is the one after {steps} of "
        f"training, as many as the nets of each width take. Attacks are made on "
        f"{f'the first {tested} of these {m}' if tested < m else f'all {m}'} test images."
    )


def told(found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    """The transfers that are there, and what was asked of them before."""
    return _told(tuple((name, artifact.key, artifact.created) for name, artifact in found.items()), found)


@st.cache_resource(show_spinner=False, max_entries=8)
def _told(stamp: tuple, _found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    return TransferStatistics(
        {name: {key: a.numpy() for key, a in artifact.arrays.items()} for name, artifact in _found.items()}
    )


def under_way(wanted: Mapping[tuple[str, int, str], object], found: Mapping[tuple[str, int, str], Artifact]) -> str:
    """What is still to come, in words; empty when all is there."""
    return "" if len(found) == len(wanted) else f"{len(found)} of {len(wanted)} attacks are done"


def accuracies(line: TransferStatistics, at: int) -> tuple[list[dict[str, float | str]], str]:
    """One row a net: accuracy clean, under every source at radius number ``at``, and under the worst of them.

    And how many points the ends of their intervals are off at most.
    """
    rows, reach = [], 0.0
    for group in line.groups:
        bands = {"clean": line.clean(group)}
        bands |= {SOURCES[source].words: line.accuracy(group, source).one(at) for source in line.sources(group)}
        bands[WORST] = line.worst(group, at)
        rows.append({"Net": group, **{name: float(band.mean[0]) for name, band in bands.items()}})
        reach = max(reach, *(max(band.high[0] - band.mean[0], band.mean[0] - band.low[0]) for band in bands.values()))
    return rows, f"{100 * reach:.1f}"


def percent_columns(line: TransferStatistics) -> dict:
    """How the columns of ``accuracies`` are written."""
    names = {SOURCES[source].words for group in line.groups for source in line.sources(group)}
    return {name: st.column_config.NumberColumn(format="percent") for name in ("clean", *names, WORST)}
