"""Two results side by side in words: a number of each, and the difference with its interval.

What is compared says how: which test images are right, a number with an interval of its own, a number a seed, which
images the net of each seed gets right, or one number of which there is no interval::

    read_difference(right, theirs, same_images=True)             # ["87.3 %", "91 %", "-3.7 points [-6, -1.3]: lower"]
    read_difference(Estimate(band, ".2f"), Estimate(other, ".2f"))
    read_difference(BySeed([4.1, 4.3, 4.0], ".1f"), BySeed([7.0, 6.8, 7.1], ".1f"), same_seeds=False)
    read_difference(RightBySeed(right), RightBySeed(theirs))     # [S, m] each
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ntkcore.analysis.evolution import seed_tests
from ntkcore.analysis.evolution.seed_tests import FEWEST
from ntkcore.analysis.intervals import Band, apart, difference
from ntkcore.readings.words import percent, points, points_within, signed, within

SHARE = "%"  # a form: shares of 1, told in per cent, their differences in points
SAME, SAME_BY_SEED = "the same on every image", "the same for every seed"
CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number with its interval, a Band of one; form: how it is written, a format or SHARE."""

    band: Band
    form: str = SHARE


@dataclass(frozen=True, eq=False)
class BySeed:
    """A number a seed [S], nan where it is not known."""

    values: Sequence[float]
    form: str = SHARE


@dataclass(frozen=True, eq=False)
class RightBySeed:
    """Which test images the net of each seed gets right, bool [S, m]."""

    right: np.ndarray


# An array: shares or truth values of every test image, [m], or [S, m] of several nets that are drawn by the bootstrap.
Measured = np.ndarray | torch.Tensor | float | Estimate | BySeed | RightBySeed


def read_difference(now: Measured, other: Measured, same_images: bool = True, same_seeds: bool = True) -> list[str]:
    """Of both, and of ``now - other``; both are measured alike.

    same_images: on the same test images, in the same order. same_seeds: by nets with the same first weights and order
    of training images.
    """
    if isinstance(now, Estimate) and isinstance(other, Estimate):
        shown = [_one(float(one.band.mean[0]), now.form) for one in (now, other)]
        return [*shown, _judged(_ends(apart(now.band, other.band)), now.form)]
    if isinstance(now, BySeed) and isinstance(other, BySeed):
        shown = [_one(_known_mean(one.values), now.form) for one in (now, other)]
        if same_seeds and np.array_equal(now.values, other.values, equal_nan=True):
            return [*shown, SAME_BY_SEED]
        return [*shown, _changed(seed_tests.difference(now.values, other.values, paired=same_seeds), now.form)]
    if isinstance(now, RightBySeed) and isinstance(other, RightBySeed):
        shown = [_one(_known_mean(one.right), SHARE) for one in (now, other)]
        if same_images and np.array_equal(now.right, other.right):
            return [*shown, SAME]
        return [*shown, _changed(seed_tests.gain(now.right, other.right, paired=same_images), SHARE, unit=0.01)]
    if isinstance(now, float | int) and isinstance(other, float | int):
        known = np.isfinite(now) and np.isfinite(other)
        return [_one(now, ".4g"), _one(other, ".4g"), f"{signed(now - other, '+.4g')}, no interval" if known else ""]
    first, second = (np.asarray(values, dtype=float) for values in (now, other))
    shown = [percent(first.mean()), percent(second.mean())]
    if same_images and np.array_equal(first, second):
        return [*shown, SAME]
    return [*shown, _judged(_ends(difference(first, second, same_images)), SHARE)]


def _ends(band: Band) -> tuple[float, float, float]:
    """A value and its interval."""
    mean, low, high = (float(side[0]) for side in (band.mean, band.low, band.high))
    return mean, low, high


def _one(value: float, form: str) -> str:
    return "none" if not np.isfinite(value) else percent(value) if form == SHARE else signed(value, form)


def _known_mean(given: Sequence[float] | np.ndarray) -> float:
    values = np.asarray(given, dtype=float)
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _changed(change: seed_tests.Change, form: str, unit: float = 1.0) -> str:
    """A difference over seeds; fewer than FEWEST cannot tell."""
    ends = unit * change.value, unit * change.low, unit * change.high
    return _judged(ends, form, enough=change.seeds >= FEWEST)


def _judged(ends: tuple[float, float, float], form: str, enough: bool = True) -> str:
    """A difference with its interval, and whether that says which is higher."""
    mean, low, high = ends
    if not np.isfinite(mean):
        return ""
    if not np.isfinite(low):
        return f"{points(mean) if form == SHARE else signed(mean, f'+{form}')}, no interval: {CANNOT_TELL}"
    told = points_within(mean, low, high) if form == SHARE else within(mean, low, high, f"+{form}")
    return f"{told}: {CANNOT_TELL if not enough else 'higher' if low > 0 else 'lower' if high < 0 else CANNOT_TELL}"
