"""Numbers of two results side by side: every kind of number against an independent interval, and what is said of it."""

import re

import numpy as np
import pytest
import scipy

from ntkcore.analysis.evolution import seed_tests
from ntkcore.analysis.intervals import Band, apart, difference
from ntkcore.readings.differences import SAME, SAME_BY_SEED, BySeed, Estimate, RightBySeed, read_difference
from ntkcore.readings.words import MINUS

ONE, OTHER = [4.1, 4.3, 4.0], [7.0, 6.8, 7.4]


def ends(said: str) -> list[float]:
    """The difference and its interval."""
    return [float(number) for number in re.findall(r"[+-]?\d+\.?\d*", said.replace(MINUS, "-"))]


@pytest.mark.parametrize("same_seeds", [True, False], ids=["paired", "Welch"])
def test_seeds_by_students_and_welchs_interval(same_seeds: bool) -> None:
    shown = read_difference(BySeed(ONE, ".3f"), BySeed(OTHER, ".3f"), same_seeds=same_seeds)
    test = scipy.stats.ttest_rel(ONE, OTHER) if same_seeds else scipy.stats.ttest_ind(ONE, OTHER, equal_var=False)
    interval = test.confidence_interval()
    assert ends(shown[2]) == pytest.approx([np.subtract(ONE, OTHER).mean(), *interval], abs=6e-4)
    assert shown[2].endswith(": lower")
    assert shown[:2] == ["4.133", "7.067"]


def test_few_seeds_cannot_tell_and_equal_ones_are_called_so() -> None:
    assert read_difference(BySeed(ONE[:2], ".1f"), BySeed(OTHER[:2], ".1f"))[2].endswith("cannot tell")
    assert read_difference(BySeed(ONE[:1], ".1f"), BySeed(OTHER[:1], ".1f"))[2] == "−2.9, no interval: cannot tell"
    assert read_difference(BySeed(ONE), BySeed(ONE))[2] == SAME_BY_SEED
    assert read_difference(BySeed([np.nan], ".1f"), BySeed([1.0], ".1f"), same_seeds=False) == ["none", "1.0", ""]
    right = np.array([[True, False], [True, True]])
    assert read_difference(RightBySeed(right), RightBySeed(right))[2] == SAME
    assert read_difference(right, right)[2] == SAME


def test_intervals_of_what_has_one_are_joined_by_squares() -> None:
    one, other = (Band(*(np.array([value]) for value in values)) for values in ((0.7, 0.6, 0.85), (0.5, 0.46, 0.53)))
    reach = np.hypot(0.1, 0.03), np.hypot(0.15, 0.04)
    shown = read_difference(Estimate(one, ".3f"), Estimate(other, ".3f"))
    assert ends(shown[2]) == pytest.approx([0.2, 0.2 - reach[0], 0.2 + reach[1]], abs=6e-4)
    assert shown[2].endswith(": higher")
    assert apart(one, one).low[0] < 0 < apart(one, one).high[0]


@pytest.mark.parametrize("way", ["seeds", "bootstrap"])
def test_of_other_images_the_interval_covers(way: str) -> None:
    """Nets of three seeds whose true shares are 70 % and 60 % of images that have nothing in common."""
    rng, truth, covered = np.random.default_rng(0), 10.0, 0
    for _ in range(200):
        nets = rng.normal(0, 0.02, (2, 3, 1)) + np.array([0.7, 0.6])[:, None, None]
        one, other = rng.random((3, 60)) < nets[0], rng.random((3, 80)) < nets[1]
        if way == "seeds":
            change = seed_tests.gain(one, other, paired=False)
            covered += change.low <= truth <= change.high
        else:
            band = difference(one, other, paired=False)
            covered += 100 * band.low[0] <= truth <= 100 * band.high[0]
    assert covered >= 186  # 93 %


def test_the_same_images_make_the_interval_narrower() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(200)
    one, other = (np.stack([hard < share for _ in range(2)]) for share in (0.7, 0.65))
    widths = [float((band.high - band.low)[0]) for band in (difference(one, other, paired) for paired in (True, False))]
    assert widths[0] < 0.6 * widths[1]
