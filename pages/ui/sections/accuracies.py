"""The Transfer page's results together: what they are compared with, and the table of every net's accuracies.

::

    rows, reach = accuracies(statistics_of(found), at=3)
    st.dataframe(rows, column_config=percent_columns(line))
"""

from collections.abc import Mapping

import streamlit as st

from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics
from ntkcore.figures.drawing.palette import SOURCES
from ntkcore.runs.specs import Story
from ntkcore.runs.store import Artifact
from pages.ui.shell.services import NumpyArrays

WORST = "worst of all"


def compared(story: Story, m: int) -> str:
    """Which kernel the nets are compared with, and on which of the sidebar's m test images."""
    tested = story.kernel.data.n_test
    steps = f"{story.training.steps} step{'s' * (story.training.steps > 1)}"
    return (
        f"The kernel is the infinite net's tangent kernel, without ridge; its prediction is the one after {steps} of "
        f"training, as many as the nets of each width take. Attacks are made on "
        f"{f'the first {tested} of these {m}' if tested < m else f'all {m}'} test images."
    )


def statistics_of(found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    """The transfers that are there, and what was asked of them before."""
    return _statistics(tuple((name, artifact.key, artifact.created) for name, artifact in found.items()), found)


@st.cache_resource(show_spinner=False, max_entries=8)
def _statistics(stamp: tuple, _found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    return TransferStatistics({name: NumpyArrays(artifact) for name, artifact in _found.items()})


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
