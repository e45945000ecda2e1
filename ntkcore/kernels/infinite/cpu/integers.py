"""Products of images whose pixels are k / 255, in integers of eight bits: exact, and rounded at the end.

Processors with AVX-512 multiply such integers several times as fast as floats. For inner products one side as it comes
from a file is not enough: attacked, centred or averaged images have other pixels, and go by floats. Weights of a
mixture are taken as two digits of eight bits::

    q = integers(u)                     # None: not of this kind, or not faster here
    products(q[:10], q, out)            # out [10, n] float32: <u_i, u_j>
    mixed, lost = mixtures(w, q)        # (w - lost) u [r, d], w [r, n]
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.loops.vectors import compiled, threads

LEVELS, HALF = 255, 128
DIGITS = 127 * HALF  # largest integer of two digits
ROWS = 64  # that are looked at together
MOST = 2**31 // LEVELS**2  # pixels whose product fits in 32 bits
FEWEST = 256  # rows from which on it is worth it


@dataclass(frozen=True, eq=False)
class Integers:
    """levels [n, d] int8: k - 128 of each pixel; sums [n] int32: of an image's."""

    levels: Tensor
    sums: Tensor

    def __getitem__(self, rows: slice) -> "Integers":
        return Integers(self.levels[rows], self.sums[rows])


def integers(u: Tensor) -> Integers | None:
    """Of u [n, d] float32 on the CPU; None: some pixel is no k / 255, or floats are as fast here."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()
    if not wide or not hasattr(torch, "_int_mm") or u.dtype != torch.float32 or u.shape[1] > MOST or len(u) < FEWEST:
        return None
    found = np.empty(u.shape, np.int8), np.empty(len(u), np.int32)
    with ThreadPoolExecutor(threads()) as pool:
        parts = [(s.start, s.stop) for s in slices(len(u), ROWS)]
        pixels = u.numpy()
        if not _levels(pixels, parts[0], *found) or not all(pool.map(lambda s: _levels(pixels, s, *found), parts)):
            return None
    return Integers(*map(torch.from_numpy, found))


def products(one: Integers, two: Integers, out: Tensor) -> None:
    """``<u_i, u_j>`` of n1 and n2 images, rounded to single precision, into out [n1, n2]."""
    # <k, k'> = <k - 128, k' - 128> + 128 (sum of k - 128 and of k' - 128) + 128^2 d
    found = torch._int_mm(one.levels, two.levels.T)
    found.add_((one.sums * HALF + HALF**2 * one.levels.shape[1])[:, None]).add_(two.sums * HALF)
    torch.mul(found, 1 / LEVELS**2, out=out)


def mixtures(weights: Tensor, images: Integers) -> tuple[Tensor, Tensor]:
    """``(weights - lost) u``, [r, d] float32, of n images u, and ``lost`` [r, n], at most 2^-15 of a row's largest one.

    weights [r, n] float32.
    """
    size = weights.abs().amax(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny * DIGITS) / DIGITS
    whole = (weights / size).round_()
    upper = (whole / HALF).round_()
    # w k = size (128 upper + lower) (k - 128) + 128 size (128 upper + lower)
    found = torch._int_mm(upper.to(torch.int8), images.levels).float().mul_(HALF)
    found += torch._int_mm((whole - HALF * upper).to(torch.int8), images.levels)
    found += HALF * whole.sum(1, keepdim=True)
    return found.mul_(size / LEVELS), weights - whole * size


@compiled
def _levels(u: np.ndarray, rows: tuple[int, int], levels: np.ndarray, sums: np.ndarray) -> bool:
    """Levels less 128 of some rows, and their sums; False where there is a pixel between two levels."""
    most, half = np.float32(LEVELS), np.float32(0.5)
    for row in range(rows[0], rows[1]):
        strange: Any = 0
        total: Any = 0
        for at in range(u.shape[1]):
            level = np.floor(u[row, at] * most + half)
            strange += level / most != u[row, at] or level < 0 or level > most
            number = np.int32(level) - HALF
            levels[row, at] = number
            total += number
        sums[row] = total
        if strange > 0:
            return False
    return True
