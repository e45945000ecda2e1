"""The strongest directions of training images, and what they leave of the images: for ``fgsm_expansion``.

::

    strongest = Directions.of(u, 32)            # u [n, d] mapped training images
    strongest.missed                            # the largest singular value of what the directions leave of them
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ntkcore.kernels.loops.registers import COLUMNS
from ntkcore.kernels.loops.vectors import LANES
from ntkcore.modes import ALONE

PROBES = 64
ALL_UP_TO = 128  # directions, where there are no more than these
POWER_STEPS = 12  # to find the largest singular value of what the directions miss


@dataclass(frozen=True, eq=False)
class Directions:
    """Of training images u [n, d], as arrays whose rows are filled up to whole lanes or tiles."""

    vectors: np.ndarray  # [d, r], r filled up to whole tiles
    across: np.ndarray  # [r, d filled up to whole tiles]: the same
    along: np.ndarray  # [n, r + PROBES]: the images along the directions, and random projections of the rest
    reach: np.ndarray  # [r, n filled up to whole tiles]: the images along the directions, over d
    missed: float  # largest singular value of the rest

    @classmethod
    def of(cls, u: Tensor, count: int) -> "Directions":
        """The count strongest, or all where there are few."""
        with same_random_numbers():
            rank = min(u.shape)
            vectors = torch.svd_lowrank(u, q=rank if rank <= ALL_UP_TO else min(rank, count), niter=3)[2]
            vectors = F.pad(vectors, (0, -vectors.shape[1] % COLUMNS))
            along = u @ vectors
            probe = torch.randn(u.shape[1], PROBES, dtype=u.dtype, device="cpu") / PROBES**0.5
            probes = u @ probe - along @ (vectors.T @ probe)
            missed = _largest(u, along, vectors)
        return cls(
            filled(vectors.T).T.copy(),
            filled(vectors.T, COLUMNS),
            filled(torch.cat([along, probes], 1).T).T.copy(),
            filled(along.T / float(u.shape[1]), COLUMNS),
            missed,
        )


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Wherever it is called, by one thread at a time, without derivatives."""
    with ALONE, torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        yield


def filled(rows: Tensor, whole: int = LANES) -> np.ndarray:
    """[n, d] with rows filled up to whole lanes, or tiles, with zeros."""
    return F.pad(rows.detach(), (0, -rows.shape[1] % whole)).contiguous().numpy()


def _largest(u: Tensor, along: Tensor, vectors: Tensor) -> float:
    """Largest singular value of ``u - along vectors^T``, from below by power steps, a tenth added."""
    v, size = torch.randn(u.shape[1], 1, dtype=u.dtype, device="cpu"), 0.0
    for _ in range(POWER_STEPS):
        v = v / v.norm().clamp(min=1e-30)
        w = u @ v - along @ (vectors.T @ v)
        size = float(w.norm())
        v = u.T @ w - vectors @ (along.T @ w)
    return 1.1 * size
