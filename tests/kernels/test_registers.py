"""Tiles of products whose sums stay in registers."""

import numba
import numpy as np
import pytest
from llvmlite import binding

from ntkcore.kernels.loops import registers
from ntkcore.kernels.loops.registers import ROWS, VECTORS, tile
from ntkcore.kernels.loops.vectors import LANES


@numba.njit
def one_tile(left, at, row, step, right, first, down, beside, steps, out, to, under):
    tile(left, at, row, step, right, first, down, beside, steps, out, to, under)


@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns"])
def test_a_tile_adds_products_wherever_they_lie(steps, turned):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(20, 40)).astype(np.float32), rng.normal(size=(30, 100)).astype(np.float32)
    out = rng.normal(size=(12, 80)).astype(np.float32)
    row, step = (1, 40) if turned else (40, 1)
    a = (left.T if turned else left)[2 : 2 + ROWS, 3 : 3 + steps]
    at = 3 * 40 + 2 if turned else 2 * 40 + 3
    expected = out.astype(np.float64)
    for v in range(VECTORS):  # vectors of right are 40 apart, those of the result side by side
        b = right[5 : 5 + steps, 7 + 40 * v : 7 + 40 * v + LANES]
        expected[1 : 1 + ROWS, 9 + v * LANES : 9 + (v + 1) * LANES] += a.astype(np.float64) @ b
    one_tile(left, at, row, step, right, 5 * 100 + 7, 100, 40, steps, out, 80 + 9, 80)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_an_unknown_processor_has_no_features(monkeypatch):
    def unknown():
        raise RuntimeError("failed to get host cpu features")

    monkeypatch.setattr(binding, "get_host_cpu_features", unknown)
    assert registers.feature("avx512f") is False
