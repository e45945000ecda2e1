"""Two experiments side by side: the current one and the pinned one, through the same stages into the same figures.

All that a page does with one experiment it does with a ``Pair``, whose pinned side is None when nothing is pinned::

    both = beside(experiment)                                    # Pair of experiments
    found = need_both(both, Experiment.predict, what)            # Pair of artifacts; progress is drawn here
    shown = found.map(NumpyArrays)                               # Pair of anything
    shown.show(figures, "Outputs", lambda a: draw(a["outputs"]), key="outputs")
    table(both, shown, {"Right": lambda a: a["right"]})          # what differs, and numbers with their difference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from ntkcore.runs.specs import Experiment, StageSpec, shorten
from ntkcore.runs.store import Artifact
from pages.ui.controls import pinned
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.results import need
from pages.ui.shell.services import load_task
from pages.ui.shell.show import Beside, Figures, OnClick, dark

One, Other = TypeVar("One"), TypeVar("Other")
Need = Callable[[StageSpec, str], Artifact | None]
Measured = np.ndarray | torch.Tensor | float  # of every test image (shares, truth values), or one number


@dataclass(frozen=True, eq=False)
class Pair(Generic[One]):
    """What belongs to the current experiment, and the same of the pinned one where there is one and it is there.

    names: of both, in a few words. stamps: what names each, for figures that are drawn once.
    """

    now: One
    pinned: One | None = None
    names: tuple[str, str] = ("", "")
    stamps: tuple[str, str] = ("", "")

    def map(self, make: Callable[[One], Other]) -> Pair[Other]:
        """The same of both."""
        return replace(self, now=make(self.now), pinned=None if self.pinned is None else make(self.pinned))

    def named(self) -> list[tuple[str, One]]:
        """Each of them under its name; the current one alone has none."""
        if self.pinned is None:
            return [("", self.now)]
        now, pinned = map(plain, self.names)
        return [(f"Now: {now}", self.now), (f"Pinned: {pinned}", self.pinned)]

    def joined(self, other: Pair[Other]) -> Pair[tuple[One, Other]]:
        """What belongs to either, together; stamped as this is."""
        both = None if self.pinned is None or other.pinned is None else (self.pinned, other.pinned)
        return replace(self, now=(self.now, other.now), pinned=both)

    def show(
        self,
        figures: Figures,
        title: str,
        draw: Callable[[One], go.Figure],
        key: str,
        of: str = "",
        on_click: OnClick = None,
        apart: bool = False,
    ) -> None:
        """One figure of both. of: what it depends on besides the stamps and the theme. apart: below each other."""
        now, other = (f"{of} {stamp} {dark()}" for stamp in self.stamps)
        pinned = None if self.pinned is None else Beside(partial(draw, self.pinned), other, *self.names, apart)
        figures.show(title, partial(draw, self.now), key, now, on_click, pinned)


def beside(experiment: Experiment, of: Callable[[Experiment], object] = Experiment.stages) -> Pair[Experiment]:
    """The current experiment with the pinned one; alone where nothing differs or images are lacking, which is said.

    of: what of an experiment the page shows.
    """
    found = pinned.found()
    if not isinstance(found, Experiment):
        return Pair(experiment)
    if of(found) == of(experiment):
        words = "Nothing differs" if found == experiment else "Nothing that this page shows differs"
        st.info(f"{words} from the pinned experiment: change something in the sidebar.", icon=":material/keep:")
        return Pair(experiment)
    try:
        if not data.info(found.data).present:
            raise NTKError(f"{data.info(found.data).title} is not downloaded here")
        load_task(found.data)
    except NTKError as error:
        st.warning(f"The pinned experiment is not shown: {complaint(error)}", icon=":material/keep:")
        return Pair(experiment)
    names = pinned.named(experiment, found), pinned.named(found, experiment)
    return Pair(experiment, found, names, (shorten(experiment), shorten(found)))


def need_both(
    experiments: Pair[Experiment], spec: Callable[[Experiment], StageSpec], what: str, get: Need = need
) -> Pair[Artifact] | None:
    """The artifacts of both; None while the current one's is not there. Progress of either is drawn here."""
    now = get(spec(experiments.now), what)
    other = None
    if experiments.pinned is not None:
        other = get(spec(experiments.pinned), f"{what} (pinned: {experiments.names[1]})")
    stamps = ("" if artifact is None else artifact.key for artifact in (now, other))
    return None if now is None else Pair(now, other, experiments.names, tuple(stamps))


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
    numbers = {label: (measure(of.now), measure(of.pinned)) for label, measure in measures.items()}
    rows |= {label: _row(*both, paired) for label, both in numbers.items()}
    st.table(pd.DataFrame.from_dict(rows, orient="index", columns=columns))
    m, k = experiments.now.data.n_test, experiments.pinned.data.n_test
    if all(isinstance(now, float | int) for now, _ in numbers.values()):
        st.caption("Numbers of the training images: no interval over test images is about them.")
    elif paired:
        st.caption(f"Both on the same {m} test images: the intervals are paired.")
    else:
        st.caption(f"The test images are not the same ({m} now, {k} pinned): the intervals are not paired, and wider.")


def same_test_images(experiments: Pair[Experiment]) -> bool:
    """Whether both are judged on the same test images, in the same order."""
    one, other = load_task(experiments.now.data), load_task(experiments.pinned.data)
    return torch.equal(one.labels_test, other.labels_test) and torch.equal(one.x_test, other.x_test)


def same_image(experiments: Pair[Experiment]) -> bool:
    """Whether radii that flip a test image of one number can be compared."""
    now, other = experiments.now, experiments.pinned
    return other is not None and now.attack.norm == other.attack.norm and same_test_images(experiments)


def _row(now: Measured, other: Measured, paired: bool) -> list[str]:
    if isinstance(now, float | int):
        known = np.isfinite(now) and np.isfinite(other)
        texts = (f"{value:.4g}" if np.isfinite(value) else "none" for value in (now, other))
        return [*texts, f"{now - other:+.4g}, no interval" if known else ""]
    first, second = (np.asarray(values, dtype=float) for values in (now, other))
    if paired and np.array_equal(first, second):
        return [percent(first.mean()), percent(second.mean()), "the same on every image"]
    band = difference(first, second, paired)
    mean, low, high = float(band.mean[0]), float(band.low[0]), float(band.high[0])
    verdict = "higher" if low > 0 else "lower" if high < 0 else "cannot tell"
    return [percent(first.mean()), percent(second.mean()), f"{points_within(mean, low, high)}: {verdict}"]
