"""Runs of several regimes and seeds along their epochs, put together from what each epoch has left.

Epochs that are not there yet are nan, so that curves can be drawn while the nets train. Bands reach from the lowest to
the highest seed; what is compared by sentences (``seed_tests``) is a number a seed, [S]::

    history = Histories(found, epochs=15, looks=(0, 1, ..., 15), regimes=("standard", "fgsm"), seeds=3)
    history.accuracy("fgsm", "test", "pgd")            # Band of [16]
    history.velocity("fgsm"), history.lazy("fgsm", 0.1)   # Band of [15], [3]
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ntkcore.analysis.evolution.motion import (
    Concentration,
    Motion,
    concentration,
    effective_rank,
    gram_of,
    late_velocity,
    lazy_epoch,
    top_mass,
    top_share,
)
from ntkcore.analysis.intervals import Band

PARTS = {"whole kernel": 0, "top": 1, "bottom": 2}  # columns of the inner products
Key = tuple[str, int, int, str]  # regime, seed, epoch, "score" or "moment"


@dataclass(frozen=True, eq=False)
class Histories:
    """found: the arrays of each (regime, seed, epoch, "score" or "moment") that is there (see
    ``ntkcore.runs.stages.motion``). looks: epochs at which kernels are taken."""

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

    def slowing(self, regime: str) -> Band:
        """[L - 1]: velocity as a share of the seed's first one."""
        speeds = np.stack([self.motion(regime, seed).velocity.numpy() for seed in range(self.seeds)])
        return seed_band(np.divide(speeds, speeds[:, :1], out=np.full_like(speeds, np.nan), where=speeds[:, :1] > 0))

    def path(self, regime: str, part: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """radius [L] and angle [L], radians, of one seed."""
        motion = self.motion(regime, seed, part)
        return motion.radius.numpy(), motion.angle.numpy()

    def right(self, regime: str, images: str, kind: str) -> np.ndarray:
        """[S, m] bool: of the seeds that are through, which images are right after the last epoch; [0, 0] for none."""
        last = [self.found.get((regime, seed, self.epochs, "score")) for seed in range(self.seeds)]
        rows = [np.asarray(arrays[f"{images}_{kind}"], dtype=bool) for arrays in last if arrays is not None]
        return np.stack(rows) if rows else np.zeros((0, 0), dtype=bool)

    def lazy(self, regime: str, share: float) -> np.ndarray:
        """[S]: the epoch from which on a seed is lazy; inf where it is not within the run, nan before its end."""
        return self.lazy_along(regime, [share])[:, 0]

    def lazy_along(self, regime: str, shares: Sequence[float]) -> np.ndarray:
        """[S, K]: the same at K shares of the first velocity."""
        return self._by_seed(regime, lambda v: [self._epoch(lazy_epoch(v, share)) for share in shares], len(shares))

    def late(self, regime: str) -> np.ndarray:
        """[S]: velocity over the second half of training; nan before its end."""
        return self._by_seed(regime, lambda v: [late_velocity(v)], 1)[:, 0]

    def mass(self, regime: str, k: int) -> Band:
        return self._values(regime, lambda values: top_mass(values, k))

    def share(self, regime: str, k: int) -> Band:
        return self._values(regime, lambda values: top_share(values, k))

    def rank(self, regime: str) -> Band:
        return self._values(regime, effective_rank)

    def concentration(self, regime: str, k: int) -> list[Concentration | None]:
        """Of each seed, at the last look; None before it, and where the kernel is zero."""
        found = [self.values(regime, self.looks[-1], seed) for seed in range(self.seeds)]
        seen = [None if values is None else concentration(torch.from_numpy(np.array(values)), k) for values in found]
        return [one if one is not None and np.isfinite(one.rank) else None for one in seen]

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

    def _by_seed(self, regime: str, measure: Callable[[torch.Tensor], list[float]], count: int) -> np.ndarray:
        """[S, count]: what is measured of the velocities of each seed whose last look is there, nan of the others."""
        found = np.full((self.seeds, count), np.nan)
        for seed in range(self.seeds):
            if (regime, seed, self.looks[-1], "moment") in self.found:
                found[seed] = measure(self.motion(regime, seed).velocity)
        return found

    def _epoch(self, step: int | None) -> float:
        return np.inf if step is None else float(self.looks[step])

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

    def _band(
        self, regime: str, epochs: Sequence[int], kind: str, measure: Callable[[Mapping[str, np.ndarray]], float]
    ) -> Band:
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
