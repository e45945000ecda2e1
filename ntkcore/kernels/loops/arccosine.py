"""The ReLU layer's angle in compiled loops: arccos of whole vectors, without a branch.

``arccos(c) = 2 arcsin(sqrt((1 - c) / 2))`` for c above 1/2 and ``pi / 2 - arcsin(c)`` below, arcsin by a polynomial on
[0, 1/2], which is exact to 5e-9 in single and 2e-15 in double precision::

    sin, turn, cosine = angle(k / s, constants(np.float32))     # inside a compiled loop; turn = (pi - theta) / 2 pi
"""

import math

import numba
import numpy as np
from numba.extending import overload

from ntkcore.kernels.loops.vectors import Vector, below, inlined, root, size, spread


def constants(dtype: type) -> np.ndarray:
    """0, 1/2, 1, 2, pi, 1 / 2 pi, 1/16, the gap below which two directions are one, and the least variance.

    As an array, so that the loops stay in the precision of the images. Where two directions are one, rounding leaves a
    gap of a few eps, whose angle (sqrt(2 eps)) would be no rounding error any more; a larger tolerance would take small
    angles for none, which in single precision matters for images that nearly coincide.
    """
    info = np.finfo(dtype)
    gap = (4 if dtype == np.float32 else 16) * info.eps
    return np.array([0, 0.5, 1, 2, math.pi, 1 / (2 * math.pi), 1 / 16, gap, 4 * info.tiny], dtype)


# -- numbers ---------------------------------------------------------------------------------------------------------


def _series(degree: int) -> np.ndarray:
    """P with ``arcsin(z) = z P(z^2)`` for z in [0, 1/2], by Chebyshev interpolation: lowest power first."""
    series = np.polynomial.Chebyshev.interpolate(_arcsin_over_root, degree, domain=[0, 0.25])
    return series.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef


def _arcsin_over_root(w: np.ndarray) -> np.ndarray:
    z = np.sqrt(np.maximum(w, 1e-12))
    return np.arcsin(z) / z


SINGLE = tuple(np.float32(a) for a in _series(5))  # to 5e-9
DOUBLE = tuple(np.float64(a) for a in _series(12))  # to 2e-15


def _arcsin(z, w):
    """arcsin(z) for z in [0, 1/2], w = z^2."""


@overload(_arcsin, inline="always")
def _(z, w):
    if not isinstance(w, Vector):
        return None
    if w.dtype == numba.float32:
        a = SINGLE

        def single(z, w):
            high = spread(a[2]) + w * (spread(a[3]) + w * (spread(a[4]) + w * spread(a[5])))
            return z * (spread(a[0]) + w * (spread(a[1]) + w * high))

        return single
    b = DOUBLE

    def double(z, w):
        high = spread(b[9]) + w * (spread(b[10]) + w * (spread(b[11]) + w * spread(b[12])))
        high = spread(b[5]) + w * (spread(b[6]) + w * (spread(b[7]) + w * (spread(b[8]) + w * high)))
        high = spread(b[1]) + w * (spread(b[2]) + w * (spread(b[3]) + w * (spread(b[4]) + w * high)))
        return z * (spread(b[0]) + w * high)

    return double


@inlined
def angle(cosine, c):
    """(sin(theta), (pi - theta) / 2 pi, cos(theta)) of cosines up to rounding; see ``covariance._ArcCosine``."""
    zero, half, one, two, pi = spread(c[0]), spread(c[1]), spread(c[2]), spread(c[3]), spread(c[4])
    cosine = below(cosine, one, cosine, one)
    gap = one - below(zero - one, cosine, cosine, zero - one)
    gap = below(gap, spread(c[7]), zero, gap)
    cosine = one - gap
    a = size(cosine)
    w = below(half, a, half * (one - a), cosine * cosine)
    arcsin = _arcsin(root(w), w)
    theta = below(half, a, two * arcsin, half * pi - arcsin)  # of |cos|
    turn = spread(c[5]) * below(cosine, zero, theta, pi - theta)
    return root(gap * (two - gap)), turn, cosine
