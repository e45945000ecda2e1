"""Confidence intervals: the bootstrap over test points and seeds, Wilson's of shares, Student's, the jackknife.

Test points are shared by all seeds of a net, so the two are drawn independently: points with replacement (the same
draw for every mask), then seeds with replacement (Efron & Tibshirani 1993; two-way as in Owen 2007). Of so few seeds
as two or three the bootstrap makes too little: it spreads them by sqrt((S - 1) / S) of what it should; of one it makes
nothing, and the interval is over the points alone. What a net does to a point it counts too often, up to three times::

    draw = Resampling(points=300, seeds=2)
    draw.band(draw.mean(right))                         # right [S, E, m] bool -> Band of three [E]
    draw.band(draw.recovered(before, source, white))    # share of the white-box drop
    share_band(right)                                   # of one share of m images: Wilson's interval
    difference(right, theirs, paired=True)              # of two shares, of the same images
    other = Resampling(points=300, seeds=2, group=1)    # of other nets: the same points, seeds of their own
    draw.band(other.mean(theirs) - draw.mean(right))    # a difference of two nets, paired by the points
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import ArrayLike

DRAWS = 400
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Band:
    """A value and its interval: mean, low and high, arrays of one length; nan where it is not known."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Which values are there, bool."""
        return np.isfinite(self.mean)

    def one(self, at: int | tuple[int, ...]) -> "Band":
        """The value at a place, a Band of one number."""
        return Band(*(np.asarray(values)[at].reshape(1) for values in (self.mean, self.low, self.high)))

    def part(self, rows: slice | np.ndarray) -> "Band":
        """Some of the values: rows a slice or [n] bool."""
        return Band(*(np.asarray(values)[rows] for values in (self.mean, self.low, self.high)))


UNKNOWN = Band(*(np.full(1, np.nan),) * 3)  # one number that is not known


class Resampling:
    """Weights of DRAWS resamples of m points and S seeds; row 0 is the sample itself, all weights equal.

    group: number of a group of nets. Groups share the resamples of points, and each draws seeds of its own.
    """

    def __init__(self, points: int, seeds: int, seed: int = 0, group: int = 0):
        self.points, self.seeds = _resamples(points, (seed, 0)), _resamples(seeds, (seed, 1, group))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """values [S, ..., m] -> mean over points and seeds in every draw, [DRAWS + 1, ...]; nan counts as absent."""
        values = np.asarray(values, dtype=float)
        known = np.isfinite(values)
        total = self._weighted(np.where(known, values, 0.0))
        if known.all():
            return total
        weight = self._weighted(known.astype(float))
        return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)

    def _weighted(self, values: np.ndarray) -> np.ndarray:
        over_points = values @ self.points.T  # [S, ..., D]
        return np.einsum("ds,s...d->d...", self.seeds, over_points)

    def recovered(self, before: np.ndarray, after: np.ndarray, white: np.ndarray) -> np.ndarray:
        """Share of the white-box drop that a source recovers: bool [S, m], [S, E, m], [S, E, m] -> [D, E]."""
        clean = self.mean(before)[:, None]
        return self.ratio(clean - self.mean(after), clean - self.mean(white))

    @staticmethod
    def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """above / below draw by draw, nan where there is nothing to be a share of."""
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-9)

    @staticmethod
    def band(drawn: np.ndarray) -> Band:
        """The value of the sample itself with the central 95 % of the draws: [D, ...] -> Band of [...]."""
        tail = 50 * (1 - LEVEL)
        value, rest = drawn[0], drawn[1:]
        some = np.isfinite(rest).any(0)
        filled = np.where(some, rest, 0.0)
        low, high = np.nanpercentile(filled, [tail, 100 - tail], axis=0)
        low, high = (np.where(some, bound, value) for bound in (low, high))
        return Band(value, np.minimum(low, value), np.maximum(high, value))

    def band_of_shares(self, drawn: np.ndarray, unit: float = 1.0, ends: tuple[float, float] = (0.0, 1.0)) -> Band:
        """``band`` of shares of the points, or of their differences, within ``ends``.

        Where all draws are alike, as after an attack that leaves nothing, the bootstrap knows no interval: there it
        reaches as far as Wilson's of none among so many points, times ``unit``.
        """
        band, reach = self.band(drawn), unit * wilson(0.0, self.points.shape[1])[1]
        alike = band.high - band.low < 1e-9
        low, high = (np.clip(band.mean + side * reach, *ends) for side in (-1, 1))
        return Band(band.mean, np.where(alike, low, band.low), np.where(alike, high, band.high))


def wilson(share: ArrayLike, m: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a share of m trials: (low, high), each shaped like ``share`` (Wilson 1927)."""
    z = scipy.special.ndtri(0.5 + confidence / 2)
    share = np.asarray(share, dtype=float)
    centre = (share + z * z / (2 * m)) / (1 + z * z / m)
    half = z / (1 + z * z / m) * np.sqrt(share * (1 - share) / m + z * z / (4 * m * m))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def share_band(right: np.ndarray) -> Band:
    """Shares of right ones with their Wilson intervals (LEVEL), nan of no images: right [m, P] bool -> Band of [P]."""
    right = np.asarray(right, dtype=float)
    if len(right) == 0:
        return Band(*(np.full(right.shape[1], np.nan),) * 3)
    share = right.mean(0)
    return Band(share, *wilson(share, len(right), LEVEL))


def difference(first: np.ndarray, second: np.ndarray, paired: bool) -> Band:
    """Mean of ``first`` [m] minus that of ``second`` [k], shares or truth values, a Band of one number.

    Of several nets they are [S, m] and [S', k]; seeds are drawn for each by themselves. paired: both are about the same
    images in the same order (m = k), which are drawn together; otherwise each has draws of its own (``apart``).
    """
    one, two = (np.atleast_2d(np.asarray(values, dtype=float)) for values in (first, second))
    draw = Resampling(one.shape[1], len(one))
    other = Resampling(two.shape[1], len(two), seed=0 if paired else 1, group=1)
    if paired:
        return draw.band_of_shares((draw.mean(one) - other.mean(two))[:, None], ends=(-1.0, 1.0))
    bands = draw.band_of_shares(draw.mean(one)[:, None]), other.band_of_shares(other.mean(two)[:, None])
    band = apart(*bands)
    return Band(band.mean, *(np.clip(end, -1, 1) for end in (band.low, band.high)))


def apart(one: Band, other: Band) -> Band:
    """``one - other`` of two values that do not hang on each other: their intervals are joined by the squares of their
    halves (Zou & Donner 2008). Of two that rise and fall together it is too wide, not too narrow."""
    mean = one.mean - other.mean
    low = mean - np.hypot(one.mean - one.low, other.high - other.mean)
    return Band(mean, low, mean + np.hypot(one.high - one.mean, other.mean - other.low))


def jackknife(value: np.ndarray, left_out: np.ndarray) -> Band:
    """A statistic with its interval (LEVEL) from its values when each of G groups of points is left out in turn.

    value [...], left_out [G, ...]: ``value -+ t sqrt((G - 1)/G sum_g (left_out_g - mean)^2)`` with Student's t of
    G - 1 degrees of freedom (Tukey 1958; Shao & Tu 1995, section 2.3). Nothing is known of the interval, nan, where
    there is one group only, or a value is nan.
    """
    value, left_out = np.asarray(value, dtype=float), np.asarray(left_out, dtype=float)
    groups = len(left_out)
    if groups < 2:
        return Band(value, *(np.full_like(value, np.nan),) * 2)
    error = np.sqrt((groups - 1) * left_out.var(0))
    reach = scipy.stats.t.ppf(0.5 + LEVEL / 2, groups - 1) * error
    return Band(value, value - reach, value + reach)


def mean_band(values: np.ndarray) -> Band:
    """Means along the last axis with Student's interval (LEVEL): values [..., m] -> Band of [...].

    nan counts as absent; the interval is nan where fewer than two values are there, the mean where there is none.
    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    count = known.sum(-1)
    nothing = np.full(count.shape, np.nan)
    mean = np.divide(np.where(known, values, 0).sum(-1), count, out=nothing.copy(), where=count > 0)
    squares = np.where(known, values - mean[..., None], 0) ** 2
    variance = np.divide(squares.sum(-1), count * (count - 1), out=nothing.copy(), where=count > 1)  # of the mean
    reach = scipy.stats.t.ppf(0.5 + LEVEL / 2, np.maximum(count - 1, 1)) * np.sqrt(variance)
    return Band(mean, mean - reach, mean + reach)


@lru_cache(maxsize=16)
def _resamples(count: int, stream: tuple[int, ...]) -> np.ndarray:
    """Weights [DRAWS + 1, count] of resamples of ``count`` things; the first row is the sample itself."""
    drawn = np.random.default_rng(stream).multinomial(count, np.full(count, 1 / count), DRAWS)
    weights = np.vstack([np.ones(count), drawn]) / count
    weights.flags.writeable = False
    return weights
