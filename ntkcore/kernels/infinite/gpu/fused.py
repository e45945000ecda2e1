"""Kernels of ReLU nets on a GPU: each layer and its ReLU in one pass over the covariances, in Triton.

The recursion in torch takes some thirty passes over memory for a convolution and a ReLU; here there is one, and one for
a pool; nets without a pool, which need equal positions only, are one pass as a whole (``planes``). The recursion stays
for gradients, for erf nets, for systems where torch comes without Triton, and as the independent check. A backend
(``ntkcore.kernels.infinite.backend``) with another layout, images outside, positions inside::

    k[i, p, j, q]   [n1, H, W, n2, H, W]      nets that pool (every pair of positions)
    k[p, i, j]      [H, W, n1, n2]            others (only equal positions; flattened images: H = W = 1)

    if covers(net, images):
        K = matrix(net, "ntk", prepare(net, images), None)      # [n, n]
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from ntkcore.kernels.blocks import mirror_, slices, tile_sides
from ntkcore.kernels.infinite import recursion
from ntkcore.kernels.infinite.backend import KernelKind, Report, asked
from ntkcore.kernels.infinite.gpu.planes import by_planes, plane_by_plane
from ntkcore.kernels.infinite.gpu.steps import GAPS, SERIES, Sides, Step, passes, steps
from ntkcore.kernels.infinite.prepared import CLOSE, MANY, Prepared, roots
from ntkcore.kernels.infinite.relu_nets import compiled, flattening, from_flattening
from ntkcore.nets import GlobalAvgPool, Net, conv

BLOCK = 512  # numbers that a program of the GPU takes
TILE_BYTES, TILE_SHARE = 8e9, 1 / 8  # of covariances at a time: at most, and of the GPU's memory


def covers(net: Net, images: Tensor) -> bool:
    """Whether the passes can take these images through this net."""
    known = images.device.type == "cuda" and images.dtype in SERIES
    return known and compiled(net) and _work_on(images.device)


@cache
def _work_on(device: torch.device) -> bool:
    """Whether the passes compile and run there: Triton wants a C compiler and a GPU that is not too old."""
    if passes() is None:
        return False
    try:
        prepare(conv(1), torch.ones(1, 1, 2, 2, device=device))
    except Exception as error:  # of Triton, its compilers or the driver
        warnings.warn(f"Kernels take the plain way on {device}, which is slower: Triton says {error!r}", stacklevel=2)
        return False
    return True


def ready(dtype: torch.dtype) -> bool:
    """Whether this process has passes for a precision: they compile in less than a second each."""
    return True


def prepare(net: Net, images: Tensor) -> Prepared:
    """The variances before every activation, [*positions, n].

    Of convolutional nets by the same passes as the covariances: where two images share a region, their rounding cancels
    and the angle there is none.
    """
    if net.flat_input:
        return recursion.prepare(net, images)
    parts = [_variances(net, images[s]) for s in slices(len(images), _at_once(net, images))]
    return Prepared(images, tuple(torch.cat(layer, -1) for layer in zip(*parts, strict=True)))


def matrix(net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None = None) -> Tensor:
    """[n1, n2]; two = None: [n, n], only tiles on and above the diagonal computed, exactly symmetric.

    In single precision pairs of images that nearly coincide are computed in double: where angles are as small as the
    rounding of their cosines, float32 alone would be off by up to 1e-3. Where such pairs are many, all of it is.
    """
    upper, two = two is None, one if two is None else two
    sides = [_sides(one)] * 2 if upper else [_sides(one), _sides(two)]
    out = one.images.new_empty(len(one), len(two))
    single, close, found = out.dtype == torch.float32, [], 0
    lengths = [_each(net, x, x)[0].sqrt() for x in ((one,) if upper else (one, two))] if single else []
    tiles = list(_tiles(len(one), len(two), _at_once(net, one.images, planes=plane_by_plane(net)), upper))
    total, done = float(sum((i.stop - i.start) * (j.stop - j.start) for i, j in tiles)), 0.0
    for i, j in tiles:
        if report is not None:
            report(done, total)
        known = [(r1[i], r2[j]) for r1, r2 in zip(*sides, strict=True)]
        if plane_by_plane(net):
            k, t = by_planes(net, one.images[i], two.images[j], known, upper and i == j)
        else:
            k, t = _flattened(net, one.images[i], two.images[j], known, matched=False)
        out[i, j] = _finished(net, kind, k, t)
        if single:
            near = k > (1 - CLOSE) * lengths[0][i, None] * lengths[-1][j]
            rows, columns = near.nonzero().unbind(1)
            rows, columns = rows + i.start, columns + j.start
            close.append((rows[rows <= columns], columns[rows <= columns]) if upper else (rows, columns))
            found += int((close[-1][0] != close[-1][1]).sum()) if upper else len(rows)
        done += (i.stop - i.start) * (j.stop - j.start)
    if found > MANY * total:
        double = [prepare(net, x.images.double()) for x in ((one,) if upper else (one, two))]
        return matrix(net, kind, double[0], None if upper else double[1], report).float()
    if close:
        rows, columns = (torch.cat(side) for side in zip(*close, strict=True))
        out[rows, columns] = _finished(net, kind, *_in_double(net, one, two, rows, columns)).float()
    if report is not None:
        report(total, total)
    return mirror_(out) if upper else out


def matched(net: Net, kind: KernelKind, one: Prepared, two: Prepared) -> Tensor:
    """[n] of images one by one, in the images' precision throughout."""
    return _finished(net, kind, *_each(net, one, two))


def _finished(net: Net, kind: KernelKind, k: Tensor, t: Tensor) -> Tensor:
    """From the flattening on; of a net that flattens its image first nothing is left."""
    return asked(kind, k, t) if net.flat_input else from_flattening(net, kind, k, t)


def _each(net: Net, one: Prepared, two: Prepared) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n] of images one by one at the flattening."""
    sides, parts = (_sides(one), _sides(two)), []
    for s in slices(len(one), _at_once(net, one.images)):
        known = [(r1[s], r2[s]) for r1, r2 in zip(*sides, strict=True)]
        parts.append(_flattened(net, one.images[s], two.images[s], known, matched=True))
    if not parts:
        return one.images.new_empty(0), one.images.new_empty(0)
    k, t = (torch.cat(side) for side in zip(*parts, strict=True))
    return k, t


def _in_double(net: Net, one: Prepared, two: Prepared, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """NNGP and NTK of listed pairs (i, j) in double precision."""
    parts = [(one.images.new_empty(0).double(),) * 2]
    for s in slices(len(i), max(1, _at_once(net, one.images) // 4)):
        sides = (prepare(net, side.images[index[s]].double()) for side, index in ((one, i), (two, j)))
        parts.append(_each(net, *sides))
    k, t = (torch.cat(side) for side in zip(*parts, strict=True))
    return k, t


def _at_once(net: Net, images: Tensor, planes: bool = False) -> int:
    """Image pairs whose covariances, before and after a pass, fit in a tile; flattened images count as well.

    planes: of pairs that one pass takes through the net, only the results are kept."""
    positions = 1 if net.flat_input or planes else images.shape[2] * images.shape[3]
    numbers = 4 * (positions**2 if net.spatial_pairs else positions) + 2
    device = torch.cuda.get_device_properties(images.device).total_memory if images.is_cuda else TILE_BYTES
    return max(1, int(min(TILE_BYTES, TILE_SHARE * device) / (numbers * images.element_size())))


def _tiles(n1: int, n2: int, pairs: int, upper: bool) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles of at most so many pairs; upper: those on and above the diagonal, square ones."""
    height, width = tile_sides(n1, n2, pairs, square=upper)
    for i in slices(n1, height):
        for j in slices(n2, width):
            if not upper or i.start <= j.start:
                yield i, j


# -- one tile through the net ------------------------------------------------------------------------------------------


def _flattened(net: Net, u1: Tensor, u2: Tensor, known: list[Sides], matched: bool) -> tuple[Tensor, Tensor]:
    """NNGP and NTK where the net flattens its image: [n1, n2], or [n] of matched pairs."""
    state, activation = _State.of(net, u1, u2, matched), 0
    for step in steps(net):
        if step.pool:
            state.pool()
        else:
            state.step(step, known[activation] if step.relu else None)
            activation += step.relu
    k, t = state.flat(isinstance(net.layers[flattening(net)], GlobalAvgPool))
    return (k[:, 0], t[:, 0]) if matched else (k, t)


def _variances(net: Net, u: Tensor) -> list[Tensor]:
    """Before each activation, [H, W, n]: from the covariances of each image with itself."""
    state, found = _State.of(net, u, u, True), []
    for step in steps(net):
        if step.pool:
            state.pool()
            continue
        if step.weight is not None:
            state.step(replace(step, relu=False), None)
        if step.relu:
            found.append(state.diagonal())
            if len(found) == net.activations:
                break
            side = _side(found[-1])
            state.step(Step(False, None, 0.0, True, False), (side, side))
    return found


def _sides(side: Prepared) -> list[Tensor]:
    return [_side(q) for q in side.variances]


def _side(q: Tensor) -> Tensor:
    """[n, 2, H, W]: roots of variances [H, W, n] or [n], and their inverses."""
    q = q if q.ndim == 3 else q[None, None]
    return roots(q.permute(2, 0, 1)).transpose(0, 1).contiguous()


@dataclass(eq=False)
class _State:
    """Covariances k and t of one tile on their way through the net; t None: the same as k."""

    k: Tensor
    height: int
    width: int
    n1: int
    n2: int
    pairs: bool
    matched: bool
    t: Tensor | None = None
    spare: tuple[Tensor, Tensor] | None = None  # to write the next step into

    @classmethod
    def of(cls, net: Net, u1: Tensor, u2: Tensor, matched: bool) -> "_State":
        """The covariances of the pixels. matched: image i of the rows with image i of the columns only."""
        n, channels, height, width = u1.shape
        if net.flat_input:
            channels, height, width = u1[0].numel(), 1, 1
        u1, u2 = (u.reshape(len(u), channels, height * width) for u in (u1 / channels, u2))
        if net.spatial_pairs and matched:
            k = u1.mT @ u2  # [n, p, q]
        elif net.spatial_pairs:
            k = u1.mT.reshape(-1, channels) @ u2.transpose(0, 1).reshape(channels, -1)  # [n1 p, n2 q]
        elif matched:
            k = (u1 * u2).sum(1).T  # [p, n]
        else:
            k = u1.permute(2, 0, 1) @ u2.permute(2, 1, 0)  # [p, n1, n2]
        return cls(k.contiguous().view(-1), height, width, n, 1 if matched else len(u2), net.spatial_pairs, matched)

    def step(self, step: Step, sides: Sides | None) -> None:
        """An affine layer, a ReLU or both."""
        k_out, t_out = self._room(self.k.numel())
        r1, r2 = sides or (self.k, self.k)
        passes().layer[self._grid(self.k.numel())](
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
            WEIGHT=step.weight,
            BIAS=step.bias,
            GAP=GAPS[self.k.dtype],
            P=SERIES[self.k.dtype],
            PAIRS=self.pairs,
            MATCHED=self.matched,
            BOX=step.box,
            RELU=sides is not None,
            FIRST=self.t is None,
            BLOCK=BLOCK,
        )
        self._turn(k_out, t_out, begun=step.weight is not None)

    def pool(self) -> None:
        """2x2 means over p and over q."""
        height, width = self.height // 2, self.width // 2
        numbers = self.n1 * self.n2 * (height * width) ** 2
        k_out, t_out = self._room(numbers)
        passes().pool[self._grid(numbers)](
            self.k,
            self.k if self.t is None else self.t,
            k_out,
            t_out,
            self.n2,
            numbers,
            H=self.height,
            W=self.width,
            FIRST=self.t is None,
            BLOCK=BLOCK,
        )
        self.height, self.width = height, width
        self._turn(k_out, t_out, begun=False)

    def flat(self, everywhere: bool) -> tuple[Tensor, Tensor]:
        """Means over all p and q, or over p = q: [n1, n2] each."""
        out = []
        for x in (self.k, self.k if self.t is None else self.t):
            if not self.pairs:
                out.append(x.view(-1, self.n1, self.n2).mean(0))
                continue
            x = x.view(self.n1, self.height * self.width, self.n2, -1)
            out.append(x.mean((1, 3)) if everywhere else x.diagonal(dim1=1, dim2=3).mean(-1))
        return out[0], out[1]

    def diagonal(self) -> Tensor:
        """k of matched pairs where p = q: [H, W, n], a copy."""
        positions = self.height * self.width
        if self.pairs:
            found = self.k.view(self.n1, positions, positions).diagonal(dim1=1, dim2=2).T
        else:
            found = self.k.view(positions, self.n1)
        return found.reshape(self.height, self.width, self.n1).clone()

    def _room(self, numbers: int) -> tuple[Tensor, ...]:
        spare = self.spare or (self.k[:0], self.k[:0])
        return tuple(x[:numbers] if len(x) >= numbers else self.k.new_empty(numbers) for x in spare)

    def _turn(self, k: Tensor, t: Tensor, begun: bool) -> None:
        """begun: t is there from now on."""
        self.spare = (self.k, self.k[:0] if self.t is None else self.t)
        self.k, self.t = k, t if begun or self.t is not None else None

    @staticmethod
    def _grid(numbers: int) -> tuple[int]:
        return (-(-numbers // BLOCK),)
