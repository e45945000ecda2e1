"""Tiles of products, and sums that are made of them on the way."""

import numba
import numpy as np
import pytest
from llvmlite import binding

from ntkcore.analysis import sign_loops
from ntkcore.kernels.loops import registers
from ntkcore.kernels.loops.registers import COLUMNS, ROWS, VECTORS, tile
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


@pytest.mark.parametrize("lost", [0, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 16), (3, 40)])
def test_sums_along_directions(start, stop, lost):
    rng = np.random.default_rng(1)
    n, columns, pairs = 9 * LANES, 2 * COLUMNS, 40
    weights, factors, along, missing = (
        rng.normal(size=shape).astype(np.float32) for shape in ((5, n), (7, n), (n, columns), (4, lost, n))
    )
    shares = rng.normal(size=(pairs, lost)).astype(np.float32)
    b, i, which = rng.integers(0, 5, pairs), rng.integers(0, 7, pairs), rng.integers(0, 4, pairs)
    out = np.full((pairs, columns), np.nan, np.float32)
    sign_loops.along_directions(weights, b, factors, i, shares, which, missing, along, (start, stop), out)
    scaled = weights[b] * factors[i] + np.einsum("pr,prj->pj", shares, missing[which])
    np.testing.assert_allclose(out[start:stop], (scaled @ along)[start:stop], rtol=1e-4, atol=1e-3)
    assert np.isnan(out[:start]).all()
    assert np.isnan(out[stop:]).all()


def test_an_unknown_processor_has_no_features(monkeypatch):
    def unknown():
        raise RuntimeError("failed to get host cpu features")

    monkeypatch.setattr(binding, "get_host_cpu_features", unknown)
    assert registers.feature("avx512f") is False
