"""Kernels of convolutional ReLU nets on a GPU: each layer and its ReLU in one pass over the covariances, in Triton.

The plain way of ``infinite`` takes some thirty passes over memory for a convolution and a ReLU; here there is one, and
one for a pool. It remains for gradients, for erf nets, for systems where torch comes without Triton, and as the
independent check. The layout is another one: images outside, positions inside::

    k[i, p, j, q]   [n1, H, W, n2, H, W]      nets that pool (every pair of positions)
    k[p, i, j]      [H, W, n1, n2]            others (only equal positions)

    if covers(net, images):
        k, t = flattened(net, one, two)       # NNGP and NTK [n1, n2] where the net flattens its image
"""

from functools import cache, lru_cache

import torch
from torch import Tensor

from ntkcore.kernels.arccosine import DOUBLE, SINGLE
from ntkcore.kernels.prepared import Prepared, roots
from ntkcore.kernels.spatial import before, covers_net, too_small
from ntkcore.nets import AvgPool, Conv, GlobalAvgPool, Net

BLOCK = 512  # numbers that a program of the GPU takes


def covers(net: Net, images: Tensor) -> bool:
    """Whether the passes can take these images through this net."""
    known = images.device.type == "cuda" and images.dtype in (torch.float32, torch.float64)
    return known and covers_net(net) and _passes() is not None


@cache
def _passes():
    """The compiled passes, None without Triton (it comes with torch for CUDA on Linux)."""
    try:
        from ntkcore.kernels import fused_passes
    except ImportError:
        return None
    return fused_passes


def flattened(net: Net, one: Prepared, two: Prepared, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n1, n2] of all pairs, where the net flattens its image."""
    u1, u2 = one.images, two.images
    n1, channels, height, width = u1.shape
    n2, pairs = len(u2), net.spatial_pairs
    if pairs:
        rows, columns = ((u.permute(0, 2, 3, 1).reshape(-1, channels)) for u in (u1 / channels, u2))
        k = rows @ columns.T
    else:
        rows, columns = ((u.permute(2, 3, 0, 1).flatten(0, 1)) for u in (u1 / channels, u2))
        k = rows @ columns.mT
    known = [(_side(q1), _side(q2)) for q1, q2 in zip(one.variances, two.variances, strict=True)]
    state, activation = _State(k.contiguous(), None, height, width, n1, n2, pairs, block), 0
    for box, weight, bias, relu in steps_of(net):
        if weight is None:
            state.pool(net)
        else:
            state.step(box, weight, bias, known[activation] if relu else None)
            activation += relu
    return state.flat(isinstance(net.layers[len(before(net))], GlobalAvgPool))


@lru_cache(32)
def steps_of(net: Net) -> tuple[tuple[bool, float | None, float, bool], ...]:
    """(whether there is a convolution, its W^2/9 and b^2, whether a ReLU follows) in turn; weight None: a pool."""
    steps: list[tuple[bool, float | None, float, bool]] = []
    for layer in before(net):
        if isinstance(layer, Conv):
            steps.append((True, layer.W_std**2 / 9, layer.b_std**2, False))
        elif isinstance(layer, AvgPool):
            steps.append((False, None, 0.0, False))
        elif steps and steps[-1][0] and not steps[-1][3]:
            steps[-1] = (*steps[-1][:3], True)
        else:
            steps.append((False, 1.0, 0.0, True))
    return tuple(steps)


def _side(q: Tensor) -> Tensor:
    """[2, n, H, W]: roots of variances [H, W, n] and their inverses."""
    return roots(q.permute(2, 0, 1)).contiguous()


class _State:
    """Covariances k and t of one tile on their way through the net; t None: the same as k."""

    def __init__(self, k: Tensor, t: Tensor | None, height: int, width: int, n1: int, n2: int, pairs: bool, block: int):
        self.k, self.t, self.block, self.pairs = k, t, block, pairs
        self.height, self.width, self.n1, self.n2 = height, width, n1, n2
        self.spare: tuple[Tensor, Tensor] | None = None  # to write the next step into

    def step(self, box: bool, weight: float, bias: float, sides: tuple[Tensor, Tensor] | None) -> None:
        """A convolution, a ReLU or both."""
        k_out, t_out = self._room(self.k.numel())
        r1, r2 = sides or (self.k, self.k)
        _passes().layer[self._grid(self.k.numel())](
            self.k,
            self.k if self.t is None else self.t,
            k_out,
            t_out,
            r1,
            r2,
            self.n1,
            self.n2,
            self.k.numel(),
            H=self.height,
            W=self.width,
            WEIGHT=weight,
            BIAS=bias,
            GAP=16 * torch.finfo(self.k.dtype).eps,
            P=SERIES[self.k.dtype],
            PAIRS=self.pairs,
            BOX=box,
            RELU=sides is not None,
            FIRST=self.t is None,
            BLOCK=self.block,
        )
        self._turn(k_out, t_out)

    def pool(self, net: Net) -> None:
        """2x2 means over p and over q."""
        if min(self.height, self.width) < 2:
            raise too_small(net, self.height, self.width)
        height, width = self.height // 2, self.width // 2
        numbers = self.n1 * self.n2 * (height * width) ** 2
        k_out, t_out = self._room(numbers)
        _passes().pool[self._grid(numbers)](
            self.k,
            self.k if self.t is None else self.t,
            k_out,
            t_out,
            self.n2,
            numbers,
            H=self.height,
            W=self.width,
            FIRST=self.t is None,
            BLOCK=self.block,
        )
        self.height, self.width = height, width
        self._turn(k_out, t_out)

    def flat(self, everywhere: bool) -> tuple[Tensor, Tensor]:
        """Means over all p and q, or over p = q: [n1, n2] each."""
        positions = self.height * self.width
        out = []
        for x in (self.k, self.k if self.t is None else self.t):
            if not self.pairs:
                out.append(x.view(positions, self.n1, self.n2).mean(0))
                continue
            x = x.view(self.n1, positions, self.n2, positions)
            out.append(x.mean((1, 3)) if everywhere else x.diagonal(dim1=1, dim2=3).mean(-1))
        return out[0], out[1]

    def _room(self, numbers: int) -> tuple[Tensor, Tensor]:
        spare = self.spare or (self.k.new_empty(0), self.k.new_empty(0))
        return tuple(x[:numbers] if len(x) >= numbers else self.k.new_empty(numbers) for x in spare)

    def _turn(self, k: Tensor, t: Tensor) -> None:
        self.spare = (self.k.view(-1), self.k.new_empty(0) if self.t is None else self.t.view(-1))
        self.k, self.t = k, t

    def _grid(self, numbers: int) -> tuple[int]:
        return (-(-numbers // self.block),)


SERIES = {torch.float32: tuple(map(float, SINGLE)), torch.float64: tuple(map(float, DOUBLE))}
