"""What the passes of a GPU make of a net: its layers as steps, and the numbers that their formulas need."""

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.loops.arccosine import DOUBLE, SINGLE, constants
from ntkcore.nets import Activation, AvgPool, Conv, Dense, Net

NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}
GAPS = {dtype: float(constants(number)[7]) for dtype, number in NUMBERS.items()}  # below which directions are one
SERIES = {torch.float32: tuple(map(float, SINGLE)), torch.float64: tuple(map(float, DOUBLE))}
Sides = tuple[Tensor, Tensor]  # roots of variances of the rows and of the columns, as ``fused`` makes them


@cache
def passes() -> Any:
    """The compiled passes, None without Triton (it comes with torch for CUDA on Linux)."""
    try:
        from ntkcore.kernels.infinite.gpu import passes as compiled
    except ImportError:
        return None
    return compiled


@dataclass(frozen=True)
class Step:
    """An affine layer (weight None: none; box: over 3x3 positions), a ReLU behind it, or a pool."""

    box: bool
    weight: float | None
    bias: float
    relu: bool
    pool: bool


@lru_cache(32)
def steps(net: Net) -> tuple[Step, ...]:
    """Up to the flattening; of a net that flattens its image first, all layers."""
    found: list[Step] = []
    for layer in net.covariance_layers():
        if isinstance(layer, Conv):
            found.append(Step(True, layer.W_std**2 / 9, layer.b_std**2, False, False))
        elif isinstance(layer, Dense):
            found.append(Step(False, layer.W_std**2, layer.b_std**2, False, False))
        elif isinstance(layer, AvgPool):
            found.append(Step(False, None, 0.0, False, True))
        elif not isinstance(layer, Activation):
            break
        elif found and found[-1].weight is not None and not found[-1].relu:
            found[-1] = replace(found[-1], relu=True)
        else:
            found.append(Step(False, None, 0.0, True, False))
    return tuple(found)
