"""Gradient descent on the kernel's side: heavy ball on dual weights in plain numpy, and the gradients of many steps."""

import numpy as np
import pytest
import torch

from ntkcore import SpecError, conv, fc, fit, fit_steps, kernel_fn, myrtle, spectrum
from ntkcore.analysis.attacks.attack import loss_gradient
from ntkcore.analysis.features.bank_attacks import Bank, bank_gradients
from ntkcore.analysis.predict import KernelPredictor, descent_weights
from ntkcore.analysis.spectrum import Spectrum, projections


def problem(classes=2, n=24, m=6, side=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    prototypes = torch.rand(classes, 2, side, side, generator=g)
    of, of_test = torch.arange(n) % classes, torch.arange(m) % classes

    def draw(which):
        return (prototypes[which] + 0.25 * torch.randn(len(which), 2, side, side, generator=g)).clamp(0, 1)

    def code(which):
        return (2.0 * which - 1)[:, None] if classes == 2 else torch.nn.functional.one_hot(which, classes).float()

    return draw(of), code(of), draw(of_test), code(of_test)


def heavy_ball(K, Y, lr, momentum, steps):
    """alpha [n, c] by ``v <- mu v + (K alpha - Y) / n``, ``alpha <- alpha - lr (n / lam_max) v``, in numpy."""
    n = len(K)
    unit = n / np.linalg.eigvalsh(K)[-1]
    alpha, velocity = np.zeros_like(Y), np.zeros_like(Y)
    for _ in range(steps):
        velocity = momentum * velocity + (K @ alpha - Y) / n
        alpha = alpha - lr * unit * velocity
    return alpha


RECIPES = [  # lr, momentum, steps
    (1.0, 0.9, 100),
    (1.0, 0.9, 0),
    (1.0, 0.9, 1),
    (0.3, 0.0, 17),
    (1.9, 0.0, 40),
    (2.5, 0.5, 33),
    (3.7, 0.9, 60),
    (0.01, 0.99, 250),
]


@pytest.mark.parametrize(("lr", "momentum", "steps"), RECIPES)
@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_steps_equal_heavy_ball_on_the_dual_weights_with_the_whole_matrix(lr, momentum, steps, classes):
    x, y, x_test, _ = problem(classes)
    k = kernel_fn(fc(1))
    K, K_test = k(x.double()).numpy(), k(x_test.double(), x.double()).numpy()
    alpha = heavy_ball(K, y.double().numpy(), lr, momentum, steps)
    f = fit_steps(k, x, y, lr, momentum, steps)
    np.testing.assert_allclose(f.alpha, alpha, rtol=1e-8, atol=1e-9 * max(1, abs(alpha).max()))
    np.testing.assert_allclose(f(x_test), K_test @ alpha, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("lr", "steps"), [(0.5, 1), (1.0, 20), (1.5, 7)])
def test_without_momentum_each_direction_is_a_power(lr, steps):
    """``g = (1 - (1 - lr lam / lam_max)^steps) / lam``; a null direction grows by lr / lam_max a step."""
    values = torch.tensor([5.0, 2.0, 0.1, 0.0], dtype=torch.float64)
    g = descent_weights(Spectrum(values, torch.eye(4, dtype=torch.float64)), lr, 0.0, steps)
    expected = (1 - (1 - lr * values[:3] / 5) ** steps) / values[:3]
    torch.testing.assert_close(g[:3], expected, rtol=1e-12, atol=1e-14)
    assert g[3].item() == pytest.approx(steps * lr / 5)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9], ids=lambda mu: f"momentum {mu}")
@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_many_steps_reach_the_interpolant(momentum, classes):
    x, y, x_test, _ = problem(classes)
    x, x_test = x - 0.5, x_test - 0.5  # apart in direction: a well-conditioned kernel
    k = kernel_fn(fc(1))
    limit, few = fit(k, x, y), fit_steps(k, x, y, momentum=momentum, steps=5)
    many = fit_steps(k, x, y, momentum=momentum, steps=20_000)
    torch.testing.assert_close(many(x_test), limit(x_test), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(many(x), y.double(), rtol=1e-7, atol=1e-8)
    assert (few(x_test) - limit(x_test)).abs().max().item() > 0.02


def test_a_small_rate_is_gradient_flow():
    """Without momentum, s steps of rate h are the time s h / lam_max of the flow, to first order in h."""
    x, y, x_test, _ = problem()
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    flow = fit(k, x, y, time=20 / s.values[0].item())(x_test)
    errors = [
        (fit_steps(k, x, y, lr=20 / n, momentum=0.0, steps=n)(x_test) - flow).abs().max() for n in (200, 400, 800)
    ]
    assert errors[0].item() < 0.01
    assert errors[1].item() == pytest.approx(errors[0].item() / 2, rel=0.1)
    assert errors[2].item() == pytest.approx(errors[1].item() / 2, rel=0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9], ids=lambda mu: f"momentum {mu}")
def test_rates_beyond_the_limit_are_refused_and_just_that_limit_is_the_one_where_steps_blow_up(momentum):
    x, y, _, _ = problem()
    k, limit = kernel_fn(fc(1)), 2 * (1 + momentum)
    for lr in (limit, 1.5 * limit):
        with pytest.raises(SpecError, match=rf"momentum {momentum:g} a learning rate of {lr:g} .*below {limit:g}\."):
            fit_steps(k, x, y, lr, momentum)
    one = np.ones((1, 1))
    below, above = (abs(heavy_ball(one, one, share * limit, momentum, 3000)).item() for share in (0.99, 1.01))
    assert below == pytest.approx(1, abs=1e-6)
    assert above > 1e6
    assert fit_steps(k, x, y, 0.99 * limit, momentum, 3000)(x).isfinite().all()


@pytest.mark.parametrize(
    ("lr", "labels"), [(0.0, (24, 1)), (-1.0, (24, 1)), (float("nan"), (24, 1)), (1.0, (24,)), (1.0, (23, 1))], ids=str
)
def test_impossible_rates_and_labels_are_refused(lr, labels):
    x, _, _, _ = problem()
    with pytest.raises(SpecError):
        fit_steps(kernel_fn(fc(1)), x, torch.ones(labels), lr)


def test_a_spectrum_at_hand_is_used():
    x, y, x_test, _ = problem()
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    torch.testing.assert_close(fit_steps(k, x, y, spectrum_of_train=s)(x_test), fit_steps(k, x, y)(x_test))
    by_products = fit_steps(k, x, y, K=k(x.double()), spectrum_of_train=spectrum(k(x.double()), 3))
    torch.testing.assert_close(by_products(x_test), fit_steps(k, x, y)(x_test))
    almost = Spectrum(1.001 * s.values, s.vectors)
    assert not torch.allclose(fit_steps(k, x, y, spectrum_of_train=almost)(x_test), fit_steps(k, x, y)(x_test))


# ------------------------------------------------------------------------------------------------- gradients of a bank

NETS = {
    "fc1 4x4": (fc(1), 4),
    "fc3-erf 4x4": (fc(3, activation="erf"), 4),
    "conv2 4x4": (conv(2), 4),
    "conv2 8x8": (conv(2), 8),
    "myrtle5 4x4": (myrtle(5), 4),
    "myrtle5 8x8": (myrtle(5), 8),
}


def least_cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(1).double(), b.flatten(1).double()).min().item()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_gradients_after_several_steps_equal_autograd_through_each_predictor_in_float64(name, classes):
    net, side = NETS[name]
    x, y, x_test, y_test = problem(classes, n=18, m=4, side=side)
    k, steps, seen = kernel_fn(net), (1, 10, 100), []
    s = spectrum(k(x.double()))
    p = projections(s, y)
    bank = Bank(torch.stack([s.vectors @ (descent_weights(s, 1.0, 0.9, t)[:, None] * p) for t in steps]))
    K_test = k(x_test.double(), x.double())
    got = bank_gradients(k, x, bank, x_test, y_test, K_test, lambda done, total, note: seen.append((done, total)))
    assert got.shape == (3, *x_test.shape)
    assert got.dtype == torch.float32
    assert seen[0] == (0, 4)
    sizes = []
    for b, t in enumerate(steps):
        expected = loss_gradient(fit_steps(k, x, y, steps=t), x_test.double(), y_test.double())
        assert least_cosine(got[b], expected) > 0.9999, t
        sizes.append(expected.flatten(1).norm(dim=1))
        torch.testing.assert_close(got[b].flatten(1).norm(dim=1).double(), sizes[-1], rtol=1e-3, atol=0)
    assert not torch.allclose(sizes[0], sizes[2], rtol=0.1)


@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_gradients_with_a_readout_are_those_of_eigenfeatures(classes):
    x, y, x_test, y_test = problem(classes)
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    chosen, p = [0, 3, 11], projections(s, y)
    weights = (s.vectors / s.values).T[chosen][..., None]  # [B, n, 1]
    got = bank_gradients(k, x, Bank(weights, p[chosen][:, None]), x_test, y_test, k(x_test.double(), x.double()))
    for b, i in enumerate(chosen):
        alpha = s.vectors[:, i : i + 1] * p[i] / s.values[i]
        expected = loss_gradient(KernelPredictor(k, x.double(), alpha), x_test.double(), y_test.double())
        assert least_cosine(got[b], expected) > 0.9999, i


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"lr": 0.0}, "lr is 0.0; it must be greater than 0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"momentum": 1.2}, "momentum is 1.2; it must be less than 1"),
        ({"steps": -5}, "steps is -5; it must be at least 0"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(numbers, words):
    s = spectrum(torch.eye(3, dtype=torch.float64))
    with pytest.raises(SpecError, match=words):
        descent_weights(s, **{"lr": 1.0, "momentum": 0.9, "steps": 5, **numbers})
