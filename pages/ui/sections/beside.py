"""Two experiments side by side: the current one and the pinned one, through the same stages into the same figures.

All that a page does with one experiment it does with a ``Pair``, whose pinned side is None when nothing is pinned::

    both = beside(experiment)                                    # Pair of experiments
    found = need_both(both, Experiment.predict, what)            # Pair of artifacts; progress is drawn here
    shown = found.map(NumpyArrays)                               # Pair of anything
    table(both, shown, {"Right": lambda a: a["right"]})          # what differs, and numbers with their difference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch

from ntkcore import data
from ntkcore.analysis.intervals import difference
from ntkcore.errors import NTKError
from ntkcore.readings.words import percent, points_within
from ntkcore.runs.specs import Experiment, StageSpec
from ntkcore.runs.store import Artifact
from pages.ui.controls import pinned
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.results import need
from pages.ui.shell.services import load_task
from pages.ui.shell.show import Beside

One, Other = TypeVar("One"), TypeVar("Other")
Measured = np.ndarray | torch.Tensor | float  # of every test image (shares, truth values), or one number


@dataclass(frozen=True, eq=False)
class Pair(Generic[One]):
    """What belongs to the current experiment, and the same of the pinned one where there is one and it is there.

    names: of both, in a few words.
    """

    now: One
    pinned: One | None = None
    names: tuple[str, str] = ("", "")

    def map(self, make: Callable[[One], Other]) -> Pair[Other]:
        """The same of both."""
        return Pair(make(self.now), None if self.pinned is None else make(self.pinned), self.names)

    def beside(self, draw: Callable[[One], go.Figure], stamp: str) -> Beside | None:
        """The pinned one's figure, for ``Figures.show``."""
        return None if self.pinned is None else Beside(lambda: draw(self.pinned), stamp, *self.names)


def beside(experiment: Experiment) -> Pair[Experiment]:
    """The current experiment with the pinned one; alone where nothing differs or images are lacking, which is said."""
    found = pinned.found()
    if not isinstance(found, Experiment):
        return Pair(experiment)
    if found == experiment:
        st.info(
            "Nothing differs from the pinned experiment yet: change something in the sidebar.", icon=":material/keep:"
        )
        return Pair(experiment)
    try:
        if not data.info(found.data).present:
            raise NTKError(f"{data.info(found.data).title} is not downloaded here")
        load_task(found.data)
    except NTKError as error:
        st.warning(f"The pinned experiment is not shown: {complaint(error)}", icon=":material/keep:")
        return Pair(experiment)
    return Pair(experiment, found, (pinned.named(experiment, found), pinned.named(found, experiment)))


def need_both(
    experiments: Pair[Experiment], spec: Callable[[Experiment], StageSpec], what: str
) -> Pair[Artifact] | None:
    """The artifacts of both; None while the current one's is not there. Progress of either is drawn here."""
    now = need(spec(experiments.now), what)
    other = None
    if experiments.pinned is not None:
        other = need(spec(experiments.pinned), f"{what} (pinned: {experiments.names[1]})")
    return None if now is None else Pair(now, other, experiments.names)


def table(experiments: Pair[Experiment], of: Pair[One], measures: Mapping[str, Callable[[One], Measured]]) -> None:
    """What differs in the settings, and numbers of both with the difference; nothing where nothing is pinned."""
    if experiments.pinned is None or of.pinned is None:
        return
    names, paired = experiments.names, same_test_images(experiments)
    columns = [f"now: {plain(names[0])}", f"pinned: {plain(names[1])}", "difference, 95 % interval"]
    rows = {
        plain(label): [*map(plain, values), ""]
        for label, values in pinned.settings_that_differ(experiments.now, experiments.pinned).items()
    }
    rows |= {label: _row(measure(of.now), measure(of.pinned), paired) for label, measure in measures.items()}
    st.table(pd.DataFrame.from_dict(rows, orient="index", columns=columns))
    m, k = experiments.now.data.n_test, experiments.pinned.data.n_test
    if paired:
        st.caption(f"Both on the same {m} test images: the intervals are paired.")
    else:
        st.caption(f"The test images are not the same ({m} now, {k} pinned): the intervals are not paired, and wider.")


def same_test_images(experiments: Pair[Experiment]) -> bool:
    """Whether both are judged on the same test images, in the same order."""
    one, other = load_task(experiments.now.data), load_task(experiments.pinned.data)
    return torch.equal(one.labels_test, other.labels_test) and torch.equal(one.x_test, other.x_test)


def _row(now: Measured, other: Measured, paired: bool) -> list[str]:
    if isinstance(now, float | int):
        return [f"{now:.4g}", f"{other:.4g}", f"{now - other:+.4g}, no interval"]
    first, second = (np.asarray(values, dtype=float) for values in (now, other))
    band = difference(first, second, paired)
    mean, low, high = float(band.mean[0]), float(band.low[0]), float(band.high[0])
    verdict = "higher" if low > 0 else "lower" if high < 0 else "cannot tell"
    return [percent(first.mean()), percent(second.mean()), f"{points_within(mean, low, high)}: {verdict}"]
