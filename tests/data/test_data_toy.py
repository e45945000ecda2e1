"""The toy set holds what it says it holds, and a kernel sees it: statistics and eigenfeatures against the truth."""

import math

import numpy as np
import pytest

from ntkcore.data import SOURCES, DataSpec, load, toy_truth
from ntkcore.data.toy import EPS

ROBUST, HORIZONTAL, VERTICAL = range(3)


def projected(x: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """[n, k] coefficients of the patterns [k, 8, 8] in images [n, 1, 8, 8]."""
    return np.tensordot(x[:, 0].astype(np.float64) - 0.5, patterns, ([1, 2], [1, 2])) / 64


@pytest.fixture(scope="module")
def toy():
    return load(DataSpec(name="toy", n_train=5000, n_test=2000))


def split(task, name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = (task.x_train, task.y_train) if name == "train" else (task.x_test, task.y_test)
    return x.numpy(), y.numpy()[:, 0]


def test_patterns_are_orthogonal_signs():
    patterns = np.concatenate([feature.patterns for feature in toy_truth().features])
    assert patterns.shape == (21, 8, 8)
    assert set(np.unique(patterns)) == {-1.0, 1.0}
    flat = patterns.reshape(21, 64)
    np.testing.assert_array_equal(flat @ flat.T, 64 * np.eye(21))
    np.testing.assert_array_equal(flat.sum(1), 0)  # orthogonal to the constant image


def test_label_directions_are_flat_and_orthogonal():
    directions = toy_truth().directions
    np.testing.assert_allclose(np.abs(directions), 1 / 8, rtol=1e-12)
    flat = directions.reshape(3, 64)
    np.testing.assert_allclose(flat @ flat.T, np.eye(3), atol=1e-12)


def test_only_the_first_is_robust_and_eps_tells_them_apart():
    truth = toy_truth()
    assert truth.robust.tolist() == [True, False, False]
    assert truth.eps == EPS == 8 / 255
    strong, *weak = truth.features
    assert strong.amplitude > 2 * EPS
    for feature in weak:
        assert feature.mean < feature.amplitude + 2 * feature.noise < EPS / 1.5


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_are_inside_the_range_with_nothing_clipped(toy, part):
    x, _ = split(toy, part)
    assert x.dtype == np.float32
    assert 0.3 < x.min() < x.max() < 0.7


@pytest.mark.parametrize("part", ["train", "test"])
def test_classes_are_balanced(toy, part):
    _, y = split(toy, part)
    assert y.sum() == 0
    assert set(y) == {-1.0, 1.0}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("which", [ROBUST, HORIZONTAL, VERTICAL])
def test_coefficients_have_the_declared_moments(toy, part, which):
    feature = toy_truth().features[which]
    x, y = split(toy, part)
    signed = projected(x, feature.patterns) * y[:, None]
    n = len(y)
    error = feature.noise / math.sqrt(n)
    np.testing.assert_allclose(signed.mean(0), feature.mean, atol=4.5 * error, rtol=0)
    np.testing.assert_allclose(signed.std(0), feature.noise, rtol=4.5 / math.sqrt(2 * n) + 1e-3)
    correlation = np.corrcoef(signed.T).reshape(len(feature.patterns), -1)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 5 / math.sqrt(n)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("which", [ROBUST, HORIZONTAL, VERTICAL])
def test_the_sign_along_a_label_direction_is_as_accurate_as_declared(toy, part, which):
    feature = toy_truth().features[which]
    x, y = split(toy, part)
    right = projected(x, feature.label_direction[None])[:, 0] * y > 0
    p = feature.accuracy
    assert abs(right.mean() - p) < 4 * math.sqrt(p * (1 - p) / len(y)) + 1e-9


def test_each_weak_pattern_alone_is_a_poor_guess_and_all_together_are_nearly_perfect(toy):
    x, y = split(toy, "test")
    score = 0.0
    for feature in toy_truth().features[1:]:
        signed = projected(x, feature.patterns) * y[:, None]
        assert ((signed > 0).mean(0) < 0.8).all()
        score = score + (signed * feature.mean / feature.noise**2).sum(1)  # the best linear rule
    assert (score > 0).mean() > 0.995


@pytest.mark.parametrize("which", [ROBUST, HORIZONTAL, VERTICAL])
def test_a_step_of_eps_along_the_signs_flips_the_weak_ones_only(toy, which):
    feature = toy_truth().features[which]
    x, y = split(toy, "test")
    step = EPS * y[:, None, None, None] * np.sign(feature.label_direction)
    right = projected(x - step, feature.label_direction[None])[:, 0] * y > 0
    assert right.mean() == pytest.approx(feature.accuracy, abs=0.04) if feature.robust else right.mean() < 0.001


def test_what_is_not_planted_is_faint(toy):
    x, y = split(toy, "train")
    planted = np.concatenate([feature.patterns for feature in toy_truth().features])
    rest = x[:, 0] - 0.5 - np.tensordot(projected(x, planted), planted, 1)
    assert rest.std() == pytest.approx(1e-4 * math.sqrt(43 / 64), rel=0.01)
    assert np.abs((rest * y[:, None, None]).mean(0)).max() < 5 * 1e-4 / math.sqrt(len(y))


def test_known_values():
    """The set is the same everywhere, also on another machine and another day."""
    task = load(DataSpec(name="toy"))
    expected = [0.39138407, 0.40439659, 0.40633124]
    np.testing.assert_allclose(task.x_train[0, 0, 0, :3], expected, atol=2e-7)
    assert SOURCES["toy"].image_shape == task.image_shape


# --------------------------------------------------------------------------------- what a kernel makes of it


def fc_ntk(x1: np.ndarray, x2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FC(1) NTK [n1, n2] of flat images, W_std = sqrt(2), b_std = 0.1, and d NTK / d x1 as [n1, n2, d]."""
    d = x1.shape[1]
    k = 2 * x1 @ x2.T / d + 0.01
    q1, q2 = (2 * (x**2).sum(1) / d + 0.01 for x in (x1, x2))
    s = np.sqrt(q1[:, None] * q2)
    cos = np.clip(k / s, -1, 1)
    theta, sin = np.arccos(cos), np.sqrt(1 - cos**2)
    kappa0, kappa1 = (math.pi - theta) / (2 * math.pi), (sin + (math.pi - theta) * cos) / (2 * math.pi)
    ntk = 2 * s * kappa1 + 0.01 + 2 * k * kappa0
    dk = 2 * x2[None] / d
    dq = (4 * x1 / d)[:, None]
    ds_over_s = dq / (2 * q1[:, None, None])
    dcos = dk / s[..., None] - cos[..., None] * ds_over_s
    dkappa0 = dcos / (2 * math.pi * np.maximum(sin, 1e-9))[..., None]
    dntk = (
        2 * (s * kappa1)[..., None] * ds_over_s
        + 2 * (s * kappa0)[..., None] * dcos
        + 2 * kappa0[..., None] * dk
        + 2 * k[..., None] * dkappa0
    )
    return ntk, dntk


def test_an_ntk_finds_the_planted_features():
    """FC(1), n = 500: index 1 is the robust feature, 2 and 10 are the two stripes, useful and gone under FGSM."""
    task = load(DataSpec(name="toy", n_train=500, n_test=300))
    x, x_test = (t.numpy().reshape(len(t), 64).astype(np.float64) for t in (task.x_train, task.x_test))
    y, y_test = task.y_train[:, 0].numpy(), task.y_test[:, 0].numpy()
    values, vectors = np.linalg.eigh(fc_ntk(x, x)[0])
    values, vectors = values[::-1], vectors[:, ::-1]
    k_test, slopes = fc_ntk(x_test, x)
    found = {}
    for i in (0, 1, 2, 3, 10):
        alpha = vectors[:, i] * (vectors[:, i] @ y) / values[i]
        gradient = np.tensordot(slopes, alpha, ([1], [0]))  # [m, 64]
        attacked = np.clip(x_test - EPS * np.sign(gradient * y_test[:, None]), 0, 1)
        useful = (y_test * (k_test @ alpha) > 0).mean()
        robust = (y_test * (fc_ntk(attacked, x)[0] @ alpha) > 0).mean()
        mean = gradient.mean(0)
        cosines = toy_truth().directions.reshape(3, 64) @ mean / np.linalg.norm(mean)
        found[i] = useful, robust, cosines
    assert found[0][0] == pytest.approx(0.5, abs=0.02)
    useful, robust, cosines = found[1]
    assert useful == pytest.approx(0.75, abs=0.08)
    assert robust == useful
    assert cosines[ROBUST] > 0.95
    for i, which in ((2, HORIZONTAL), (10, VERTICAL)):
        useful, robust, cosines = found[i]
        assert 0.68 < useful < 0.9
        assert robust < 0.02
        assert cosines[which] > 0.85
    assert found[3][0] < 0.6
