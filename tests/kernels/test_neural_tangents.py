"""Kernels and their input gradients agree with neural-tangents 0.6.5, to 1e-5 relative and mostly far closer.

The reference numbers come from ``tests/reference/make_neural_tangents.py``, which says what they are: FC, Conv and
Myrtle nets, several W_std and b_std, NNGP and NTK, square and rectangular, with duplicate images and zero patches.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ntkcore import conv, fc, kernel_fn, myrtle

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "neural_tangents.npz")
CASES = json.loads(str(REFERENCE["cases"]))
MAKE = {"fc": fc, "conv": conv, "myrtle": myrtle}

pytestmark = [
    pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES]),
    pytest.mark.parametrize("kind", ["nngp", "ntk"]),
]


def images(case, name):
    return torch.from_numpy(REFERENCE[f"{case['images']}/{name}"])


def kernel(case, kind):
    net = MAKE[case["family"]](case["depth"], case["W_std"], case["b_std"], case["activation"])
    return kernel_fn(net, kind)


def assert_close(got, case, name, tolerance):
    expected = torch.from_numpy(REFERENCE[f"{case['id']}/{name}"])
    assert ((got - expected).abs().max() / expected.abs().max()).item() < tolerance


def test_square_and_rectangular_kernels(case, kind):
    k, x1, x2 = kernel(case, kind), images(case, "x1"), images(case, "x2")
    # at x = x' the reference itself carries the square root of a rounding error
    assert_close(k(x1), case, f"{kind}_square", max(1e-9, 30 * case["rounding"][f"{kind}_square"]))
    assert_close(k(x1, x2), case, f"{kind}_cross", max(1e-9, 30 * case["rounding"][f"{kind}_cross"]))
    assert ((k(x1.float(), x2.float()) - k(x1, x2)).abs().max() / k(x1, x2).abs().max()).item() < 2e-4


@pytest.mark.parametrize("side", ["cross", "square"])
def test_input_gradients_also_where_an_image_meets_itself(case, kind, side):
    k, x1 = kernel(case, kind), images(case, "x1").requires_grad_()
    other = images(case, "x2") if side == "cross" else x1.detach()
    weights = images(case, f"c_{side}")
    (gradient,) = torch.autograd.grad((k(x1, other) * weights).sum(), x1)
    mask = torch.from_numpy(REFERENCE[f"{case['id']}/grad_mask"])
    expected = torch.from_numpy(REFERENCE[f"{case['id']}/{kind}_{side}_grad"])
    assert torch.isfinite(gradient).all()
    error = ((gradient - expected)[mask].abs().max() / expected[mask].abs().max()).item()
    assert error < max(1e-6, 30 * case["rounding"][f"{kind}_{side}_grad"])
    # the sweep's own way to the gradient: one image against all others
    i = 1
    pairs = k.kernel.pair_gradients(x1[i].detach(), other)
    again = torch.einsum("jchw,j->chw", pairs, weights[i])
    assert ((again - expected[i])[mask[i]].abs().max() / expected.abs().max()).item() < 1e-6
