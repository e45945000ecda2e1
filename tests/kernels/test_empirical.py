"""Empirical tangent kernels against per-output gradients written out by hand."""

import pytest
import torch
from torch import nn

from ntkcore import SpecError, empirical_kernel_fn, empirical_ntk, fc


def by_hand(module, x1, x2):
    """Theta[i, j, a, b] from one backward pass per image and output."""

    def gradient(x, a):
        out = module(x[None])[0, a]
        return torch.cat([g.flatten() for g in torch.autograd.grad(out, list(module.parameters()))])

    outputs = module(x1[:1]).shape[1]
    g1 = torch.stack([torch.stack([gradient(x, a) for a in range(outputs)]) for x in x1])
    g2 = torch.stack([torch.stack([gradient(x, a) for a in range(outputs)]) for x in x2])
    return torch.einsum("iap,jbp->ijab", g1, g2)


MODULES = {
    "twin": lambda: fc(2).module((1, 6, 6), 12, outputs=3, seed=0),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    ),
    "batchnorm": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    ).eval(),
}


@pytest.mark.parametrize("name", MODULES)
def test_full_kernel_equals_gradients_by_hand(name):
    torch.manual_seed(0)
    module = MODULES[name]().double()
    x1, x2 = torch.rand(4, 1, 6, 6).double(), torch.rand(3, 1, 6, 6).double()
    expected = by_hand(module, x1, x2)
    torch.testing.assert_close(empirical_ntk(module, x1, x2), expected)
    traced = expected.diagonal(dim1=2, dim2=3).mean(-1)
    torch.testing.assert_close(empirical_kernel_fn(module)(x1, x2), traced)
    torch.testing.assert_close(
        empirical_kernel_fn(module)(x1), empirical_ntk(module, x1).diagonal(dim1=2, dim2=3).mean(-1)
    )


def test_batchnorm_in_training_mode_is_refused():
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, 1))
    with pytest.raises(SpecError, match=r"module\.eval"):
        empirical_ntk(module, torch.rand(3, 1, 6, 6))
