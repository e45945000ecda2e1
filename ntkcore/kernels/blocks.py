"""Tiles: wrap a kernel function and give back one of the same shape, with bounded memory, progress and symmetry.

A square kernel ``k(x)`` is computed on and above the block diagonal only and mirrored, so it is exactly
symmetric. Under autograd the inside of each tile is computed again in the backward pass, so memory stays that of one
tile::

    k = tiled(InfiniteKernel(fc(1)), progress=print)
    k(x1, x2)                              # [n1, n2]
    k.with_progress(callback)(x)           # same kernel, told where it is; the callback may raise Cancelled
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.kernels.protocols import (
    FreezableKernel,
    Images,
    KernelFunction,
    PreparedImages,
    PreparingKernel,
    Progress,
    SizedKernel,
    WholeKernel,
)
from ntkcore.modes import plain

PAIRS = "kernel: image pairs"
CONVERTED = 8192  # images that are converted to double precision together
TILE_BYTES = {"cpu": 16e6, "cuda": 1e9}  # what stays in a cache, and what fills a GPU


@dataclass(frozen=True, eq=False)
class TiledKernel:
    """``kernel`` evaluated by tiles of at most ``tile_bytes`` working memory, square ones where the sides allow it.

    tile_bytes None: by the images' device (TILE_BYTES).

    progress(done, total, note) counts image pairs; it may raise ``Cancelled`` to stop between two tiles. Gradients
    reach the images alone: weights of a kernel of one's own get theirs from that kernel itself.
    """

    kernel: KernelFunction
    tile_bytes: float | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        checks.function(self.kernel, "kernel", "It maps images to [n1, n2]; InfiniteKernel is one.")
        checks.progress(self.progress)
        if self.tile_bytes is not None:
            object.__setattr__(self, "tile_bytes", checks.number(self.tile_bytes, "tile_bytes", above=0))

    @plain
    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        """x1 [n1, C, H, W], x2 [n2, C, H, W] or None for x1 itself -> [n1, n2]."""
        for x, name in ((x1, "x1"), (x2, "x2")) if x2 is not None else ((x1, "x1"),):
            if not isinstance(x, PreparedImages):
                checks.image_form(x, name, axes=None)
        differentiate = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (x1, x2))
        symmetric = x2 is None
        x2 = x1 if x2 is None else x2
        if isinstance(self.kernel, WholeKernel):
            found = self.kernel.matrix(x1, None if symmetric else x2, self.progress)
            if found is not None:
                return found
        height, width = self.tile_shape(x1, None if symmetric else x2)
        rows, columns = list(slices(len(x1), height)), list(slices(len(x2), width))
        one = x1 if x1.requires_grad and differentiate else prepared(self, x1)
        two = one if symmetric else (x2 if x2.requires_grad and differentiate else prepared(self, x2))
        if len(rows) * len(columns) == 1:
            self._report(0, 1)
            block = of_prepared(self.kernel, one, None if symmetric else two)
            self._report(1, 1)
            return mirror(block) if symmetric else block

        work = [(i, j) for i in rows for j in columns if not symmetric or i.start <= j.start]
        plan = _Plan(self, work, symmetric, one, two)
        if differentiate and not self._has_weights(one, two):
            sides = (x1, None if symmetric else x2)  # what was prepared beforehand is not differentiated
            return _Tiles.apply(plan, *(x if isinstance(x, Tensor) else None for x in sides))
        return plan.whole()

    def tile_shape(self, x1: Tensor, x2: Tensor | None) -> tuple[int, int]:
        """Images along both sides of a tile. A short side leaves its room to the other; x2 = None: square tiles."""
        if isinstance(self.kernel, SizedKernel):
            cost = self.kernel.bytes_per_pair(x1.shape[1:], x1.dtype)
        else:
            cost = 64.0 * x1.element_size()
        pairs = (self.tile_bytes or tile_bytes(x1.device)) / cost
        return tile_sides(len(x1), len(x1 if x2 is None else x2), pairs, square=x2 is None)

    def with_progress(self, progress: Progress | None) -> "TiledKernel":
        return replace(self, progress=progress)

    def _has_weights(self, one: Images, two: Images) -> bool:
        """Whether the kernel is differentiable in something else than the images: such a graph is kept whole."""
        with torch.enable_grad():
            return of_prepared(self.kernel, _first(one), _first(two)).requires_grad

    def _report(self, done: float, total: float) -> None:
        if self.progress is not None:
            self.progress(done, total, PAIRS)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The tiles of one matrix: pairs of slices in the order of the work, upper ones of a symmetric matrix."""

    tiled: TiledKernel
    work: list[tuple[slice, slice]]
    symmetric: bool
    one: Images
    two: Images

    def whole(self, values: bool = False) -> Tensor:
        """values: without a graph."""
        out: Tensor | None = None
        done, total = 0, sum(_size(i) * _size(j) for i, j in self.work)
        for i, j in self.work:
            self.tiled._report(done, total)
            block = self.block(i, j, self.one[i], self.two[j])
            block = block.detach() if values else block
            out = block.new_empty(len(self.one), len(self.two)) if out is None else out
            out[i, j] = block
            if self.symmetric and i != j:
                out[j, i] = block.T
            done += _size(i) * _size(j)
        self.tiled._report(total, total)
        assert out is not None  # of no images there is no plan
        return out

    def block(self, i: slice, j: slice, one: Images, two: Images) -> Tensor:
        block = of_prepared(self.tiled.kernel, one, two)
        return mirror(block) if self.symmetric and i == j else block


class _Tiles(Function):
    """A matrix by tiles with its derivative. No tile's graph outlives the tile: kept until the backward pass, even an
    empty one (``torch.utils.checkpoint``) lies between the large blocks that were freed and spoils them for others."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, x1: Tensor, x2: Tensor | None) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(x1, x2)
        with torch.enable_grad():  # the values of the way that is differentiated
            return plan.whole(values=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        plan, (x1, x2) = ctx.plan, ctx.saved_tensors
        again = torch.is_grad_enabled()  # this derivative is to be differentiated itself: the tiles' graphs are kept
        second = x1 if plan.symmetric else x2
        asked = ctx.needs_input_grad[1], ctx.needs_input_grad[1 if plan.symmetric else 2]
        found = [torch.zeros_like(x) if wanted else None for x, wanted in zip((x1, second), asked, strict=True)]
        if plan.symmetric:
            found[1] = found[0]
        for i, j in reversed(plan.work):
            given = gradient[i, j] + gradient[j, i].T if plan.symmetric and i != j else gradient[i, j]
            sides = [
                (x[rows] if again else x[rows].detach().requires_grad_()) if wanted else kept[rows]
                for x, kept, rows, wanted in zip((x1, second), (plan.one, plan.two), (i, j), asked, strict=True)
            ]
            with torch.enable_grad():
                block = plan.block(i, j, *sides)
            leaves = [side for side, wanted in zip(sides, asked, strict=True) if wanted]
            parts = iter(torch.autograd.grad(block, leaves, given, create_graph=again))
            for total, rows in zip(found, (i, j), strict=True):
                if total is not None:
                    total[rows] += next(parts)
        return None, found[0], None if plan.symmetric else found[1]


def tiled(kernel: KernelFunction, tile_bytes: float | None = None, progress: Progress | None = None) -> TiledKernel:
    """Wrap ``kernel`` so that it runs by tiles; see TiledKernel."""
    return TiledKernel(kernel, tile_bytes, progress)


def tile_sides(n1: int, n2: int, pairs: float, square: bool) -> tuple[int, int]:
    """Rows and columns of a tile of at most so many pairs; a short side leaves its room to the other."""
    side = max(1, int(pairs**0.5))
    if square:
        return side, side
    width = max(1, min(n2, int(pairs / max(1, min(n1, side)))))
    return max(1, min(n1, int(pairs / width))), width


def tile_bytes(device: torch.device) -> float:
    """Working memory of a tile there."""
    return TILE_BYTES["cuda" if device.type == "cuda" else "cpu"]


def untiled(kernel: KernelFunction) -> KernelFunction:
    """The kernel inside the tiles: the one that may have the capabilities of ``protocols``."""
    return kernel.kernel if isinstance(kernel, TiledKernel) else kernel


def prepared(kernel: KernelFunction, x: Images) -> Images:
    """Images with what the kernel computes of each one alone, where it does that once for each."""
    inside = untiled(kernel)
    return inside.prepare(x) if isinstance(inside, PreparingKernel) else x


def of_prepared(kernel: KernelFunction, one: Images, two: Images | None = None) -> Tensor:
    """The kernel of images that may be ``prepared``: what a kernel has prepared it takes in their place.

    Raises SpecError for an answer that is no [n1, n2]: a kernel may be anybody's.
    """
    call: Callable[[Any, Any], Any] = kernel
    found, shape = call(one, two), (len(one), len(one if two is None else two))
    if checks.tensor(found, "What the kernel gives").shape != shape:
        raise SpecError(
            f"The kernel gives shape {tuple(found.shape)} for {shape[0]} and {shape[1]} images, not {shape}."
        )
    return found


def in_double(kernel: KernelFunction, x1: Tensor, x2: Tensor) -> Tensor:
    """The kernel in double precision, [n1, n2]; x2 [n2, C, H, W] is converted by parts: of 50,000 images more than a
    gigabyte as a whole."""
    x1 = x1.double()
    return torch.cat([kernel(x1, part.double()) for part in x2.split(CONVERTED)], 1)


def frozen(kernel: KernelFunction) -> KernelFunction:
    """The kernel as it is now: that of a net keeps the weights of now, any other one is given back."""
    inside = untiled(kernel)
    if not isinstance(inside, FreezableKernel):
        return kernel
    still = inside.frozen()
    return replace(kernel, kernel=still) if isinstance(kernel, TiledKernel) else still


def mirror(square: Tensor) -> Tensor:
    """The upper triangle of a square block, mirrored below: exactly symmetric."""
    return torch.triu(square) + torch.triu(square, 1).T


def mirror_(square: Tensor, block: int = 512) -> Tensor:
    """The same in place, beside a few blocks: what lies above the diagonal also below it."""
    for rows in slices(len(square), block):
        square[rows.stop :, rows] = square[rows, rows.stop :].T
        square[rows, rows] = mirror(square[rows, rows])
    return square


def slices(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover range(n)."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _first(x: Images) -> Images:
    return x[:1].detach() if isinstance(x, Tensor) else x[:1]


def _size(rows: slice) -> int:
    return rows.stop - rows.start
