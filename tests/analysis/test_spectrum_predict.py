"""Spectra and kernel prediction against closed cases, plain numpy and an integrated differential equation."""

import math

import numpy as np
import pytest
import scipy
import torch
from scipy.integrate import solve_ivp

from ntkcore import SpecError, fc, fit, kernel_fn, margin, spectrum
from ntkcore.analysis import eigenpairs as module
from ntkcore.analysis.predict import correct
from ntkcore.analysis.spectrum import effective_rank, label_energy, learned_fraction, top_mass


def problem(n=12, m=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, x_test = torch.rand(n, 1, 3, 3, generator=g), torch.rand(m, 1, 3, 3, generator=g)
    y = torch.randn(n, 1, generator=g).sign()
    return kernel_fn(fc(1)), x, y, x_test


def test_spectrum_rebuilds_the_kernel_and_descends():
    k, x, _, _ = problem()
    K = k(x.double())
    s = spectrum(K)
    torch.testing.assert_close(s.vectors @ torch.diag(s.values) @ s.vectors.T, K)
    assert (s.values.diff() <= 0).all()
    assert s.values.dtype == s.vectors.dtype == torch.float64
    np.testing.assert_allclose(s.values, np.linalg.eigvalsh(K.numpy())[::-1], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("amd", [False, True], ids=["torch", "numpy"])
def test_eigenpairs_are_those_of_another_algorithm(amd, monkeypatch):
    """MRRR of scipy, beside divide and conquer of torch's and of numpy's LAPACK; in single precision, too."""
    monkeypatch.setattr(module, "AMD", amd)
    a = torch.randn(150, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    K = a @ a.T + 0.1 * torch.diag(torch.arange(150.0, dtype=torch.float64))
    values, vectors = module.eigenpairs(K)
    known = torch.from_numpy(scipy.linalg.eigh(K.numpy(), driver="evr", eigvals_only=True))
    torch.testing.assert_close(values, known, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, K, rtol=0, atol=1e-11)
    single = module.eigenpairs(K.float())
    assert {one.dtype for one in single} == {torch.float32}
    torch.testing.assert_close(single[0].double(), known, rtol=1e-4, atol=1e-3)


def test_measures_of_known_spectra():
    assert effective_rank(torch.ones(7)) == pytest.approx(7)
    assert effective_rank(torch.tensor([1.0, 0, 0])) == pytest.approx(1)
    assert top_mass(torch.tensor([3.0, 1.0]), 1) == pytest.approx(0.9)
    assert top_mass(torch.tensor([3.0, 1.0]), 1, power=1) == pytest.approx(0.75)
    torch.testing.assert_close(
        learned_fraction(torch.tensor([2.0, 0.0]), 0.5), torch.tensor([1 - math.exp(-1), 0.0]).double()
    )
    assert learned_fraction(torch.tensor([2.0, 0.0]), math.inf).tolist() == [1.0, 0.0]


def test_label_energy_is_a_distribution_over_modes():
    k, x, y, _ = problem()
    s = spectrum(k(x))
    energy = label_energy(s, y)
    assert energy.sum().item() == pytest.approx(1)
    first = s.vectors[:, :1]
    assert label_energy(s, first)[0].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("K", "words"),
    [
        (torch.rand(3, 4), "square"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (torch.full((2, 2), torch.nan), "not finite"),
    ],
    ids=["rectangular", "asymmetric", "nan"],
)
def test_what_is_no_kernel_matrix_is_refused(K, words):
    with pytest.raises(SpecError, match=words):
        spectrum(K)


@pytest.mark.parametrize("time", [0.0, 0.3, 2.0, 10.0])
def test_prediction_at_time_t_equals_integrated_gradient_flow(time):
    """d f(X)/dt = -K (f(X) - Y) and d f(x)/dt = -K(x, X)(f(X) - Y), integrated numerically from zero."""
    k, x, y, x_test = problem()
    K, K_test, Y = k(x.double()).numpy(), k(x_test.double(), x.double()).numpy(), y[:, 0].double().numpy()

    def flow(_, f):
        error = f[: len(Y)] - Y
        return np.concatenate([-K @ error, -K_test @ error])

    expected = solve_ivp(flow, (0, max(time, 1e-12)), np.zeros(len(Y) + len(K_test)), rtol=1e-10, atol=1e-12)
    got = fit(k, x, y, time=time)(x_test)[:, 0]
    np.testing.assert_allclose(got, expected.y[len(Y) :, -1], atol=1e-7)


def test_infinite_time_interpolates_and_ridge_is_kernel_ridge_regression():
    k, x, y, x_test = problem()
    torch.testing.assert_close(fit(k, x, y)(x), y.double(), rtol=1e-6, atol=1e-6)
    K = k(x.double()).numpy()
    expected = k(x_test.double(), x.double()).numpy() @ np.linalg.solve(K + 0.1 * np.eye(len(K)), y.double().numpy())
    np.testing.assert_allclose(fit(k, x, y, ridge=0.1)(x_test), expected, rtol=1e-9)


def test_singular_kernel_leaves_null_eigenvalues_out_and_says_so():
    k, x, y, x_test = problem()
    doubled, labels = torch.cat([x, x]), torch.cat([y, y])
    f = fit(k, doubled, labels)
    assert f.left_out == len(x)
    torch.testing.assert_close(f(x_test), fit(k, x, y)(x_test), rtol=1e-5, atol=1e-6)
    contradicting = fit(k, doubled, torch.cat([y, -y]))
    assert contradicting(x_test).abs().max().item() < 1e-6  # equal images with opposite labels say nothing


def test_prediction_is_differentiable_in_the_test_images():
    k, x, y, x_test = problem()
    f = fit(k, x, y)
    z = x_test.double().requires_grad_()
    (gradient,) = torch.autograd.grad(f(z).sum(), z)
    direction, h = torch.randn_like(z), 1e-6
    difference = (f(x_test + h * direction).sum() - f(x_test - h * direction).sum()) / (2 * h)
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)


def test_margin_and_verdict():
    binary = torch.tensor([[1.0], [-1.0], [1.0]])
    outputs = torch.tensor([[0.2], [0.3], [0.0]])
    assert correct(outputs, binary).tolist() == [True, False, False]
    assert margin(outputs, binary).tolist() == pytest.approx([0.2, -0.3, 0.0])
    onehot = torch.eye(3)
    scores = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, torch.nan, 1.0]])
    assert correct(scores, onehot).tolist() == [True, False, False]


@pytest.mark.parametrize("arguments", [{"time": -1.0}, {"time": math.nan}, {"ridge": -0.1}], ids=str)
def test_impossible_times_and_ridges_are_refused(arguments):
    k, x, y, _ = problem()
    with pytest.raises(SpecError):
        fit(k, x, y, **arguments)
