"""Products of bfloat16 rows against double precision."""

import pytest
import torch

from ntkcore.kernels.loops import bfloat16
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
