"""Nets in training, as the Evolution page draws them: one evolution's histories, and a figure of each quantity.

::

    both = need_all_of_both(trainings.map(Evolution.wanted), "nets in training").joined(trainings)
    moving = both.map(lambda one: InMotion(*one, alone=True, night=False))
    moving.show(figures, "Distances of the kernels", InMotion.distances, key="distances")
    table(experiments, moving, measures(e, share=0.1))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.evolution.histories import Histories, Key
from ntkcore.analysis.evolution.motion import THRESHOLDS
from ntkcore.analysis.intervals import Band
from ntkcore.figures.drawing.palette import REGIMES
from ntkcore.figures.evolution.accuracy import accuracy_along_epochs
from ntkcore.figures.evolution.concentration import alignment_along_epochs, concentration, spectra_along_epochs
from ntkcore.figures.evolution.motion import kernel_distances, kernel_velocity, lazy_by_threshold, polar_paths
from ntkcore.readings.differences import BySeed, Measured, RightBySeed
from ntkcore.readings.evolution import median_seed
from ntkcore.runs.specs import Evolution
from ntkcore.runs.store import Artifact
from pages.ui.shell.present import presenting
from pages.ui.shell.services import NumpyArrays, load_task

TOP = 20  # eigenvalues whose share is told
Value = TypeVar("Value")
Curves = Mapping[str, Mapping[str, Band]]  # by regime and kind of attack


@dataclass(frozen=True, eq=False)
class InMotion:
    """Those results of trainings that are there.

    alone: nothing is pinned, so that a second dash is free for training images and for a second number of eigenvalues.
    """

    found: Mapping[Key, Artifact]
    e: Evolution
    alone: bool = True
    night: bool = False

    @cached_property
    def history(self) -> Histories:
        """Of the epochs that are there."""
        arrays = {name: NumpyArrays(artifact) for name, artifact in self.found.items()}
        return Histories(arrays, self.e.epochs, self.e.looks(), self.e.regimes, self.e.seeds)

    @property
    def looks(self) -> np.ndarray:
        return np.array(self.e.looks())

    @property
    def judging(self) -> int:
        """How many test images nets are judged on."""
        return self.e.judging

    @property
    def chance(self) -> float:
        """Accuracy of a blind guess on them."""
        labels = load_task(self.e.data).labels_test[: self.judging]
        return float(labels.bincount().max()) / len(labels)

    def accuracy(self, images: str) -> Curves:
        """Of "test" or "train" images, along the epochs."""
        kinds = ("clean", "fgsm", "pgd")
        return {r: {kind: self.history.accuracy(r, images, kind) for kind in kinds} for r in self.e.regimes}

    def each(self, measure: Callable[[str], Value]) -> dict[str, Value]:
        """Of every training."""
        return {r: measure(r) for r in self.e.regimes}

    # -- figures ---------------------------------------------------------------------------------------------------

    def accuracies(self) -> go.Figure:
        train = self.accuracy("train") if self.alone else None
        epochs, test = np.arange(self.e.epochs + 1), self.accuracy("test")
        look = {"chance": self.chance, "columns": 3 if presenting() else 2, "dark": self.night}  # in a talk in one row
        return accuracy_along_epochs(epochs, test, train=train, **look)

    def velocity(self, share: float) -> go.Figure:
        """share: of the first velocity, below which a kernel is lazy."""
        lazy = self.each(lambda r: median_seed(self.history.lazy(r, share)))
        marks = {r: int(at) for r, at in lazy.items() if np.isfinite(at)}
        look = {"lazy": marks, "share": share, "seeds": self.e.seeds, "dark": self.night}
        return kernel_velocity(self.looks, self.each(self.history.velocity), **look)

    def thresholds(self, share: float) -> go.Figure:
        along = self.each(lambda r: self.history.lazy_along(r, THRESHOLDS))  # [S, K] each
        return lazy_by_threshold(THRESHOLDS, along, self.e.epochs, share=share, dark=self.night)

    def distances(self) -> go.Figure:
        return kernel_distances(self.looks, self.each(self.history.distance), columns=2, dark=self.night)

    def paths(self) -> go.Figure:
        parts = {"whole kernel": "whole kernel", f"top {self.e.top}": "top", "the rest": "bottom"}
        paths = {title: self.each(lambda r, part=part: self.history.path(r, part)) for title, part in parts.items()}
        return polar_paths(self.looks, paths, dark=self.night)

    def concentration(self) -> go.Figure:
        counts = (10, TOP) if self.alone else (TOP,)
        mass = self.each(lambda r: {k: self.history.mass(r, k) for k in counts})
        share, rank = self.each(lambda r: self.history.share(r, TOP)), self.each(self.history.rank)
        return concentration(self.looks, mass, share, rank, top=TOP, dark=self.night)

    def aligned(self) -> go.Figure:
        special = {r: band for r, band in self.each(self.history.specialisation).items() if band is not None}
        return alignment_along_epochs(self.looks, self.each(self.history.alignment), special or None, dark=self.night)

    def spectra(self, epoch: int) -> go.Figure:
        """Of seed 0 at the epochs that are there; it begins at ``epoch``, or the last before it."""
        there = self.there
        values = {r: [self.history.values(r, t) for t in there] for r in self.e.regimes}
        return spectra_along_epochs(there, values, at=there.index(self.last_until(epoch)), dark=self.night)

    @property
    def there(self) -> list[int]:
        """The epochs whose spectra are there, of every training."""
        return [t for t in self.e.looks() if all(self.history.values(r, t) is not None for r in self.e.regimes)]

    def last_until(self, epoch: int) -> int:
        """The last of these epochs until ``epoch``, or the first."""
        return max((t for t in self.there if t <= epoch), default=self.there[0])


def measures(e: Evolution, share: float) -> dict[str, Callable[[InMotion], Measured]]:
    """What of two evolutions is compared, of each training: a number a seed, or which images each seed gets right."""
    quantities: dict[str, Callable[[InMotion, str], Measured]] = {
        "right": lambda one, r: RightBySeed(one.history.right(r, "test", "clean")),
        "right under PGD": lambda one, r: RightBySeed(one.history.right(r, "test", "pgd")),
        "seeds that become lazy": lambda one, r: int(np.isfinite(one.history.lazy(r, share)).sum()),
        "velocity over the second half": lambda one, r: BySeed(one.history.late(r), ".2g"),
        f"share of the trace in the top {TOP}": lambda one, r: BySeed(
            [np.nan if c is None else c.share for c in one.history.concentration(r, TOP)]
        ),
    }
    return {
        f"{REGIMES[regime].words[:1].upper()}{REGIMES[regime].words[1:]}: {what}": partial(_of, measure, regime)
        for regime in e.regimes
        for what, measure in quantities.items()
    }


def _of(measure: Callable[[InMotion, str], Measured], regime: str, one: InMotion) -> Measured:
    return measure(one, regime)
