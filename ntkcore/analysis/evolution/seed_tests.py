"""What few seeds can say of two trainings: paired changes with their intervals, and verdicts.

A seed gives both trainings the same first weights and the same order of images, so that they are compared seed by seed.
Of k differences d the interval is ``mean +- t_{k-1} sd / sqrt(k)`` (Student 1908), which at k = 3 is 2.5 standard
deviations to each side: wide, but right for differences that are about normal, where a bootstrap of three numbers is
far too narrow. Sizes of different scale, such as velocities, are compared by ratio: the same of logarithms. What has
"never" among its values is compared by rank. Fewer than FEWEST seeds tell nothing of a training::

    ratio([0.5, 0.9, 0.8], [0.9, 1.2, 1.2])            # Change(0.65, low=0.45, high=0.95, ...), .way == -1: smaller
    gain(right_of_one, right_of_other)                 # [S, m] bool each: points, over seeds and images at once
    earlier([4, 2, 1], [inf, 12, inf])                 # 1: every one before any other; 0: cannot tell
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, exp

import numpy as np
import scipy

from ntkcore.errors import DataError

FEWEST = 3
LEVEL = 0.95
HOLDS, IN_PART, NOT_HERE, UNKNOWN = "holds", "holds in part", "does not hold here", "cannot tell"


def together(parts: Collection[str]) -> str:
    """What holds of a claim of several parts: no correction for their number, as all are needed (Berger 1982)."""
    if set(parts) == {HOLDS}:
        return HOLDS
    if HOLDS in parts or IN_PART in parts:
        return IN_PART
    return NOT_HERE if NOT_HERE in parts else UNKNOWN


@dataclass(frozen=True)
class Change:
    """From one training to another: mean over ``seeds`` and its 95 % interval, nan where there is none.

    none: the value that is no change, 0 of a difference and 1 of a ratio.
    """

    value: float
    low: float
    high: float
    seeds: int
    none: float = 0.0

    @property
    def way(self) -> int:
        """1 or -1 where the whole interval lies above or below no change; 0 where it cannot tell, as of few seeds."""
        if self.seeds < FEWEST:
            return 0
        return int(self.low > self.none) - int(self.high < self.none)


def difference(one: Sequence[float], other: Sequence[float], *, paired: bool = True) -> Change:
    """``one - other`` of the same seeds, [S] each; a seed that is not known (nan) in both is left out.

    Not paired, of seeds that have nothing in common, [S] and [S']: Welch's interval (1947).
    """
    if paired:
        return _mean(np.subtract(*_pairs(one, other)))
    a, b = (np.asarray(values, dtype=float)[~np.isnan(values)] for values in (one, other))
    seeds = min(len(a), len(b))
    value = float(a.mean() - b.mean()) if seeds else np.nan
    if seeds < 2:
        return Change(value, np.nan, np.nan, seeds)
    errors = np.array([values.var(ddof=1) / len(values) for values in (a, b)])
    within = float((errors**2 / [len(a) - 1, len(b) - 1]).sum())
    freedom = float(errors.sum() ** 2 / within) if within > 0 else 1.0
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(errors.sum()))
    return Change(value, value - reach, value + reach, seeds)


def ratio(one: Sequence[float], other: Sequence[float]) -> Change:
    """``one / other`` of the same seeds, [S] each: geometric mean. A seed that is not above 0 in both is left out."""
    a, b = _pairs(one, other)
    known = (a > 0) & (b > 0)
    logs = _mean(np.log(a[known]) - np.log(b[known]))
    return Change(exp(logs.value), exp(logs.low), exp(logs.high), logs.seeds, 1.0)


def gain(one: np.ndarray, other: np.ndarray, *, paired: bool = True) -> Change:
    """Points of accuracy (1 is one image in a hundred) from ``other`` to ``one``: right [S, m] of the same images.

    Seeds and images both vary: the reach of the mean over either, each by Student's t, adds up in squares (Zou & Donner
    2008). Of the images two are made up, one won and one lost (Bonett & Price 2012), for differences of few images are
    not normal. Simulated, it covers at least 95 % where the bootstrap over three seeds covers 78 %. One seed has no
    variance: its interval is over the images alone and says nothing of the training (``way`` is 0).

    Not paired, of images and seeds that have nothing in common, [S, m] and [S', k]: the reaches of both add up in
    squares, and each has two made-up images, one right and one wrong (Agresti & Caffo 2000).
    """
    right = [np.asarray(values, dtype=float) for values in (one, other)]
    if any(values.ndim != 2 for values in right) or (paired and right[0].shape != right[1].shape):
        shapes = " and ".join(str(values.shape) for values in right)
        raise DataError(f"The same images right of the same seeds, [S, m], are compared; got shapes {shapes}.")
    seeds = min(map(len, right))
    if not all(values.size for values in right):
        return Change(np.nan, np.nan, np.nan, seeds)
    value = float(right[0].mean() - right[1].mean())
    if paired:
        centre, reach = _over_images(right[0] - right[1], (1.0, -1.0))
    else:
        (centre, reach), (minus, other_reach) = (_over_images(values, (1.0, 0.0)) for values in right)
        centre, reach = centre - minus, float(np.hypot(reach, other_reach))
    low, high = max(-1.0, centre - reach), min(1.0, centre + reach)
    return Change(100 * value, 100 * min(low, value), 100 * max(high, value), seeds)


def _over_images(values: np.ndarray, made_up: tuple[float, float]) -> tuple[float, float]:
    """The mean of values [S, m] and its reach over images, two of which are made up, and over seeds."""
    by_image = np.append(values.mean(0), made_up)  # [m + 2]: sum over seeds
    over_seeds = _reach(values.mean(1)) if len(values) > 1 else 0.0  # [S]: sum over images
    return float(by_image.mean()), float(np.hypot(_reach(by_image), over_seeds))


def earlier(one: Sequence[float], other: Sequence[float]) -> int:
    """1 where ``one`` comes earlier than ``other``, -1 where later, 0 where the seeds cannot tell; inf is never.

    Exact one-sided test of the sum of ranks at 5 % (Wilcoxon 1945), ties by their mean rank: with three seeds each it
    takes that all of one come before any of the other, 1 way in 20. It takes no account of pairs; seeds that have much
    in common make it err less often, not more.
    """
    a, b = _pairs(one, other)
    if len(a) < FEWEST:
        return 0
    ranks = scipy.stats.rankdata(np.concatenate([a, b]))
    sums = np.array([sum(chosen) for chosen in combinations(ranks.tolist(), len(a))])  # [C(2k, k)]
    mine, most = float(ranks[: len(a)].sum()), (1 - LEVEL) * comb(2 * len(a), len(a)) + 1e-9
    return int((sums <= mine).sum() <= most) - int((sums >= mine).sum() <= most)


def _pairs(one: Sequence[float], other: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError(f"One number for each seed is compared; got shapes {a.shape} and {b.shape}.")
    known = ~(np.isnan(a) | np.isnan(b))
    return a[known], b[known]


def _mean(values: np.ndarray) -> Change:
    seeds = len(values)
    if seeds < 2:
        return Change(float(values[0]) if seeds else np.nan, np.nan, np.nan, seeds)
    value, reach = float(values.mean()), _reach(values)
    return Change(value, value - reach, value + reach, seeds)


def _reach(values: np.ndarray) -> float:
    """Half the interval of the mean of at least two numbers."""
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
