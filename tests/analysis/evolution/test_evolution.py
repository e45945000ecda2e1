"""The kernel's evolution against cases known by hand, and against dense truncations and loops in plain numpy."""

import numpy as np
import pytest
import torch

from ntkcore.analysis.consistency.similarity import kernel_alignment
from ntkcore.analysis.evolution.motion import (
    ROWS,
    TOP,
    Concentration,
    Motion,
    centred_alignment,
    class_specialisation,
    concentration,
    decomposed,
    effective_rank,
    gram_of,
    inner_products,
    late_velocity,
    lazy_epoch,
    top_mass,
    top_share,
)
from ntkcore.errors import DataError, NTKError

NAN = float("nan")
PARTS = ("whole", "top", "bottom")


def psd(n, seed, rank=None):
    a = np.random.default_rng(seed).normal(size=(n, rank or n + 3))
    return a @ a.T / n


def path(n, epochs, seed=0):
    """Kernels that drift from one random PSD matrix to another, with a third on the way."""
    a, b, c = (psd(n, seed + shift) for shift in range(3))
    return [(1 - t) * a + t * b + 0.3 * t * (1 - t) * c for t in np.linspace(0, 1, epochs + 1)]


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def motions(kernels, k=TOP):
    looks = [decomposed(tensor(K) if isinstance(K, np.ndarray) else K, k) for K in kernels]
    rows = [torch.stack([inner_products(a, b) for b in looks[: t + 1]]) for t, a in enumerate(looks)]
    return {part: Motion(gram_of([row[:, i] for row in rows])) for i, part in enumerate(PARTS)}


def turned(vector_angle, n=6):
    """A projector on one direction at an angle to the first axis: its kernel is at ``arccos cos^2`` to the first's."""
    v = np.zeros(n)
    v[0], v[1] = np.cos(vector_angle), np.sin(vector_angle)
    return np.outer(v, v)


# -- independently: dense truncations by singular value decomposition, loops, sums over entries --------------------


def dense_parts(K, k):
    u, s, vt = np.linalg.svd(K)  # of a PSD matrix: its eigenpairs
    top = np.zeros_like(K)
    for i in range(min(k, len(K))):
        top += s[i] * np.outer(u[:, i], vt[i])
    return {"whole": K, "top": top, "bottom": K - top}


def dense_motion(kernels):
    def product(a, b):
        return float(sum(a[i, j] * b[i, j] for i in range(len(a)) for j in range(len(a))))

    def size(a):
        return product(a, a) ** 0.5

    def similar(a, b):
        return product(a, b) / (size(a) * size(b))

    first, last = kernels[0], kernels[-1]
    return {
        "distance": [[1 - similar(a, b) for b in kernels] for a in kernels],
        "velocity": [1 - similar(kernels[t], kernels[t + 1]) for t in range(len(kernels) - 1)],
        "radius": [size(K - first) / size(last - first) for K in kernels],
        "angle": [np.arccos(min(similar(K, first), 1.0)) for K in kernels],
    }


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("n", "k", "seed"), [(9, 1, 0), (14, 4, 10), (25, 20, 20)], ids=["n9k1", "n14k4", "n25k20"])
def test_motion_is_that_of_dense_truncations(part, n, k, seed):
    kernels = path(n, 4, seed)
    expected = dense_motion([dense_parts(K, k)[part] for K in kernels])
    got = motions(kernels, k)[part]
    for name, numbers in expected.items():
        np.testing.assert_allclose(getattr(got, name), numbers, rtol=1e-8, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(got.distance, expected["distance"], atol=1e-12)
    assert got.velocity.min() > 1e-4  # there is something to compare


def test_inner_products_over_several_blocks_of_rows():
    n, k = ROWS + 44, 7
    a, b = psd(n, 0), psd(n, 1, rank=n // 2)
    got = inner_products(decomposed(tensor(a), k), decomposed(tensor(b), k))
    ones, others = dense_parts(a, k), dense_parts(b, k)
    np.testing.assert_allclose(got, [(ones[part] * others[part]).sum() for part in PARTS], rtol=1e-10)
    assert got.dtype == torch.float64


def test_inner_products_are_symmetric_and_of_each_ones_own_k():
    a, b = decomposed(tensor(psd(12, 0)), 3), decomposed(tensor(psd(12, 1)), 5)
    torch.testing.assert_close(inner_products(a, b), inner_products(b, a), rtol=1e-13, atol=0)
    ones, others = dense_parts(psd(12, 0), 3), dense_parts(psd(12, 1), 5)
    np.testing.assert_allclose(inner_products(a, b), [(ones[p] * others[p]).sum() for p in PARTS], rtol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 8, 20])
@pytest.mark.parametrize("seed", range(3))
def test_concentration_by_sums_over_eigenvalues(k, seed):
    K = psd(8, seed)
    lam = sorted(np.linalg.eigvalsh(K), reverse=True)
    got = concentration(decomposed(tensor(K)).values, k)
    assert got.mass == pytest.approx(sum(v**2 for v in lam[:k]) / sum(v**2 for v in lam))
    assert got.mass == pytest.approx((dense_parts(K, k)["top"] ** 2).sum() / (K**2).sum())
    assert got.share == pytest.approx(sum(lam[:k]) / np.trace(K))
    p = [v / sum(lam) for v in lam]
    assert got.rank == pytest.approx(np.exp(-sum(q * np.log(q) for q in p)))
    values = decomposed(tensor(K)).values
    assert (top_mass(values, k), top_share(values, k), effective_rank(values)) == (got.mass, got.share, got.rank)


def dense_alignment(K, Y):
    h = np.eye(len(K)) - np.full((len(K), len(K)), 1 / len(K))
    centred, labels = h @ K @ h, Y @ Y.T
    return np.trace(centred @ labels) / np.sqrt(np.trace(centred @ centred) * np.trace(labels @ labels))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("c", [1, 3], ids=["binary", "three classes"])
def test_centred_alignment_with_explicit_centring(seed, c):
    K, y = psd(11, seed), np.random.default_rng(100 + seed).normal(size=(11, c))
    assert centred_alignment(tensor(K), tensor(y)) == pytest.approx(dense_alignment(K, y), rel=1e-12)
    assert centred_alignment(5 * tensor(K) + 40, -2 * tensor(y)) == pytest.approx(dense_alignment(K, y), rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_class_specialisation_class_by_class(seed):
    n, c = 10, 3
    theta = psd(n * c, seed).reshape(n, c, n, c).transpose(0, 2, 1, 3)
    y = np.eye(c)[np.arange(n) % c]
    expected = []
    for a in range(c):
        own = [dense_alignment(theta[:, :, a, a], y[:, [b]]) for b in range(c)]
        expected.append(own[a] / np.mean(own))
    np.testing.assert_allclose(class_specialisation(tensor(theta), tensor(y)), expected, rtol=1e-12)


# -- known by hand -------------------------------------------------------------------------------------------------


def test_turned_kernels_are_at_known_distance_and_angle():
    angles = [0.0, 0.3, 0.8]
    m = motions([turned(a) for a in angles], k=1)
    for part in ("whole", "top"):
        cosines = np.cos(np.subtract.outer(angles, angles)) ** 2  # <vv^T, ww^T> = (v^T w)^2
        np.testing.assert_allclose(m[part].distance, 1 - cosines, atol=1e-15)
        np.testing.assert_allclose(m[part].velocity, np.sin([0.3, 0.5]) ** 2, atol=1e-15)
        np.testing.assert_allclose(m[part].angle, np.arccos(np.cos(angles) ** 2), atol=1e-7)
        np.testing.assert_allclose(m[part].radius, np.sin(angles) / np.sin(0.8), atol=1e-7)


def test_a_scaled_kernel_does_not_turn_but_moves_out():
    K = psd(12, 0)
    for m in motions([K, 2 * K, 5 * K], k=4).values():
        np.testing.assert_allclose(m.distance, np.zeros((3, 3)), atol=1e-14)
        np.testing.assert_allclose(m.radius, [0, 0.25, 1], atol=1e-12)
        np.testing.assert_allclose(m.angle, np.zeros(3), atol=1e-7)


def test_orthogonal_kernels_are_at_a_right_angle():
    a, b = np.diag([3.0, 2, 0, 0]), np.diag([0, 0, 1.0, 2])
    m = motions([a, b], k=2)
    assert m["whole"].distance.tolist() == [[0, 1], [1, 0]]
    assert m["whole"].angle[1].item() == pytest.approx(np.pi / 2)
    assert m["top"].velocity.item() == pytest.approx(1)


def test_a_kernel_of_rank_k_is_all_top():
    K = psd(30, 0, rank=4)
    seen = concentration(decomposed(tensor(K)).values, 4)
    assert seen.mass == pytest.approx(1, abs=1e-14)
    assert seen.share == pytest.approx(1, abs=1e-14)
    assert 1 < seen.rank < 4
    m = motions([K, psd(30, 1, rank=4)], k=4)
    np.testing.assert_allclose(m["top"].gram, m["whole"].gram, rtol=1e-12)
    assert m["bottom"].gram.tolist() == [[0, 0], [0, 0]]
    assert m["bottom"].distance.isnan().all()


def test_a_kernel_of_rank_k_in_float32_has_no_bottom_either():
    seen = decomposed(tensor(psd(30, 0, rank=4)).float(), 4)
    assert seen.kernel.dtype == torch.float32
    assert inner_products(seen, seen)[2] == 0
    assert inner_products(decomposed(tensor(psd(30, 0)).float(), 4), decomposed(tensor(psd(30, 0)).float(), 4))[2] > 0


@pytest.mark.parametrize("k", [1, 3, 7])
def test_k_equal_eigenvalues_have_effective_rank_k(k):
    q = np.linalg.qr(np.random.default_rng(k).normal(size=(9, k)))[0]
    seen = concentration(decomposed(tensor(4 * q @ q.T)).values, k)
    assert seen.rank == pytest.approx(k, rel=1e-10)
    assert (seen.mass, seen.share) == (pytest.approx(1), pytest.approx(1))


def test_the_identity_is_spread_evenly():
    assert concentration(torch.ones(40), 10) == Concentration(0.25, 0.25, pytest.approx(40))
    seen = decomposed(torch.eye(5))
    assert seen.values.tolist() == [1] * 5
    assert seen.vectors.shape == (5, 5)
    assert inner_products(seen, seen).tolist() == [5, 5, 0]


def test_mass_of_two_eigenvalues():
    values = torch.tensor([3.0, 1.0])
    assert (top_mass(values, 1), top_share(values, 1)) == (pytest.approx(0.9), pytest.approx(0.75))
    assert effective_rank(values) == pytest.approx(4 / 3**0.75)  # e^(ln 4 - 3/4 ln 3)


def test_negative_eigenvalues_count_as_none_in_the_effective_rank():
    assert effective_rank(torch.tensor([1.0, 1.0, -1e-9])) == pytest.approx(2, rel=1e-12)
    values = decomposed(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).values
    torch.testing.assert_close(values, torch.tensor([3.0, -1.0]).double())


def test_look_holds_leading_eigenpairs():
    K = tensor(psd(30, 3))
    seen = decomposed(K, 6)
    assert (seen.values.shape, seen.vectors.shape) == ((30,), (30, 6))
    assert (seen.values.dtype, seen.vectors.dtype) == (torch.float64, torch.float64)
    assert (seen.values.diff() <= 0).all()
    torch.testing.assert_close(K @ seen.vectors, seen.vectors * seen.values[:6])
    torch.testing.assert_close(seen.vectors.T @ seen.vectors, torch.eye(6).double())


def test_labels_kernel_is_aligned_and_a_constant_adds_nothing():
    y = torch.tensor([[1.0], [1], [-1], [-1]])
    assert centred_alignment(y @ y.T, y) == pytest.approx(1)
    assert centred_alignment(3 * y @ y.T + 7, y) == pytest.approx(1)
    assert centred_alignment(torch.eye(4), y) == pytest.approx(1 / 3**0.5)
    # balanced labels are centred already: the same as alignment with the labels' kernel
    K = tensor(psd(4, 0))
    assert centred_alignment(K, y) == pytest.approx(kernel_alignment(K, y @ y.T, centred=True))


def test_kernels_made_of_their_own_labels_specialise_as_far_as_centring_allows():
    y = torch.eye(3)[torch.arange(9) % 3].double()
    own = torch.zeros(9, 9, 3, 3).double()
    for a in range(3):
        own[:, :, a, a] = y[:, [a]] @ y[:, [a]].T
    # H y_a is (2/3, -1/3, -1/3) on the classes: alignments are in ratio (2/3)^2 : (1/3)^2 : (1/3)^2
    np.testing.assert_allclose(class_specialisation(own, y), np.full(3, 2.0), rtol=1e-12)
    shared = torch.einsum("mn,ab->mnab", torch.eye(9), torch.eye(3))  # sees no class at all
    np.testing.assert_allclose(class_specialisation(shared, y), np.ones(3), rtol=1e-12)


# -- accuracy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("step", [1e-2, 1e-4, 1e-5])
def test_distances_of_near_kernels_are_good_to_1e_12(stored, step):
    """Against longdouble: ``1 - s`` as half the squared distance of the two kernels scaled to norm 1."""
    a, b = psd(300, 0), psd(300, 1)
    kernels = [tensor(K).to(stored) for K in (a, a + step * b)]
    one, two = (K.numpy().astype(np.longdouble) for K in kernels)
    gap = one / np.sqrt((one**2).sum()) - two / np.sqrt((two**2).sum())
    exact = float((gap**2).sum() / 2)
    assert motions(kernels)["whole"].velocity.item() == pytest.approx(exact, abs=1e-14)
    assert exact > 1e-12


def test_bottom_parts_keep_their_digits_under_a_large_top():
    """Top 1e5 times the bottom: products subtracted from each other would be wrong in the sixth digit."""
    big = np.ones((40, 40)) * 1e4
    small = [psd(40, seed) - psd(40, seed).mean(0) for seed in range(2)]
    small = [K - K.mean(1, keepdims=True) for K in small]  # orthogonal to the constant vector
    got = motions([big + K for K in small], k=1)["bottom"].gram
    np.testing.assert_allclose(got, [[(x * y).sum() for y in small] for x in small], rtol=1e-9)


def test_exact_where_exactness_is_promised():
    for m in motions(path(23, 5), k=3).values():
        assert (m.distance.diagonal() == 0).all()
        assert (m.distance >= 0).all()
        assert torch.equal(m.distance, m.distance.T)
        assert (m.angle[0], m.radius[0], m.radius[-1]) == (0, 0, 1)


def test_rounding_never_makes_a_distance_negative():
    gram = torch.tensor([[1.0, 1 + 1e-15], [1 + 1e-15, 1.0]], dtype=torch.float64)
    m = Motion(gram)
    assert m.velocity.tolist() == [0]
    assert m.angle.tolist() == [0, 0]
    opposite = Motion(gram * torch.tensor([[1, -1], [-1, 1]]))
    assert opposite.velocity.tolist() == [2]
    assert opposite.angle[1].item() == pytest.approx(np.pi)


@pytest.mark.parametrize("rounding", [1e-15, -1e-15], ids=["above", "below"])
def test_rounding_is_no_radius(rounding):
    """A kernel that comes to within rounding of the first has radius 0; a whole run of such kernels has none."""
    gram = torch.ones(3, 3, dtype=torch.float64)
    gram[0, 1] = gram[1, 0] = 1 + rounding
    assert Motion(gram[:2, :2]).radius.isnan().all()
    gram[0, 2] = gram[2, 0] = 0.5
    np.testing.assert_allclose(Motion(gram).radius, [0, 0, 1], atol=1e-7)


# -- what is missing ---------------------------------------------------------------------------------------------


def test_one_epoch_only():
    m = motions([psd(6, 0)])["whole"]
    assert m.distance.tolist() == [[0]]
    assert m.velocity.shape == (0,)
    assert m.angle.tolist() == [0]
    assert m.radius.isnan().tolist() == [True]
    assert lazy_epoch(m.velocity, 0.1) is None
    assert np.isnan(late_velocity(m.velocity))


def test_a_kernel_that_does_not_move_has_no_radius():
    K = psd(20, 0)
    for m in motions([K, K.copy(), (K * 7) / 7], k=5).values():
        assert m.radius.isnan().all()
        np.testing.assert_allclose(m.distance, np.zeros((3, 3)), atol=1e-14)


def test_epochs_not_computed_yet_are_nan_and_no_more():
    kernels = path(10, 4)
    looks = [decomposed(tensor(K)) for K in kernels]
    rows = [torch.stack([inner_products(a, b)[0] for b in looks[: t + 1]]) for t, a in enumerate(looks)]
    whole = Motion(gram_of(rows))
    rows[2], rows[4] = None, torch.tensor([float(rows[4][0]), 1.0, NAN, 3.0, float(rows[4][4])]).double()
    gram = gram_of(rows)
    assert gram[2, :3].isnan().all()
    assert gram[:3, 2].isnan().all()
    assert gram[3, 2].isfinite()
    m, known = Motion(gram), [0, 1, 3]
    assert m.distance[2].isnan().all()
    assert m.distance[:, 2].isnan().all()
    assert m.velocity.isnan().tolist() == [False, True, True, False]
    assert m.angle.isnan().tolist() == [False, False, True, False, False]
    torch.testing.assert_close(m.distance[known][:, known], whole.distance[known][:, known])
    torch.testing.assert_close(m.radius[known], whole.radius[known])
    assert m.radius.isnan().tolist() == [False, False, True, False, False]


def test_without_the_last_epoch_there_is_no_radius():
    assert Motion(gram_of([torch.tensor([1.0]), None])).radius.isnan().all()
    nothing = Motion(gram_of([None, None]))
    for numbers in (nothing.distance, nothing.velocity, nothing.radius, nothing.angle):
        assert numbers.isnan().all()


def test_gram_is_symmetric():
    gram = gram_of([torch.tensor([4.0]), torch.tensor([1.0, 9.0]), torch.tensor([2.0, 3.0, 16.0])])
    assert gram.tolist() == [[4, 1, 2], [1, 9, 3], [2, 3, 16]]
    assert gram.dtype == torch.float64


def test_a_zero_kernel_is_similar_to_nothing():
    m = motions([psd(5, 0), np.zeros((5, 5)), psd(5, 1)])["whole"]
    assert m.distance[1].isnan().all()
    assert m.distance[0].isnan().tolist() == [False, True, False]
    assert m.angle.isnan().tolist() == [False, True, False]
    assert m.radius.isfinite().all()  # the zero kernel is at a distance all the same
    seen = concentration(torch.zeros(4), 2)
    assert np.isnan([seen.mass, seen.share, seen.rank]).all()


def test_alignments_that_do_not_exist_are_nan():
    y, constant = torch.eye(2)[torch.arange(6) % 2], torch.full((6, 6), 0.3)
    nearly = constant.double() + 1e-15 * tensor(psd(6, 0))
    for K in (constant, nearly, torch.zeros(6, 6), torch.full((6, 6), torch.nan)):
        assert np.isnan(centred_alignment(K, y))
    assert np.isnan(centred_alignment(torch.eye(6), 0 * y))
    assert class_specialisation(torch.full((6, 6, 2, 2), torch.nan), y).isnan().all()


def test_one_output_has_no_specialisation():
    got = class_specialisation(tensor(psd(6, 0))[:, :, None, None], torch.ones(6, 1))
    assert got.shape == (1,)
    assert got.isnan().all()


def test_a_class_without_images_is_left_out():
    n, theta = 8, tensor(psd(24, 0).reshape(8, 3, 8, 3).transpose(0, 2, 1, 3))
    y = torch.eye(3)[torch.arange(n) % 2].double()
    got = class_specialisation(theta, y)
    assert got.isnan().tolist() == [False, False, True]
    torch.testing.assert_close(got[:2], class_specialisation(theta[:, :, :2, :2], y[:, :2]))


# -- velocity over the run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("velocity", "expected"),
    [
        pytest.param([1.0, 0.5, 0.05, 0.02], 2, id="from-two-on"),
        pytest.param([1.0, 0.05, 0.02], 1, id="at-once"),
        pytest.param([1.0, 0.5, 0.2], None, id="never"),
        pytest.param([1.0, 0.05, 0.5, 0.05], 3, id="comes-back"),
        pytest.param([1.0, 0.05, 0.02, 0.3], None, id="comes-back-last"),
        pytest.param([1.0, 0.5, 0.1], None, id="at-the-threshold-is-not-below"),
        pytest.param([1.0, 0.05, NAN], None, id="last-not-known"),
        pytest.param([1.0, NAN, 0.05], 2, id="not-known-before"),
        pytest.param([NAN, 0.05, 0.05], None, id="first-not-known"),
        pytest.param([0.0, 0.0], None, id="still"),
        pytest.param([1.0], None, id="one-step"),
        pytest.param([], None, id="none"),
    ],
)
@pytest.mark.parametrize("form", [list, torch.tensor, np.array], ids=["list", "tensor", "array"])
def test_lazy_epoch(velocity, expected, form):
    assert lazy_epoch(form(velocity), 0.1) == expected


def test_a_share_above_one_is_met_from_the_start():
    assert lazy_epoch([1.0, 0.5], 1.5) == 0


@pytest.mark.parametrize(
    ("velocity", "expected"),
    [([9.0, 9, 1, 2], 1.5), ([9.0, 3, 6], 4.5), ([0.25], 0.25), ([NAN, 2.0], 2.0), ([1.0, NAN], NAN)],
    ids=["even", "odd", "one", "early-unknown", "late-unknown"],
)
def test_late_velocity(velocity, expected):
    assert late_velocity(torch.tensor(velocity)) == pytest.approx(expected, nan_ok=True)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decomposed(torch.ones(3, 4)), r"square matrix.*\(3, 4\)"),
        (lambda: decomposed(torch.ones(3)), "square matrix"),
        (lambda: decomposed(torch.ones(0, 0)), "square matrix"),
        (lambda: decomposed(torch.full((3, 3), torch.inf)), "diverged"),
        (lambda: decomposed(torch.eye(3), 0), "k is 0"),
        (lambda: decomposed(torch.triu(torch.ones(3, 3))), "not symmetric"),
        (lambda: inner_products(decomposed(torch.eye(3)), decomposed(torch.eye(4))), "3 and 4 rows"),
        (lambda: gram_of([torch.ones(1), torch.ones(3)]), r"Row 1 .* 2 numbers; got shape \(3,\)"),
        (lambda: Motion(torch.ones(2, 3)), r"square.*\(2, 3\)"),
        (lambda: Motion(gram_of([])), "square"),
        (lambda: centred_alignment(torch.eye(3), torch.ones(4, 1)), r"\(3, 3\) and \(4, 1\)"),
        (lambda: class_specialisation(torch.ones(3, 3, 2, 2), torch.ones(3, 3)), "full kernel"),
        (lambda: class_specialisation(torch.ones(3, 3, 2, 2), torch.ones(3)), "full kernel"),
    ],
    ids=[
        "rectangular",
        "flat",
        "empty",
        "infinite",
        "no-k",
        "asymmetric",
        "other-probe",
        "row-length",
        "gram-rectangular",
        "gram-empty",
        "labels",
        "classes",
        "flat-labels",
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(NTKError, match=words) as caught:
        call()
    assert words in ("not symmetric", "k is 0") or isinstance(caught.value, DataError)
