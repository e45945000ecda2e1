"""What few seeds can say: intervals against scipy's tests and against how often they hold the truth, ranks by hand."""

from math import inf, log, nan

import numpy as np
import pytest
from scipy import stats

from ntkcore.analysis.evolution.seed_tests import Change, difference, earlier, gain, ratio
from ntkcore.errors import DataError


def test_difference_is_the_paired_t_interval_of_scipy() -> None:
    one, other = [3.1, 2.0, 4.5, 3.3], [2.0, 1.5, 2.2, 3.0]
    found, told = difference(one, other), stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx(
        (np.mean(np.subtract(one, other)), told.low, told.high)
    )
    assert (found.seeds, found.way) == (4, int(told.low > 0))


def test_ratio_is_the_same_of_logarithms() -> None:
    one, other = [0.5, 0.9, 0.8], [0.9, 1.2, 1.2]
    found, logs = ratio(one, other), difference(np.log(one), np.log(other))
    assert [log(x) for x in (found.value, found.low, found.high)] == pytest.approx([logs.value, logs.low, logs.high])
    assert found.way == logs.way == -1
    assert ratio([2, 4, 8], [1, 2, 4]) == Change(pytest.approx(2), pytest.approx(2), pytest.approx(2), 3, 1.0)


@pytest.mark.parametrize(
    ("one", "other", "seeds", "way"),
    [
        pytest.param([2, 2.1, 2.2], [1, 1.1, 1.1], 3, 1, id="three"),
        pytest.param([2, 2.1, nan], [1, 1.1, 1.1], 2, 0, id="one-not-known"),
        pytest.param([2, 2.1], [1, 1.1], 2, 0, id="two-are-too-few"),
        pytest.param([2], [1], 1, 0, id="one-has-no-interval"),
        pytest.param([], [], 0, 0, id="none"),
        pytest.param([2, 9, 1], [1, 1, 1.5], 3, 0, id="too-wide"),
    ],
)
@pytest.mark.parametrize("compare", [difference, ratio])
def test_what_too_few_seeds_do_not_tell(compare, one, other, seeds, way) -> None:
    found = compare(one, other)
    assert (found.seeds, found.way) == (seeds, way)
    assert np.isnan(found.low) == (seeds < 2)
    assert compare(other, one).way == -way


def test_what_is_not_above_zero_has_no_ratio() -> None:
    assert ratio([0, 0, 0], [0, 0, 0]).seeds == 0
    assert ratio([0, 2, 2, 2], [1, 1, 1, 1]).seeds == 3


def test_gain_of_one_seed_is_the_interval_over_images_and_tells_nothing_of_the_training() -> None:
    g = np.random.default_rng(0)
    one, other = g.random((1, 400)) < 0.8, g.random((1, 400)) < 0.5
    found = gain(one, other)
    told = stats.ttest_rel(*(right[0].astype(float) for right in (one, other))).confidence_interval(0.95)
    assert found.value == pytest.approx(100 * (one.mean() - other.mean()))
    assert (found.low, found.high) == pytest.approx((100 * told.low, 100 * told.high), abs=0.5)  # two images made up
    assert found.way == 0
    assert gain(np.repeat(one, 3, 0), np.repeat(other, 3, 0)).way == 1


def test_gain_of_few_images_that_all_agree_is_not_certain() -> None:
    right = np.ones((3, 20), bool)
    same, won = gain(right, right), gain(right, ~right)
    assert (same.value, same.way) == (0, 0)
    assert same.high == -same.low > 5
    assert (won.value, won.high) == (100, 100)
    assert 60 < won.low < 95


@pytest.mark.parametrize(("spread", "images"), [(0.0, 60), (1.0, 60), (1.0, 600)])
def test_gain_holds_the_truth_nearly_always(spread: float, images: int) -> None:
    """Seeds that differ, images of different difficulty; the truth is a large sample's mean."""
    g, hits = np.random.default_rng(1), []
    hardness, effects = g.normal(size=200_000), spread * g.normal(size=200_000)
    truth = 100 * np.mean(_share(hardness + 0.5 + effects) - _share(hardness))
    for _ in range(600):
        hard, effect = g.normal(size=images), spread * g.normal(size=(3, 1))
        one, other = (g.random((3, images)) < _share(hard + shift) for shift in (0.5 + effect, np.zeros((3, 1))))
        found = gain(one, other)
        hits.append(found.low <= truth <= found.high)
    assert np.mean(hits) > 0.925


def _share(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("one", "other", "way"),
    [
        pytest.param([4, 2, 1], [inf, 12, inf], 1, id="every-one-before-any-other"),
        pytest.param([inf, 12, 13], [11, 2, 1], -1, id="later"),
        pytest.param([4, 2, 12], [inf, 11, inf], 0, id="three-that-overlap"),
        pytest.param([1, 2, 4, 12], [inf, 11, inf, 13], 1, id="four-may-overlap-once"),
        pytest.param([4, 2], [inf, 12], 0, id="two-are-too-few"),
        pytest.param([inf, inf, inf], [inf, inf, inf], 0, id="never"),
        pytest.param([1, 1, 1], [1, 1, 1], 0, id="the-same"),
        pytest.param([1, 1, 2], [2, 3, 3], 0, id="a-tie-between-them"),
        pytest.param([4, nan, 2, 1], [inf, 12, 12, inf], 1, id="a-seed-left-out"),
    ],
)
def test_earlier(one, other, way) -> None:
    assert earlier(one, other) == way
    assert earlier(other, one) == -way


def test_earlier_is_the_exact_test_of_mann_and_whitney() -> None:
    g, told = np.random.default_rng(2), set()
    for _ in range(100):
        one, other = g.random(5), g.random(5) + 0.4
        p = stats.mannwhitneyu(one, other, alternative="less", method="exact").pvalue
        told.add(p <= 0.05)
        assert (earlier(one, other) == 1) == (p <= 0.05)
    assert told == {True, False}


def test_earlier_rarely_errs_on_seeds_that_share_a_start() -> None:
    g, wrong = np.random.default_rng(3), 0
    for _ in range(2000):
        start = g.normal(size=3)
        wrong += earlier(start + g.normal(size=3), start + g.normal(size=3)) == 1
    assert wrong / 2000 < 0.05


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: difference([1, 2], [1, 2, 3]), id="difference"),
        pytest.param(lambda: ratio([[1]], [[2]]), id="ratio"),
        pytest.param(lambda: earlier([1], [1, 2]), id="earlier"),
        pytest.param(lambda: gain(np.ones((3, 4)), np.ones((3, 5))), id="gain"),
        pytest.param(lambda: gain(np.ones(4), np.ones(4)), id="gain-of-one-net"),
    ],
)
def test_what_is_not_of_the_same_seeds_is_refused(call) -> None:
    with pytest.raises(DataError, match="got shapes"):
        call()
