"""Consistency across architectures against textbook formulas in plain numpy, projectors, permutations and autograd."""

from itertools import permutations

import numpy as np
import pytest
import torch

from ntkcore import SpecError, classify, conv, eigenfeatures, empirical_kernel_fn, fc, fgsm, kernel_fn, myrtle, spectrum
from ntkcore.analysis.consistency.similarity import (
    Match,
    alignment_matrix,
    feature_gradients,
    kernel_alignment,
    match_features,
    matched_gradient_cosine,
    name_pairs,
    subspace_overlap,
    tally,
    vector_overlap,
)
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.analysis.spectrum import Spectrum

NETS = {"fc1": fc(1), "conv1": conv(1), "myrtle5": myrtle(5)}


def problem(classes=2, n=14, m=3, side=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, x_test = torch.rand(n, 2, side, side, generator=g), torch.rand(m, 2, side, side, generator=g)
    of, of_test = torch.arange(n) % classes, torch.arange(m) % classes
    if classes == 2:
        return x, (2.0 * of - 1)[:, None], x_test, (2.0 * of_test - 1)[:, None]
    return x, torch.eye(classes)[of], x_test, torch.eye(classes)[of_test]


def psd(n, seed):
    a = np.random.default_rng(seed).normal(size=(n, n + 2))
    return a @ a.T + 3


def orthonormal(n, k, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, k)))[0]


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def test_every_pair_has_a_name():
    assert name_pairs(["FC(1)", "Conv(2)", "Myrtle(5)"]) == [
        ("FC(1) and Conv(2)", 0, 1),
        ("FC(1) and Myrtle(5)", 0, 2),
        ("Conv(2) and Myrtle(5)", 1, 2),
    ]


# -- alignment ---------------------------------------------------------------------------------------------------


def hsic(a, b):
    """The biased estimate ``tr(A H B H) / (n - 1)^2`` with explicit centring matrices (Gretton et al. 2005)."""
    h = np.eye(len(a)) - np.full((len(a), len(a)), 1 / len(a))
    return np.trace(a @ h @ b @ h) / (len(a) - 1) ** 2


def test_centred_alignment_is_the_ratio_of_biased_hsic():
    a, b = psd(9, 0), psd(9, 1)
    expected = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert kernel_alignment(tensor(a), tensor(b), centred=True) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected < 0.9


def test_alignment_without_centring_is_the_cosine_of_the_matrices():
    a, b = psd(9, 0), psd(9, 1)
    expected = np.trace(a @ b) / np.sqrt(np.trace(a @ a) * np.trace(b @ b))
    assert kernel_alignment(tensor(a), tensor(b), centred=False) == pytest.approx(expected, rel=1e-12)
    assert expected != pytest.approx(kernel_alignment(tensor(a), tensor(b), centred=True), abs=0.05)


def test_scale_and_with_centring_a_constant_do_not_matter():
    a, b = tensor(psd(8, 0)), tensor(psd(8, 1))
    for centred in (True, False):
        assert kernel_alignment(a, 7 * a, centred) == pytest.approx(1)
    assert kernel_alignment(a + 50, 0.1 * b, True) == pytest.approx(kernel_alignment(a, b, True))
    assert kernel_alignment(a + 50, b, False) > kernel_alignment(a, b, False) + 0.01


@pytest.mark.parametrize("centred", [True, False], ids=["centred", "not centred"])
def test_alignment_matrix_holds_every_pair(centred):
    kernels = [tensor(psd(7, seed)).float() for seed in range(3)]
    matrix = alignment_matrix(kernels, centred)
    assert matrix.dtype == torch.float64
    assert matrix.shape == (3, 3)
    for a in range(3):
        for b in range(3):
            assert matrix[a, b].item() == pytest.approx(kernel_alignment(kernels[a], kernels[b], centred), abs=1e-12)


@pytest.mark.parametrize(
    ("kernels", "centred", "words"),
    [
        ([torch.eye(3), torch.eye(4)], True, "same training images"),
        ([torch.rand(3, 4)] * 2, True, "square"),
        ([torch.eye(3), torch.full((3, 3), torch.nan)], False, "not finite"),
        ([torch.eye(3), torch.zeros(3, 3)], False, "zero"),
        ([torch.eye(3), torch.full((3, 3), 0.3, dtype=torch.float64)], True, "same value"),
    ],
    ids=["sizes", "rectangular", "nan", "zero", "constant"],
)
def test_kernels_without_an_alignment_are_refused(kernels, centred, words):
    with pytest.raises(SpecError, match=words):
        alignment_matrix(kernels, centred)


def test_a_constant_kernel_is_aligned_where_nothing_is_centred():
    assert kernel_alignment(torch.full((3, 3), 0.3), torch.eye(3), False) == pytest.approx(3 / np.sqrt(27))


# -- overlaps ----------------------------------------------------------------------------------------------------


def test_subspace_overlap_is_the_trace_of_two_projectors():
    v1, v2, ks = orthonormal(12, 9, 0), orthonormal(12, 10, 1), [7, 1, 3, 9]
    expected = []
    for k in ks:
        p1, p2 = v1[:, :k] @ v1[:, :k].T, v2[:, :k] @ v2[:, :k].T
        expected.append(np.trace(p1 @ p2) / k)
    np.testing.assert_allclose(subspace_overlap(tensor(v1), tensor(v2), ks), expected, rtol=1e-12)


def test_overlap_of_vectors_turned_by_a_known_angle():
    """Columns 1 and 2 turned among themselves, column 0 out of the space of the others."""
    v, angle, tilt = np.eye(6), 0.4, 1.1
    w = v.copy()
    w[:, 1] = np.cos(angle) * v[:, 1] + np.sin(angle) * v[:, 2]
    w[:, 2] = -np.sin(angle) * v[:, 1] + np.cos(angle) * v[:, 2]
    w[:, 0] = np.cos(tilt) * v[:, 0] + np.sin(tilt) * v[:, 5]
    c, t = np.cos(angle) ** 2, np.cos(tilt) ** 2
    got = subspace_overlap(tensor(v[:, :4]), tensor(w[:, :4]), [1, 2, 3, 4])
    np.testing.assert_allclose(got, [t, (t + c) / 2, (t + 2) / 3, (t + 3) / 4])
    pairs = vector_overlap(tensor(v), tensor(w), 3)
    expected = [
        [np.cos(tilt), 0, 0],
        [0, np.cos(angle), np.sin(angle)],
        [0, np.sin(angle), np.cos(angle)],
    ]
    np.testing.assert_allclose(pairs, expected, atol=1e-15)


def test_the_whole_space_and_equal_kernels_overlap_entirely():
    v1, v2 = tensor(orthonormal(8, 8, 0)), tensor(orthonormal(8, 8, 1))
    assert subspace_overlap(v1, v2, [8]).item() == pytest.approx(1)
    assert subspace_overlap(v1, v2, [4]).item() < 0.95
    np.testing.assert_allclose(subspace_overlap(v1, v1, range(1, 9)), np.ones(8))
    np.testing.assert_allclose(vector_overlap(v1, -v1, 8), np.eye(8), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_matching_is_the_best_of_all_permutations(seed):
    v1, v2 = orthonormal(7, 5, seed), orthonormal(7, 6, 100 + seed)
    overlap = np.abs(v1.T @ v2)[:5, :5]
    best = max(permutations(range(5)), key=lambda p: sum(overlap[i, p[i]] for i in range(5)))
    match = match_features(tensor(v1), tensor(v2), 5)
    assert match.partner.dtype == torch.long
    assert tuple(match.partner.tolist()) == best
    np.testing.assert_allclose(match.product, [v1[:, i] @ v2[:, best[i]] for i in range(5)], rtol=1e-12)


def test_matching_finds_vectors_that_changed_places_and_sign():
    v, order, signs = orthonormal(9, 6, 0), [2, 0, 1, 4, 3, 5], np.array([1, -1, -1, 1, 1, -1])
    match = match_features(tensor(v[:, order] * signs), tensor(v), 6)
    assert match.partner.tolist() == order
    np.testing.assert_allclose(match.product, signs, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda v: subspace_overlap(v, v, [0, 1]), "at least 1 and at most 4"),
        (lambda v: subspace_overlap(v, v, [5]), "at least 1 and at most 4"),
        (lambda v: subspace_overlap(v, v, [1.5]), "whole number"),
        (lambda v: subspace_overlap(v, v, []), "from 1 to 4"),
        (lambda v: subspace_overlap(v, v[:5], [1]), "same n training images"),
        (lambda v: vector_overlap(v, v, 5), "top is 5"),
        (lambda v: match_features(v, v, 0), "top is 0"),
    ],
    ids=["k-zero", "k-large", "k-half", "no-k", "other-images", "top-large", "top-zero"],
)
def test_eigenvectors_that_do_not_exist_are_refused(call, words):
    with pytest.raises(SpecError, match=words):
        call(tensor(orthonormal(6, 4, 0)))


# -- gradients of features ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_feature_gradients_are_those_of_autograd(name):
    x, _, x_test, _ = problem()
    k = kernel_fn(NETS[name])
    s = spectrum(k(x.double()))
    features = [0, 3, 1]
    got = feature_gradients(k, s, x.double(), x_test, features)
    assert got.shape == (3, *x_test.shape)
    for row, feature in enumerate(features):
        z = x_test.double().requires_grad_()
        value = k(z, x.double()) @ s.vectors[:, feature] / s.values[feature]
        (expected,) = torch.autograd.grad(value.sum(), z)
        torch.testing.assert_close(got[row], expected, rtol=1e-6, atol=1e-10)


def cosine_by_numpy(a, b):
    return float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))


def test_cosines_of_matched_gradients_are_signed_by_their_eigenvectors():
    rng = np.random.default_rng(0)
    a, b, partner, product = rng.normal(size=(3, 5, 6)), rng.normal(size=(4, 5, 6)), [3, 0, 1], [0.9, -0.4, 0.1]
    got = matched_gradient_cosine(tensor(a), tensor(b), Match(torch.tensor(partner), torch.tensor(product)))
    expected = [
        [np.sign(product[i]) * cosine_by_numpy(a[i, image], b[j, image]) for image in range(5)]
        for i, j in enumerate(partner)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_images_without_a_gradient_have_no_cosine():
    a = torch.ones(2, 3, 4)
    b = a.clone()
    a[0, 1], b[1] = 0, 0
    a[0, 2, :2] = 0
    got = matched_gradient_cosine(a, b, Match(torch.arange(2), torch.ones(2)))
    np.testing.assert_allclose(got, [[1, np.nan, 0.5**0.5], [np.nan] * 3])


def test_the_sign_of_an_eigenvector_does_not_matter():
    x, _, x_test, _ = problem()
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    turned = Spectrum(s.values, s.vectors * torch.tensor([1.0, -1.0] * 7).double())
    one, two = (feature_gradients(k, of, x, x_test, range(6)) for of in (s, turned))
    cosines = matched_gradient_cosine(one, two, match_features(s.vectors, turned.vectors, 6))
    np.testing.assert_allclose(cosines, np.ones((6, 3)))


def test_gradients_report_every_image():
    x, _, x_test, _ = problem()
    k, seen = kernel_fn(fc(1)), []
    s = spectrum(k(x.double()))
    feature_gradients(k, s, x, x_test, [0], lambda done, total, note: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_gradients_that_cannot_be_had_are_refused():
    x, _, x_test, _ = problem()
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    with pytest.raises(SpecError, match="does not exist"):
        feature_gradients(k, s, x, x_test, [14])
    finite = empirical_kernel_fn(fc(1).module((2, 4, 4), width=4, outputs=1, seed=0))
    with pytest.raises(SpecError, match="closed-form"):
        feature_gradients(finite, spectrum(finite(x)), x, x_test, [0])
    g = torch.ones(2, 3, 4)
    with pytest.raises(SpecError, match="same m images"):
        matched_gradient_cosine(g, g[:, :2], Match(torch.arange(2), torch.ones(2)))
    for partner in (torch.arange(3), torch.tensor([0, 2]), torch.tensor([-1, 0]), torch.tensor([True, False])):
        with pytest.raises(SpecError, match="partner"):
            matched_gradient_cosine(g, g, Match(partner, torch.ones(2)))


# -- classes of features -----------------------------------------------------------------------------------------


def test_tally_of_a_real_sweep_agrees_with_its_classes():
    x, y, x_test, y_test = problem(n=20, m=30)
    sweep = eigenfeatures(kernel_fn(fc(1)), x, y, x_test, y_test, fgsm(0.02))
    classes = classify(sweep, 0.2, 0.5).tolist()
    count = tally(sweep, 0.2, 0.5, top=7)
    kinds = (ROBUST, BETWEEN, BRITTLE, WEAK)
    assert [count.robust, count.between, count.brittle, count.weak] == [classes.count(c) for c in kinds]
    top = [count.top_robust, count.top_between, count.top_brittle, count.top_weak]
    assert top == [classes[:7].count(c) for c in kinds]
    assert (count.top, count.features) == (7, sweep.spectrum.rank)
    assert tally(sweep, 0.2, 0.5, top=10**6).top == sweep.spectrum.rank
