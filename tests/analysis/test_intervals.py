"""The bootstrap over test points and seeds: against explicit resamples, binomial intervals and the truth."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ntkcore.analysis.intervals import DRAWS, Band, Resampling, difference, wilson

SHAPES = {"[S, m]": (3, 40), "[S, E, m]": (3, 5, 40), "[S, A, E, m]": (3, 2, 4, 40)}


def values(shape, missing=0.0, seed=0):
    g = np.random.default_rng(seed)
    out = g.normal(size=shape)
    out[g.random(shape) < missing] = np.nan
    return out


def verdicts(p, seeds=1, points=300, seed=0):
    """right [S, m]: the first share p of the points, in an order of its own for each seed."""
    g = np.random.default_rng(seed)
    return np.stack([g.permutation(np.arange(points) < round(p * points)) for _ in range(seeds)])


def resampled(draw: Resampling, row: int, array: np.ndarray) -> np.ndarray:
    """The resample itself: seeds and points repeated as often as draw number ``row`` took them."""
    seeds = np.round(draw.seeds[row] * len(array)).astype(int)
    points = np.round(draw.points[row] * array.shape[-1]).astype(int)
    return np.repeat(np.repeat(array, seeds, axis=0), points, axis=-1)


# --------------------------------------------------------------------------------------------------------------- draws


def test_draws_take_as_many_points_and_seeds_as_there_are_and_the_first_is_the_sample():
    draw = Resampling(points=30, seeds=4)
    assert draw.points.shape == (DRAWS + 1, 30)
    assert draw.seeds.shape == (DRAWS + 1, 4)
    for weights in (draw.points, draw.seeds):
        np.testing.assert_allclose(weights.sum(1), 1)
        np.testing.assert_array_equal(weights[0], np.full(weights.shape[1], 1 / weights.shape[1]))
        counts = weights * weights.shape[1]
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-12)
        np.testing.assert_allclose(weights[1:].mean(0), 1 / weights.shape[1], rtol=0.35)
        assert counts.max() >= 2
    again, other = Resampling(30, 4), Resampling(30, 4, seed=1)
    assert np.array_equal(again.points, draw.points)
    assert not np.array_equal(other.points, draw.points)


def test_points_and_seeds_are_drawn_independently():
    draw = Resampling(points=20, seeds=20)
    together = [np.corrcoef(draw.points[1:, i], draw.seeds[1:, i])[0, 1] for i in range(20)]
    assert np.abs(together).max() < 4 / np.sqrt(DRAWS)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("missing", [0.0, 0.3], ids=["all there", "a third missing"])
def test_mean_of_a_draw_is_the_mean_of_its_resample_and_row_0_that_of_the_sample(shape, missing):
    array, draw = values(shape, missing), Resampling(shape[-1], shape[0])
    means = draw.mean(array)
    assert means.shape == (DRAWS + 1, *shape[1:-1])
    np.testing.assert_allclose(means[0], np.nanmean(array, axis=(0, -1)), rtol=1e-12)
    for row in (0, 1, 17, DRAWS):
        np.testing.assert_allclose(means[row], np.nanmean(resampled(draw, row, array), axis=(0, -1)), rtol=1e-9)


def test_what_is_missing_everywhere_stays_unknown_without_a_warning():
    array = values((2, 3, 10))
    array[:, 1] = np.nan
    draw = Resampling(10, 2)
    means = draw.mean(array)
    assert np.isnan(means[:, 1]).all()
    assert np.isfinite(means[:, [0, 2]]).all()
    band = draw.band(means)
    assert band.known.tolist() == [True, False, True]
    assert np.isnan([band.low[1], band.high[1]]).all()
    assert np.isfinite([band.low[0], band.high[2]]).all()


def test_a_seed_that_is_missing_weighs_nothing():
    array = values((2, 25))
    array[1] = np.nan
    draw = Resampling(25, 2)
    means = draw.mean(array)
    known = draw.seeds[:, 0] > 0
    np.testing.assert_allclose(means[known], (draw.points @ array[0])[known])
    assert np.isnan(means[~known]).all()
    assert 0.1 < np.mean(~known) < 0.4
    band = draw.band(means[:, None])
    assert band.low[0] < band.mean[0] < band.high[0]


# ------------------------------------------------------------------------------------------------------------ shares


@pytest.fixture(scope="module")
def attacked():
    """before [S, m], after and white [S, E, m]: three seeds, four radii."""
    g = np.random.default_rng(5)
    before = g.random((3, 50)) < 0.8
    white = before[:, None] & (g.random((3, 4, 50)) < np.array([1.0, 0.6, 0.3, 0.0])[:, None])
    after = g.random((3, 4, 50)) < np.array([0.8, 0.7, 0.5, 0.2])[:, None]
    return before, after, white


@pytest.mark.parametrize("row", [0, 3, DRAWS])
def test_recovered_share_of_a_draw_is_that_of_its_resample(attacked, row):
    before, after, white = attacked
    draw = Resampling(50, 3)
    b, a, w = (resampled(draw, row, array) for array in attacked)
    shares = []
    for e in range(4):
        drop = b.mean() - w[:, e].mean()
        shares.append((b.mean() - a[:, e].mean()) / drop if drop > 0 else np.nan)
    np.testing.assert_allclose(draw.recovered(before, after, white)[row], shares, rtol=1e-9)
    assert np.isnan(shares[0])  # this white box takes nothing at the first radius
    assert np.isfinite(shares[1:]).all()


def test_ratio_is_not_known_where_there_is_nothing_to_be_a_share_of():
    above, below = np.array([[1.0, 2.0, 3.0, 0.0, 5.0]]), np.array([[2.0, 0.0, -1.0, 0.0, np.nan]])
    np.testing.assert_array_equal(Resampling.ratio(above, below), [[0.5, np.nan, np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(Resampling.ratio(above, np.array([[2.0]])), above / 2)


def test_recovered_share_of_a_target_that_is_never_right_is_not_known():
    draw, wrong = Resampling(20, 2), np.zeros((2, 20), dtype=bool)
    band = draw.band(draw.recovered(wrong, wrong[:, None], wrong[:, None]))
    assert not band.known.any()


# ----------------------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("p", [0.5, 0.8, 0.95])
def test_interval_of_a_share_is_close_to_the_binomial_one(p):
    draw = Resampling(points=300, seeds=1)
    band = draw.band(draw.mean(verdicts(p))[:, None])
    low, high = binom.ppf([0.025, 0.975], 300, p) / 300
    assert band.mean[0] == pytest.approx(p)
    assert band.high[0] - band.low[0] == pytest.approx(high - low, rel=0.2)
    assert band.low[0] == pytest.approx(low, abs=0.2 * (high - low))
    assert band.high[0] == pytest.approx(high, abs=0.2 * (high - low))


def test_interval_shrinks_like_the_root_of_the_points():
    widths = []
    for points in (100, 1600):
        draw = Resampling(points, 1)
        band = draw.band(draw.mean(verdicts(0.8, points=points))[:, None])
        widths.append(band.high[0] - band.low[0])
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)


def test_interval_is_wider_when_seeds_differ_and_equal_seeds_add_nothing():
    alike, unlike = np.repeat(verdicts(0.7), 3, 0), np.concatenate([verdicts(p) for p in (0.5, 0.7, 0.9)])
    width = {}
    for name, right in {"one": alike[:1], "alike": alike, "unlike": unlike}.items():
        draw = Resampling(300, len(right))
        band = draw.band(draw.mean(right)[:, None])
        assert band.mean[0] == pytest.approx(0.7)
        width[name] = band.high[0] - band.low[0]
    assert width["alike"] == pytest.approx(width["one"], rel=0.15)
    assert width["unlike"] > 2 * width["alike"]


def test_interval_of_a_share_of_a_drop_is_narrow_where_source_and_white_box_agree():
    """The same points are drawn for both, so what they have in common cancels."""
    before, white = np.ones((1, 300), dtype=bool), verdicts(0.4)[:, None]
    draw = Resampling(300, 1)
    same = draw.band(draw.recovered(before, white, white))
    assert (same.low[0], same.mean[0], same.high[0]) == pytest.approx((1, 1, 1))
    other = draw.band(draw.recovered(before, verdicts(0.4, seed=1)[:, None], white))
    assert other.high[0] - other.low[0] > 0.1


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """200 experiments of one net, their points drawn anew; the truth is the share they are drawn from."""
    g, draw, held = np.random.default_rng(0), Resampling(200, 1), 0
    for _ in range(200):
        band = draw.band(draw.mean(g.random((1, 200)) < 0.7)[:, None])
        held += band.low[0] <= 0.7 <= band.high[0]
    assert 0.90 <= held / 200 <= 0.985


@pytest.mark.parametrize("missing", [0.0, 0.5], ids=["all there", "half missing"])
def test_bands_hold_their_mean(missing):
    array = values((2, 30, 6), missing, seed=3) ** 3  # skewed, few points
    draw = Resampling(6, 2)
    band = draw.band(draw.mean(array))
    assert band.mean.shape == band.low.shape == band.high.shape == (30,)
    assert (band.low <= band.mean).all()
    assert (band.mean <= band.high).all()
    assert (band.low < band.high).all()


def test_band_takes_the_central_95_percent_of_the_draws_that_are_known():
    draws = np.concatenate([[50.0], np.arange(101.0), [np.nan] * 10])
    band = Resampling(2, 1).band(draws[:, None])
    assert (band.mean[0], band.low[0], band.high[0]) == pytest.approx((50, 2.5, 97.5))
    for value, low, high in ((200.0, 2.5, 200), (-9.0, -9, 97.5)):  # a sample that lies beside its own draws
        aside = Resampling(2, 1).band(np.concatenate([[value], np.arange(101.0)])[:, None])
        assert (aside.mean[0], aside.low[0], aside.high[0]) == pytest.approx((value, low, high))


def test_known_values_of_a_band():
    nothing = np.full(3, np.nan)
    assert Band(np.array([0.0, np.nan, np.inf]), nothing, nothing).known.tolist() == [True, False, False]


@pytest.mark.parametrize("hits", [0, 3, 50])
def test_wilson_interval_agrees_with_scipy(hits):
    expected = binomtest(hits, 50).proportion_ci(0.95, method="wilson")
    low, high = wilson(np.array([hits / 50]), 50)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.0)])
def test_a_side_of_few_images_is_not_certain_of_itself(first, second):
    """Ten images of which none is right may come from a share of up to 28 % (Wilson)."""
    band = difference(verdicts(first, points=1000)[0], verdicts(second, points=10)[0], False)
    assert band.mean[0] - band.low[0] > 0.27


@pytest.mark.parametrize("paired", [True, False], ids=["paired", "unpaired"])
def test_interval_of_a_difference_is_close_to_the_normal_one(paired):
    first = verdicts(0.8, points=2000)[0].astype(float)
    second = np.where(verdicts(0.9, points=2000, seed=1)[0], first, 1 - first)  # right together on nine of ten
    if not paired:
        second = second[:500]
    band = difference(first, second, paired)
    variance = (first - second).var() / 2000 if paired else first.var() / 2000 + second.var() / 500
    assert band.mean[0] == pytest.approx(first.mean() - second.mean(), abs=1e-12)
    reach = 1.96 * variance**0.5
    assert band.mean[0] - band.low[0] == pytest.approx(reach, rel=0.2)
    assert band.high[0] - band.mean[0] == pytest.approx(reach, rel=0.2)
