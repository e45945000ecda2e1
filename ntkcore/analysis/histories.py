"""Runs of several regimes and seeds along their epochs, put together from what each epoch has left.

Epochs that are not there yet are nan, so that curves can be drawn while the nets train. Bands reach from the lowest to
the highest seed::

    history = Histories(found, epochs=15, looks=(0, 1, ..., 15), regimes=("standard", "fgsm"), seeds=3)
    history.accuracy("fgsm", "test", "pgd")            # Band of [16]
    history.velocity("fgsm"), history.lazy("fgsm", 0.1)
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ntkcore.analysis.evolution import (
    Concentration,
    Motion,
    effective_rank,
    gram_of,
    late_velocity,
    lazy_epoch,
    top_mass,
    top_share,
)
from ntkcore.analysis.resampling import Band

PARTS = {"whole kernel": 0, "top": 1, "bottom": 2}  # columns of the inner products
Key = tuple[str, int, int, str]  # regime, seed, epoch, "score" or "moment"


@dataclass(frozen=True, eq=False)
class Histories:
    """found: the arrays of each (regime, seed, epoch, "score" or "moment") that is there (see
    ``ntkcore.runs.stages.evolution``). looks: epochs at which kernels are taken."""

    found: Mapping[Key, Mapping[str, np.ndarray]]
    epochs: int
    looks: tuple[int, ...]
    regimes: tuple[str, ...]
    seeds: int
    _kept: dict = field(default_factory=dict)

    def reached(self, regime: str, seed: int = 0) -> int | None:
        """The last epoch whose accuracy is known; None before the first."""
        known = [t for t in range(self.epochs + 1) if (regime, seed, t, "score") in self.found]
        return max(known, default=None)

    def accuracy(self, regime: str, images: str, kind: str) -> Band:
        """[T + 1]: share right of "test" or "train" images, "clean" or under "fgsm" or "pgd"."""
        return self._band(regime, range(self.epochs + 1), "score", lambda a: float(np.mean(a[f"{images}_{kind}"])))

    def motion(self, regime: str, seed: int, part: str = "whole kernel") -> Motion:
        """The kernels at ``looks`` against each other."""
        return self._cached(("motion", regime, seed, part), lambda: self._motion(regime, seed, PARTS[part]))

    def distance(self, regime: str) -> np.ndarray:
        """[L, L]: mean over the seeds that are there."""
        return _mean(np.stack([self.motion(regime, seed).distance.numpy() for seed in range(self.seeds)]))

    def velocity(self, regime: str) -> Band:
        """[L - 1]: of each step from one look to the next."""
        return seed_band(np.stack([self.motion(regime, seed).velocity.numpy() for seed in range(self.seeds)]))

    def path(self, regime: str, part: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """radius [L] and angle [L], radians, of one seed."""
        motion = self.motion(regime, seed, part)
        return motion.radius.numpy(), motion.angle.numpy()

    def lazy(self, regime: str, share: float) -> list[int | None]:
        """For each seed whose last look is there, the epoch from which on it is lazy."""
        found = []
        for seed in self._done(regime):
            step = lazy_epoch(self.motion(regime, seed).velocity, share)
            found.append(None if step is None else self.looks[step])
        return found

    def late(self, regime: str) -> float:
        """Velocity over the second half of training, mean over the seeds that are through; nan before."""
        through = [late_velocity(self.motion(regime, seed).velocity) for seed in self._done(regime)]
        return float(np.mean(through)) if through else float("nan")

    def mass(self, regime: str, k: int) -> Band:
        return self._values(regime, lambda values: top_mass(values, k))

    def share(self, regime: str, k: int) -> Band:
        return self._values(regime, lambda values: top_share(values, k))

    def rank(self, regime: str) -> Band:
        return self._values(regime, effective_rank)

    def concentration(self, regime: str, k: int) -> Concentration | None:
        """At the last look at which all measures are known, mean over seeds; None before the first."""
        mass, share, rank = self.mass(regime, k).mean, self.share(regime, k).mean, self.rank(regime).mean
        known = np.flatnonzero(np.isfinite(mass) & np.isfinite(share) & np.isfinite(rank))
        if not len(known):
            return None
        at = known[-1]
        return Concentration(float(mass[at]), float(share[at]), float(rank[at]))

    def alignment(self, regime: str) -> Band:
        return self._band(regime, self.looks, "moment", lambda a: float(a["alignment"]))

    def specialisation(self, regime: str) -> Band | None:
        """Mean over the classes; None for binary labels, which have one output."""
        band = self._band(regime, self.looks, "moment", lambda a: _class_mean(a.get("specialisation")))
        return band if band.known.any() else None

    def values(self, regime: str, epoch: int, seed: int = 0) -> np.ndarray | None:
        """Eigenvalues [N] of the kernel at a look; None where it is not there."""
        moment = self.found.get((regime, seed, epoch, "moment"))
        return None if moment is None else moment["values"]

    # -- how -----------------------------------------------------------------------------------------------------

    def _done(self, regime: str) -> list[int]:
        last = self.looks[-1]
        return [seed for seed in range(self.seeds) if (regime, seed, last, "moment") in self.found]

    def _motion(self, regime: str, seed: int, column: int) -> Motion:
        rows = []
        for epoch in self.looks:
            moment = self.found.get((regime, seed, epoch, "moment"))
            rows.append(None if moment is None else torch.from_numpy(np.array(moment["inner"]))[:, column])
        return Motion(gram_of(rows))

    def _values(self, regime: str, measure: Callable[[torch.Tensor], float]) -> Band:
        def of(arrays: Mapping[str, np.ndarray]) -> float:
            return measure(torch.from_numpy(np.array(arrays["values"])))

        return self._band(regime, self.looks, "moment", of)

    def _band(self, regime: str, epochs, kind: str, measure: Callable[[Mapping[str, np.ndarray]], float]) -> Band:
        epochs = list(epochs)
        values = np.full((self.seeds, len(epochs)), np.nan)
        for seed in range(self.seeds):
            for i, epoch in enumerate(epochs):
                arrays = self.found.get((regime, seed, epoch, kind))
                if arrays is not None:
                    values[seed, i] = measure(arrays)
        return seed_band(values)

    def _cached(self, name: tuple, make: Callable[[], Motion]) -> Motion:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]


def _class_mean(values: np.ndarray | None) -> float:
    known = np.array([]) if values is None else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mean(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, 0)


def seed_band(values: np.ndarray) -> Band:
    """values [S, L] -> mean, lowest and highest over the seeds that are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are all nan
        return Band(np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0))
