"""Kernels of convolutional nets without pools on a GPU: one pass takes pairs of images through the whole net."""

import torch
from torch import Tensor

from ntkcore.kernels.infinite.gpu.steps import GAPS, SERIES, Sides, passes, steps
from ntkcore.nets import Net

LANES, PROGRAMS = 64, 32  # of a plane's columns that a program takes at once; programs for each processor of the GPU


def plane_by_plane(net: Net) -> bool:
    """Whether one pass takes a pair of images through the net, up to a flattening of equal positions."""
    return not (net.flat_input or net.spatial_pairs)


def by_planes(net: Net, u1: Tensor, u2: Tensor, known: list[Sides], upper: bool) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n1, n2] where a net without a pool flattens its image; upper: pairs with i > j are zero."""
    each, begun = steps(net), [False]
    numbers: list[int] = []  # of each step's ReLU
    for step in each:
        begun.append(begun[-1] or step.weight is not None)
        numbers.append(sum(number >= 0 for number in numbers) if step.relu else -1)
    n, channels, height, width = u1.shape
    across, all_of_them = (1 << (m - 1).bit_length() for m in (width, max(1, len(u2))))
    block = min(max(1, LANES // across), all_of_them)
    processors = torch.cuda.get_device_properties(u1.device).multi_processor_count if u1.is_cuda else 1
    programs = min(PROGRAMS * processors, n * -(-len(u2) // block))
    k, t = u1.new_zeros(2, n, len(u2))
    r1, r2 = (torch.stack([pair[side][:, 0] for pair in known], 1) if known else u1 for side in (0, 1))
    passes().planes[(programs,)](
        u1 / channels,
        u2.contiguous(),
        r1,
        r2,
        u1.new_empty(programs * block * 2 * height * width),
        k,
        t,
        n,
        len(u2),
        UPPER=upper,
        C=channels,
        H=height,
        W=width,
        ACROSS=across,
        BOX=tuple(int(step.box) for step in each),
        AFFINE=tuple(step.weight is not None for step in each),
        WEIGHT=tuple(step.weight or 0.0 for step in each),
        BIAS=tuple(step.bias for step in each),
        RELU=tuple(numbers),
        BEGUN=tuple(begun[:-1]),
        TIMES=1 + max(numbers),
        GAP=GAPS[u1.dtype],
        P=SERIES[u1.dtype],
        BLOCK=block,
        num_warps=1,
        num_stages=1,
    )
    return k, t
