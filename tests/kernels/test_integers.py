"""Products of images in integers of eight bits: exact, and only for images that are made of them."""

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.kernels.infinite.cpu import dense, integers

N, D = 300, 70


@pytest.fixture(autouse=True)
def _wherever(monkeypatch):
    """Also where floats are as fast."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def levels(n: int = N, d: int = D) -> np.ndarray:
    found = np.random.default_rng(0).integers(0, 256, (n, d))
    found[0], found[1] = 0, 255
    return found


def test_products_are_exact_until_they_are_rounded():
    k = levels()
    q = integers.integers(torch.from_numpy((k / np.float64(255)).astype(np.float32)))
    assert torch.equal(q.levels, torch.from_numpy((k - 128).astype(np.int8)))
    out = torch.empty(20, N)
    integers.products(q[:20], q, out)
    expected = torch.from_numpy((k[:20] @ k.T) / 255**2)
    torch.testing.assert_close(out.double(), expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 0.0])
def test_mixtures_are_exact_but_for_what_is_lost(scale):
    k = levels()
    q = integers.integers(torch.from_numpy(k).float() / 255)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=(40, N)).astype(np.float32)) * scale
    mixed, lost = integers.mixtures(weights, q)
    assert bool((lost.abs().amax(1) <= weights.abs().amax(1) / 2**14).all())
    expected = (weights - lost).double() @ torch.from_numpy(k / 255)
    torch.testing.assert_close(mixed.double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("change", [1e-3, -1e-6, 2.0, -1.0, float("nan")])
@pytest.mark.parametrize("row", [0, 5, N - 1])
def test_other_pixels_are_not_taken(change, row):
    u = torch.from_numpy(levels()).float() / 255
    assert integers.integers(u) is not None
    u[row, 3] += change
    assert integers.integers(u) is None


def test_what_is_not_worth_it_or_does_not_fit(monkeypatch):
    u = torch.zeros(N, 4)
    assert integers.integers(u) is not None
    assert integers.integers(u.double()) is None
    assert integers.integers(u[: integers.FEWEST - 1]) is None
    assert integers.integers(torch.zeros(N, 1).expand(N, integers.MOST + 1)) is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert integers.integers(u) is None


@pytest.mark.parametrize("sides", ["square", "rectangle"])
def test_a_kernel_by_integers_is_that_by_floats(sides, monkeypatch):
    x = torch.from_numpy(levels(N, 48)).float().view(N, 3, 4, 4) / 255
    x[2] = x[3]
    y = None if sides == "square" else x[:280]
    kernel, taken = ntk.kernel_fn(ntk.fc(2)), []
    products = integers.products
    monkeypatch.setattr(integers, "products", lambda *a: taken.append(1) or products(*a))
    monkeypatch.setattr(dense, "PART", 128)
    found = kernel(x, y)
    assert taken
    exact = kernel(x.double(), None if y is None else y.double())
    torch.testing.assert_close(found.double(), exact, rtol=2e-6, atol=0)
    assert y is not None or torch.equal(found, found.T)
    taken.clear()
    torch.testing.assert_close(kernel(x * 0.999, y).double(), exact, rtol=1e-2, atol=0)
    assert not taken
