"""What backends offer and what kernels know beside being called."""

import inspect

import pytest
import torch
from torch import nn

import ntkcore as ntk
from ntkcore.kernels import protocols
from ntkcore.kernels.infinite import recursion
from ntkcore.kernels.infinite.backend import Backend
from ntkcore.kernels.infinite.kernel import BACKENDS

PREPARING, SIZED, WHOLE = protocols.PreparingKernel, protocols.SizedKernel, protocols.WholeKernel
FREEZABLE, DIFFERENTIATING, COMBINING = (
    protocols.FreezableKernel,
    protocols.DifferentiatingKernel,
    protocols.CombiningKernel,
)
MODULE = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
KERNELS = {
    "infinite": (ntk.kernel_fn(ntk.fc(1)).kernel, {PREPARING, SIZED, WHOLE, DIFFERENTIATING}),
    "empirical": (ntk.empirical_kernel_fn(MODULE).kernel, {WHOLE, FREEZABLE}),
    "tangent": (ntk.tangent_kernel(ntk.finite_net(MODULE)).kernel, {WHOLE, FREEZABLE, DIFFERENTIATING, COMBINING}),
    "one's own": (lambda x1, x2=None: x1.flatten(1) @ (x1 if x2 is None else x2).flatten(1).T, set()),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_has_the_capabilities_whose_methods_it_has(name):
    kernel, expected = KERNELS[name]
    every = (PREPARING, SIZED, WHOLE, FREEZABLE, DIFFERENTIATING, COMBINING)
    assert {capability for capability in every if isinstance(kernel, capability)} == expected


def test_images_are_prepared_or_not():
    x = torch.zeros(2, 1, 2, 2)
    assert isinstance(ntk.kernel_fn(ntk.fc(1)).kernel.prepare(x), protocols.PreparedImages)
    assert not isinstance(x, protocols.PreparedImages)


@pytest.mark.parametrize("backend", [*BACKENDS, recursion], ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_backend_has_the_functions_of_the_protocol(backend):
    for name in ("covers", "ready", "prepare", "matched", "matrix"):
        _, *wanted = inspect.signature(getattr(Backend, name)).parameters
        assert list(inspect.signature(getattr(backend, name)).parameters) == wanted
