"""Affine layers of finite nets: in NTK parameterisation, and torch's own for the same function.

Weights and biases are drawn N(0, 1); the forward pass has the scales (Jacot et al. 2018)::

    layer = NTKDense(64, 128, W_std=2**0.5, b_std=0.1, generator=generator)
    layer(x)                                   # x [n, 64] -> [n, 128]
    standard(layer)                            # an nn.Linear that does the same, the scales inside its weights
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu")


class NTKDense(nn.Module):
    """``x -> (W_std / sqrt(fan_in)) x weight^T + b_std bias`` with weight, bias ~ N(0, 1)."""

    def __init__(self, inputs: int, outputs: int, W_std: float, b_std: float, generator: torch.Generator):
        super().__init__()
        self.weight_scale, self.bias_scale = W_std / inputs**0.5, b_std
        self.weight = nn.Parameter(_normal(generator, outputs, inputs))
        self.bias = nn.Parameter(_normal(generator, outputs)) if b_std else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.bias_scale
        return F.linear(x, self.weight * self.weight_scale, bias)


class NTKConv(nn.Module):
    """3x3 SAME convolution, ``weight [out, in, 3, 3]`` scaled by ``W_std / sqrt(9 in)``."""

    def __init__(self, inputs: int, outputs: int, W_std: float, b_std: float, generator: torch.Generator):
        super().__init__()
        self.weight_scale, self.bias_scale = W_std / (9 * inputs) ** 0.5, b_std
        self.weight = nn.Parameter(_normal(generator, outputs, inputs, 3, 3))
        self.bias = nn.Parameter(_normal(generator, outputs)) if b_std else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.bias_scale
        return F.conv2d(x, self.weight * self.weight_scale, bias, padding=1)


def standard(layer: NTKDense | NTKConv) -> nn.Linear | nn.Conv2d:
    """torch's own layer for the same function, with the scales inside its weights."""
    outputs, inputs = layer.weight.shape[:2]
    bias, kind = layer.bias is not None, {"dtype": torch.float32, "device": "cpu"}
    if isinstance(layer, NTKConv):
        own = skip_init(nn.Conv2d, inputs, outputs, 3, padding=1, bias=bias, **kind)
    else:
        own = skip_init(nn.Linear, inputs, outputs, bias=bias, **kind)
    with torch.no_grad():
        own.weight.copy_(layer.weight * layer.weight_scale)
        if layer.bias is not None:
            own.bias.copy_(layer.bias * layer.bias_scale)
    return own
