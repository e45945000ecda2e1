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

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.readings.differences import Estimate, Measured, read_difference
from ntkcore.runs.specs import Experiment, StageSpec, shorten
from ntkcore.runs.store import Artifact
from pages.ui.controls import pinned
from pages.ui.controls.used import unused
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.results import need, need_all
from pages.ui.shell.services import load_task
from pages.ui.shell.show import Drawing, Figures, OnClick, dark

One, Other, Name = TypeVar("One"), TypeVar("Other"), TypeVar("Name")
Need = Callable[[StageSpec, str], Artifact | None]


@dataclass(frozen=True, eq=False)
class Pair(Generic[One]):
    """What belongs to the current experiment, and the same of the pinned one where there is one and it is there.

    names: of both, in a few words. stamps: of each, a text that names all that can be drawn of it, since a figure is
    drawn once for a stamp.
    """

    now: One
    pinned: One | None = None
    names: tuple[str, str] = ("", "")
    stamps: tuple[str, str] = ("", "")

    @property
    def both(self) -> tuple[One, ...]:
        """Those that there are, the current one first."""
        return (self.now,) if self.pinned is None else (self.now, self.pinned)

    def map(self, make: Callable[[One], Other]) -> Pair[Other]:
        """The same of both."""
        return replace(self, now=make(self.now), pinned=None if self.pinned is None else make(self.pinned))

    def stamped(self, stamp: Callable[[One], str]) -> Pair[One]:
        """The same, stamped otherwise."""
        now, *other = map(stamp, self.both)
        return replace(self, stamps=(now, *(other or [""])))

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
        now, *pinned = (
            Drawing(partial(draw, one), f"{of} {stamp} {dark()}")
            for one, stamp in zip(self.both, self.stamps, strict=False)
        )
        if pinned:
            figures.show_both(title, now, *pinned, key, self.names, on_click, apart)
        else:
            figures.show(title, now, key, on_click)


def beside(experiment: Experiment, of: Callable[[Experiment], object] = Experiment.stages) -> Pair[Experiment]:
    """The current experiment with the pinned one; alone where nothing differs or images are lacking, which is said.

    of: what of an experiment the page shows.
    """
    found = pinned.found()
    if not isinstance(found, Experiment):
        return Pair(experiment)
    try:
        same = of(found) == of(experiment)
        if not data.info(found.data).present:
            raise NTKError(f"{data.info(found.data).title} is not downloaded here")
        load_task(found.data)
    except NTKError as error:
        st.warning(f"The pinned experiment is not shown: {complaint(error)}", icon=":material/keep:")
        return Pair(experiment)
    if same:
        words = "Nothing differs" if found == experiment else "Nothing that this page shows differs"
        st.info(f"{words} from the pinned experiment: change something in the sidebar.", icon=":material/keep:")
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


def need_all_of_both(wanted: Pair[Mapping[Name, StageSpec]], what: str) -> Pair[dict[Name, Artifact]]:
    """Of either the artifacts that are there, as ``need_all`` has them; no pinned ones while none of them is there."""
    now, other = need_all(wanted.now, what), None
    if wanted.pinned is not None:
        other = need_all(wanted.pinned, f"{what} (pinned: {wanted.names[1]})") or None
    stamps = tuple(" ".join(one.key for one in (found or {}).values()) for found in (now, other))
    return replace(wanted, now=now, pinned=other, stamps=stamps)


def table(
    experiments: Pair[Experiment],
    of: Pair[One],
    measures: Mapping[str, Callable[[One], Measured]],
    page: str = "",
    first: Callable[[One], int] | None = None,
    same_seeds: bool = True,
    about: str = "",
) -> None:
    """What differs in the settings, and numbers of both with the difference; nothing where nothing is pinned.

    page: the address of the page, where it does not look at all settings. first: how many of the test images are
    judged, the first ones; left out, all. same_seeds: whether nets of one seed have the same first weights and training
    images in both. about: what intervals are over, where not test images.
    """
    if experiments.pinned is None or of.pinned is None:
        return
    m, k = (e.data.n_test for e in (experiments.now, experiments.pinned)) if first is None else map(first, of.both)
    names, paired = experiments.names, m == k and same_test_images(experiments, m)
    columns = [f"now: {plain(names[0])}", f"pinned: {plain(names[1])}", "difference, 95 % interval"]
    rows = {
        plain(label): [*map(plain, values), ""]
        for label, values in pinned.settings_that_differ(experiments.now, experiments.pinned, unused(page)).items()
    }
    numbers = {label: (measure(of.now), measure(of.pinned)) for label, measure in measures.items()}
    rows |= {label: read_difference(*both, paired, same_seeds) for label, both in numbers.items()}
    st.table(pd.DataFrame.from_dict(rows, orient="index", columns=columns))
    if about:
        st.caption(about)
    elif all(isinstance(now, float | int) for now, _ in numbers.values()):
        st.caption("Numbers of the training images: no interval over test images is about them.")
    elif paired:
        joined = any(isinstance(now, Estimate) for now, _ in numbers.values())
        but = " Those of ratios and cosines are joined from the intervals of both, and wider." if joined else ""
        st.caption(f"Both on the same {m} test images: the intervals are paired.{but}")
    else:
        st.caption(f"The test images are not the same ({m} now, {k} pinned): the intervals are not paired, and wider.")


def same_test_images(experiments: Pair[Experiment], most: int | None = None) -> bool:
    """Whether both are judged on the same test images, in the same order; of the first ones, if so many are said."""
    one, other = load_task(experiments.now.data), load_task(experiments.pinned.data)
    labels = torch.equal(one.labels_test[:most], other.labels_test[:most])
    return labels and torch.equal(one.x_test[:most], other.x_test[:most])


def same_image(experiments: Pair[Experiment]) -> bool:
    """Whether radii that flip a test image of one number can be compared."""
    now, other = experiments.now, experiments.pinned
    return other is not None and now.attack.norm == other.attack.norm and same_test_images(experiments)
