"""Products of bfloat16 rows against double precision, and the kernels that may use them."""

import pytest
import torch

import ntkcore as ntk
from ntkcore.architectures import build
from ntkcore.kernels import bfloat16
from tests.kernels.loops import without_instructions


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["one instruction", "anywhere"])
def multiply(request, monkeypatch):
    if request.param == "anywhere":
        without_instructions(monkeypatch, (bfloat16, "_multiply"))
    elif not bfloat16.fast():
        pytest.skip("this processor does not multiply bfloat16 numbers")


@pytest.mark.parametrize("packed", [8e6, 3e4], ids=["at once", "in parts"])
@pytest.mark.parametrize(
    ("rows", "columns", "width"), [(1, 1, 1), (8, 32, 256), (33, 16, 40), (70, 33, 1001), (5, 600, 514)]
)
def test_products_are_sums_in_single_precision(rows, columns, width, packed, multiply, monkeypatch):
    monkeypatch.setattr(bfloat16, "PACKED_BYTES", packed)
    j1, j2 = noise(rows, width).bfloat16(), noise(columns, width, seed=1).bfloat16()
    whole = torch.ones(rows + 3, columns + 5)
    bfloat16.add_products(whole[1 : rows + 1, 2 : columns + 2], j1, j2, 0.5)
    expected = torch.ones(rows + 3, columns + 5, dtype=torch.float64)
    expected[1 : rows + 1, 2 : columns + 2] += 0.5 * j1.double() @ j2.double().T  # and nothing beside it
    torch.testing.assert_close(whole.double(), expected, rtol=1e-6, atol=1e-6 * width**0.5)


@pytest.mark.parametrize("rows", [1, 31, 100, 601])
def test_of_a_square_what_is_on_and_below_the_diagonal(rows, multiply):
    j = noise(rows, 300).bfloat16()
    theta = torch.zeros(rows, rows)
    bfloat16.add_products(theta, j, j, 2.0, below=True)
    torch.testing.assert_close(theta.double().tril(), (2 * j.double() @ j.double().T).tril(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("traced", [False, True], ids=["full", "traced"])
@pytest.mark.parametrize("name", ["cnn-small", "cnn-large"])
def test_a_kernel_that_may_use_them_is_near_the_exact_one(name, traced, monkeypatch):
    monkeypatch.setattr(bfloat16, "fast", lambda: True)
    used = []
    add = bfloat16.add_panels
    monkeypatch.setattr(bfloat16, "add_panels", lambda *a: (used.append(a[1].dtype), add(*a)))
    module, x = build(name, (3, 16, 16), 3).eval(), noise(12, 3, 16, 16).sigmoid()
    kernel = ntk.empirical_kernel_fn if traced else lambda m, a=False: lambda *x: ntk.empirical_ntk(m, *x, None, a)
    for sides in ((x, None), (x[:5], x[3:])):
        exact = kernel(module.double())(*(s if s is None else s.double() for s in sides))
        assert not used
        rough = kernel(module.float(), True)(*sides)
        assert used
        used.clear()
        error = ((rough - exact).abs().max() / exact.abs().max()).item()
        assert 1e-7 < error < 5e-4  # few numbers are summed here
    assert not used


def test_dense_layers_are_not_rounded(monkeypatch):
    module, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(507, 33), torch.nn.ReLU()), noise(7, 3, 13, 13)
    exact = ntk.empirical_ntk(module, x)
    monkeypatch.setattr(bfloat16, "fast", lambda: True)
    assert torch.equal(ntk.empirical_ntk(module, x, allow_bfloat16=True), exact)


def test_where_it_makes_no_difference(monkeypatch):
    module, x = build("cnn-small", (3, 8, 8), 2).eval(), noise(4, 3, 8, 8).sigmoid()
    exact = ntk.empirical_ntk(module, x)
    double = ntk.empirical_ntk(module.double(), x.double())
    monkeypatch.setattr(bfloat16, "fast", lambda: True)
    assert torch.equal(ntk.empirical_ntk(module, x.double(), allow_bfloat16=True), double)
    monkeypatch.setattr(bfloat16, "fast", lambda: False)
    assert torch.equal(ntk.empirical_ntk(module.float(), x, allow_bfloat16=True), exact)


@pytest.mark.parametrize("channels", [1, 15, 16, 50])
def test_what_rounding_loses_is_carried_on(channels):
    g = noise(3, 40, channels) * (noise(3, 40, channels, seed=1) > 0)
    rounded = bfloat16.rounded(g)
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded == 0, g == 0)
    assert ((rounded.double() - g).abs() <= 2**-7 * g.abs().amax(1, keepdim=True)).all()
    nearest = (g.bfloat16().double() - g).sum(1).abs().max()
    lost = (rounded.double() - g).sum(1).abs()
    assert (lost <= 2**-8 * g.abs().amax(1)).all()  # no more than of one number
    assert lost.max() < nearest or channels == 1


def test_a_constant_is_rounded_up_and_down():
    g = torch.full((1, 256, 16), 1 + 2**-9)  # a quarter of the way between two numbers in bfloat16
    rounded = bfloat16.rounded(g)
    assert set(rounded.flatten().tolist()) == {1.0, 1 + 2**-7}
    assert torch.equal(rounded.double().sum(1), g.double().sum(1))
