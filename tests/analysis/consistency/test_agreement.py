"""Intervals and chance levels of the agreement of kernels, against tables, simulations and all permutations."""

from itertools import permutations

import numpy as np
import pytest
import torch

from ntkcore import SpecError
from ntkcore.analysis.consistency import agreement as module
from ntkcore.analysis.consistency.agreement import (
    agreeing,
    agreement,
    chance_alignment,
    chance_overlap,
    chance_product,
    leading,
    mean_cosine,
    overlap_p_value,
)
from ntkcore.analysis.consistency.similarity import Match, kernel_alignment, subspace_overlap
from ntkcore.analysis.intervals import jackknife, mean_band


def orthonormal(n, k, seed):
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(n, k)))[0])


def points(n, d, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def gram(x, *scales):
    """A kernel of the points, their first axes scaled, with something that all have in common."""
    x = x * torch.tensor([*scales, *[1.0] * (x.shape[1] - len(scales))], dtype=torch.float64)
    return x @ x.T + 3


# -- all orders of the images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("centred", [True, False], ids=["centred", "not centred"])
def test_chance_alignment_is_the_mean_over_all_orders(centred):
    A, B = gram(points(5, 6, 0), 3), gram(points(5, 6, 1))
    every = [kernel_alignment(A, B[order][:, order], centred) for order in map(list, permutations(range(5)))]
    assert chance_alignment([A, B], centred)[0, 1] == pytest.approx(np.mean(every), rel=1e-10)
    assert np.ptp(every) > 0.01


def test_chance_overlap_is_the_mean_over_all_orders():
    V, W, ks = orthonormal(5, 3, 0), orthonormal(5, 3, 1), [1, 2, 3]
    V[:, 0] = torch.linalg.vector_norm(V[:, 0]) / 5**0.5  # what all images share
    V = torch.linalg.qr(V)[0]
    every = [subspace_overlap(V, W[list(order)], ks).numpy() for order in permutations(range(5))]
    np.testing.assert_allclose(chance_overlap(V, W, ks), np.mean(every, axis=0), rtol=1e-10)


def test_spaces_that_share_the_constant_share_it_in_any_order():
    constant = torch.full((40, 1), 40**-0.5, dtype=torch.float64)
    V, W = (torch.linalg.qr(torch.cat([constant, points(40, 3, seed)], 1))[0] for seed in (0, 1))
    np.testing.assert_allclose(chance_overlap(V, W, [1, 4]), [1, (1 + 9 / 39) / 4])


def test_the_permutation_test_is_exact():
    """Of strangers p is uniform, of kin the smallest there is."""
    draws = [overlap_p_value(orthonormal(30, 3, seed), orthonormal(30, 3, 900 + seed), 3, 39) for seed in range(200)]
    assert np.mean(np.array(draws) <= 0.1) == pytest.approx(0.1, abs=3.5 * (0.09 / 200) ** 0.5)
    assert np.mean(draws) == pytest.approx(0.5, abs=3.5 * (1 / 12 / 200) ** 0.5)
    V = orthonormal(30, 3, 0)
    assert overlap_p_value(V, -V.flip(1), 3, 39) == 1 / 40


def test_directions_that_agree_are_beyond_chance():
    """The largest of 100 products of random directions goes beyond the bound in at most 5 % of all cases."""
    bound = chance_product(20, 100)
    largest = [(orthonormal(20, 10, seed).T @ orthonormal(20, 10, 700 + seed)).abs().max() for seed in range(300)]
    beyond = np.mean(np.array(largest) > bound)
    assert 0.01 < beyond < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    match = Match(torch.arange(2), torch.tensor([-0.6, 0.4], dtype=torch.float64))
    assert agreeing(match, 500).tolist() == [True, False]
    assert agreeing(match, 12).tolist() == [False, False], "0.6 is nothing among 12 images"


# -- intervals ----------------------------------------------------------------------------------------------------


def test_the_jackknife_of_a_mean_is_students_interval():
    x = np.random.default_rng(0).normal(size=(9, 2))
    left_out = np.stack([np.delete(x, i, axis=0).mean(0) for i in range(9)])
    one, other = jackknife(x.mean(0), left_out), mean_band(x.T)
    reach = 2.306 * x.std(0, ddof=1) / 3  # Student's t of 8 degrees of freedom, from a table
    for band in (one, other):
        np.testing.assert_allclose([band.mean - band.low, band.high - band.mean], [reach, reach], rtol=1e-3)
    assert np.isnan(jackknife(x.mean(0), left_out[:1]).low).all()


def test_a_mean_leaves_out_what_is_not_there():
    band = mean_band([[1, np.nan, 3], [np.nan, 2, np.nan], [np.nan] * 3])
    np.testing.assert_allclose(band.mean, [2, 2, np.nan])
    np.testing.assert_array_equal(np.isfinite(band.low), [True, False, False])
    assert mean_cosine(np.array([[0.2, np.nan], [0.4, 0.7]])).mean == pytest.approx((0.3 + 0.7) / 2)


def test_intervals_hold_what_all_images_would_say():
    """Normal points seen by two linear kernels with different axes, one of the two large ones turned by 45 degrees."""
    scales = torch.tensor([3.0, 2.5, *[1.0] * 6], dtype=torch.float64)
    turn = torch.eye(8, dtype=torch.float64)
    turn[0, 0] = turn[0, 5] = turn[5, 0] = 0.5**0.5
    turn[5, 5] = -(0.5**0.5)
    axes = [torch.diag(scales), turn @ torch.diag(scales)]
    second = [a @ a.T for a in axes]  # of points with unit covariance, the kernel's own second moments
    alignment = float((second[0] * second[1]).sum() / (second[0].norm() * second[1].norm()))
    inside = []
    for seed in range(60):
        found = agreement([(points(80, 8, seed) @ a) @ (points(80, 8, seed) @ a).T for a in axes])
        for band, expected in ((found.alignment, alignment), (found.overlap, (1 + 0.5) / 2)):  # of two eigenvectors
            inside.append(band.low[0, 1] <= expected <= band.high[0, 1])
    assert np.mean(inside) > 0.85


# -- all of it ----------------------------------------------------------------------------------------------------


def test_agreement_compares_every_pair_along_k():
    x = points(24, 6, 0)
    kernels, seen = [gram(x), gram(x, 4), gram(x, 1, 4) + torch.eye(24)], []
    a = agreement(kernels, lambda done, total, note: seen.append((done, total)))
    assert a.n == 24
    assert seen == [(group, 10) for group in range(10)]
    assert a.ks.tolist() == [1, 2, 3, 5, 7], "the first kernel has 7 eigenvectors"
    vectors = [torch.linalg.eigh(K)[1].flip(1) for K in kernels]
    for row, (one, other) in enumerate([(0, 1), (0, 2), (1, 2)]):
        expected = subspace_overlap(vectors[one], vectors[other], a.ks.tolist())
        np.testing.assert_allclose(a.overlap.mean[row], expected, atol=1e-8)
        assert a.alignment.mean[one, other] == pytest.approx(kernel_alignment(kernels[one], kernels[other], True))
    assert (a.overlap.low <= a.overlap.mean).all()
    assert (a.overlap.mean <= a.overlap.high).all()
    assert a.overlap.high.max() <= 1
    assert (a.p_values == 1 / (module.PERMUTATIONS + 1)).all()
    ks, curves, chance = a.curves(["a", "b", "c"])
    np.testing.assert_array_equal(curves["a and c"].high, a.overlap.high[1])
    np.testing.assert_array_equal(chance, a.chance.max(0))
    assert list(ks) == a.ks.tolist()


@pytest.mark.parametrize(
    ("ks", "k"), [([1, 2, 3, 5, 7, 10, 15, 20, 30, 50], 20), ([1, 2, 3, 5, 7, 10, 15, 20], 10), ([1], 1)]
)
def test_the_space_read_aloud_is_at_most_half_of_everything(ks, k):
    assert ks[leading(ks)] == k


def test_too_few_images_are_refused():
    with pytest.raises(SpecError, match="takes 4 at least"):
        agreement([gram(points(3, 4, seed)) for seed in range(2)])
