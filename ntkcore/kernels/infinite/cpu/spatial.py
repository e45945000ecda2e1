"""Kernels of convolutional ReLU nets on the CPU, by the compiled loops of ``spatial_loops`` in several threads.

The recursion in torch carries whole covariances of many image pairs from layer to layer and is bound by memory; here
each thread takes ``LANES`` pairs of images through the whole net. The recursion remains for gradients, GPUs, erf nets
and other precisions, and as the independent check. A backend (``ntkcore.kernels.infinite.backend``)::

    if covers(net, images):
        K = matrix(net, "ntk", prepare(net, images), None)      # [n, n]
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.blocks import mirror_, slices
from ntkcore.kernels.infinite.backend import KernelKind, Report
from ntkcore.kernels.infinite.cpu import spatial_loops
from ntkcore.kernels.infinite.prepared import CLOSE, MANY, Prepared, roots
from ntkcore.kernels.infinite.relu_nets import before, flattening, from_flattening, is_convolutional
from ntkcore.kernels.loops.arccosine import constants
from ntkcore.kernels.loops.vectors import compiled_for, threads
from ntkcore.nets import AvgPool, Conv, Flatten, Net

SECONDS = 0.05  # of one thread's work between two reports
PER_NUMBER = 2e-9  # seconds, about, for a number of a plane and a step
EVERYWHERE = 1 << 30


def covers(net: Net, images: Tensor) -> bool:
    """Whether the loops can take these images through this net."""
    return images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64) and is_convolutional(net)


def ready(dtype: torch.dtype) -> bool:
    """Whether this process has loops for a precision; the first ones ever take some seconds to compile."""
    return compiled_for(spatial_loops.variances, dtype)


def prepare(net: Net, images: Tensor) -> Prepared:
    """The variances before every activation, [H, W, n]; in single precision each image's own NNGP too."""
    found = Prepared(images, _variances(net, images))
    return found if images.dtype == torch.float64 else replace(found, own=_own(net, found))


def _variances(net: Net, images: Tensor) -> tuple[Tensor, ...]:
    x2 = _pixels(images)
    x1 = _mean_over_channels(x2)
    stack = _stack(net, images.shape[2], images.shape[3], x2.dtype, True)
    found = np.empty((len(images), _count(stack)), x2.dtype)
    c = constants(x2.dtype.type)
    with ThreadPoolExecutor(threads()) as pool:
        work = slices(len(images), spatial_loops.LANES)
        list(pool.map(lambda s: spatial_loops.variances(stack, x1[s], x2[s], c, found[s]), work))
    out, start = [], 0
    for height, width in _activations(stack):
        part = found[:, start : start + height * width]
        out.append(torch.from_numpy(part.T.reshape(height, width, -1).copy()))
        start += height * width
    return tuple(out)


def matrix(net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None = None) -> Tensor:
    """[n1, n2]; two = None: [n, n], only pairs i <= j computed, exactly symmetric.

    In single precision pairs of images that nearly coincide are computed in double: where angles are as small as the
    rounding of their cosines, float32 alone would be off by up to 1e-3. Where such pairs are many, all of it is.
    """
    upper, two = two is None, one if two is None else two
    work = _Work.of(net, one, two)
    out = torch.empty(len(one), len(two), dtype=one.dtype, device="cpu")
    single, close, found = one.dtype == torch.float32, [], 0
    lengths = [_own(net, side).sqrt().numpy() for side in (one, two)] if single else []

    def task(part: _Tile | _Pairs) -> None:
        nonlocal found
        k, t = work.values(part, upper)
        part.put(out, from_flattening(net, kind, torch.from_numpy(k), torch.from_numpy(t)))
        if single:
            i, j = np.broadcast_arrays(*part.grid)
            near = k > (1 - CLOSE) * lengths[0][i] * lengths[1][j]
            near &= (i <= j) | (not upper)
            close.append((i[near], j[near]))
            found += int((near & (i != j)).sum() if upper else near.sum())

    def reported(done: float, total: float) -> None:
        if report is not None:
            report(done, total)
        if found > MANY * total:
            raise _TooClose

    try:
        _in_threads(task, work.pairs(upper) if net.spatial_pairs else work.tiles(upper), work.total(upper), reported)
    except _TooClose:
        double = [prepare(net, side.images.double()) for side in ((one,) if upper else (one, two))]
        return matrix(net, kind, double[0], None if upper else double[1], report).float()
    if close:
        i, j = (np.concatenate(side) for side in zip(*close, strict=True))
        _Pairs(i, j).put(out, from_flattening(net, kind, *_in_double(net, one, two, i, j)).float())
    return mirror_(out) if upper else out


def matched(net: Net, kind: KernelKind, one: Prepared, two: Prepared) -> Tensor:
    """[n] of images one by one, in the images' precision throughout."""
    return from_flattening(net, kind, *_each(net, one, two))


def _each(net: Net, one: Prepared, two: Prepared) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n] of images one by one at the flattening."""
    every = np.arange(len(one))
    return _listed(net, one, two, every, every)


class _TooClose(Exception):
    """Too many pairs nearly coincide for single precision to be worth it."""


def _own(net: Net, side: Prepared) -> Tensor:
    """NNGP of each image with itself."""
    return _each(net, side, side)[0] if side.own is None else side.own


def _listed(net: Net, one: Prepared, two: Prepared, i: np.ndarray, j: np.ndarray) -> tuple[Tensor, Tensor]:
    """NNGP and NTK of listed pairs (i, j)."""
    work = _Work.of(net, one, two)
    out = np.empty((2, len(i)), work.x1.dtype)

    def task(part: _Pairs) -> None:
        out[:, part.start : part.start + part.size] = work.values(part, False)

    parts = (_Pairs(i[at], j[at], at.start) for at in slices(len(i), work.portion))
    _in_threads(task, parts, len(i), None)
    k, t = torch.from_numpy(out)
    return k, t


def _in_double(net: Net, one: Prepared, two: Prepared, i: np.ndarray, j: np.ndarray) -> tuple[Tensor, Tensor]:
    """The same in double precision, each image prepared once."""
    (rows, i), (columns, j) = np.unique(i, return_inverse=True), np.unique(j, return_inverse=True)
    first, second = (prepare(net, side.images[index].double()) for side, index in ((one, rows), (two, columns)))
    return _listed(net, first, second, i, j)


# -- the work and its threads ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tile:
    """Ranges (start, stop) of rows and columns, and how many pairs of them are wanted."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    size: int

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(*self.rows)[:, None], np.arange(*self.columns)[None]

    def put(self, out: Tensor, values: Tensor) -> None:
        out[slice(*self.rows), slice(*self.columns)] = values


@dataclass(frozen=True)
class _Pairs:
    """Images of the rows and of the columns, one by one."""

    first: np.ndarray
    second: np.ndarray
    start: int = 0  # place in a longer list

    @property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        return self.first, self.second

    def put(self, out: Tensor, values: Tensor) -> None:
        out[torch.from_numpy(self.first), torch.from_numpy(self.second)] = values

    @property
    def size(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class _Work:
    """What the loops need: a net, pixels of both sides (of the rows divided by C), the roots of their variances; and
    the pairs that take about SECONDS."""

    stack: spatial_loops.Stack
    x1: np.ndarray
    x2: np.ndarray
    roots1: np.ndarray
    roots2: np.ndarray
    portion: int

    @classmethod
    def of(cls, net: Net, one: Prepared, two: Prepared) -> "_Work":
        x1, x2 = _pixels(one.images), _pixels(two.images)
        stack = _stack(net, one.shape[2], one.shape[3], x1.dtype, False)
        roots = _roots(one)
        portion = int(SECONDS / (PER_NUMBER * _numbers(stack)) // spatial_loops.LANES + 1) * spatial_loops.LANES
        return cls(stack, _mean_over_channels(x1), x2, roots, roots if two is one else _roots(two), portion)

    def values(self, part: "_Tile | _Pairs", upper: bool) -> np.ndarray:
        """[2, ...]: NNGP and NTK of a part; upper: 0 where i > j is left out."""
        arrays = self.stack, self.x1, self.x2, self.roots1, self.roots2
        c = constants(self.x1.dtype.type)
        if isinstance(part, _Pairs):
            out = np.empty((2, part.size), self.x1.dtype)
            spatial_loops.pairs(*arrays, part.first, part.second, c, out)
        else:
            out = np.zeros((2, *(stop - start for start, stop in (part.rows, part.columns))), self.x1.dtype)
            spatial_loops.tile(*arrays, part.rows, part.columns, upper, c, out)
        return out

    def total(self, upper: bool) -> float:
        rows, columns = len(self.x1), len(self.x2)
        return rows * (rows + 1) / 2 if upper else rows * columns

    def pairs(self, upper: bool) -> Iterator[_Pairs]:
        """Row by row, ``portion`` at a time; upper: only i <= j."""
        first, second = np.empty(0, np.int64), np.empty(0, np.int64)
        for row in range(len(self.x1)):
            columns = np.arange(row if upper else 0, len(self.x2))
            first, second = np.append(first, np.full(len(columns), row)), np.append(second, columns)
            while len(first) >= self.portion:
                yield _Pairs(first[: self.portion], second[: self.portion])
                first, second = first[self.portion :], second[self.portion :]
        if len(first):
            yield _Pairs(first, second)

    def tiles(self, upper: bool) -> Iterator[_Tile]:
        """Some lanes of columns, laid side by side once a tile; upper: those with pairs i <= j."""
        across = spatial_loops.LANES * max(1, min(8, int(self.portion**0.5) // spatial_loops.LANES))
        down = max(1, self.portion // across)
        for columns in slices(len(self.x2), across):
            for rows in slices(min(len(self.x1), columns.stop) if upper else len(self.x1), down):
                starts = np.maximum(columns.start, np.arange(rows.start, rows.stop)) if upper else columns.start
                pairs = int(np.sum(np.broadcast_to(columns.stop - starts, rows.stop - rows.start)))
                yield _Tile((rows.start, rows.stop), (columns.start, columns.stop), pairs)


def _in_threads(task: Callable, parts: Iterable[_Tile | _Pairs], total: float, report: Report | None) -> None:
    """``task`` of every part; what ``report`` raises ends it, within the time of one part."""
    done, workers = 0.0, threads()
    running: dict[Future[None], int] = {}

    def collect() -> None:
        nonlocal done
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            future.result()
            done += running.pop(future)

    def tell() -> None:
        if report is not None:
            report(done, total)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for part in parts:
                tell()
                if len(running) >= 2 * workers:
                    collect()
                running[pool.submit(task, part)] = part.size
            while running:
                collect()
                tell()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


# -- a net and images as arrays ----------------------------------------------------------------------------------------


@lru_cache(32)
def _stack(net: Net, height: int, width: int, dtype: np.dtype, diagonal: bool) -> spatial_loops.Stack:
    """diagonal: only the displacements that variances behind the pools need."""
    heights, widths, starts = [height], [width], [0]
    weight: list[float] = []
    bias: list[float] = []
    first: list[int] = []
    variances = 0
    for layer in before(net):
        if isinstance(layer, AvgPool):
            starts.append(len(weight))
            heights.append(heights[-1] // 2)
            widths.append(widths[-1] // 2)
        elif isinstance(layer, Conv):
            weight.append(layer.W_std**2 / 9)
            bias.append(layer.b_std**2)
            first.append(-1)
        else:
            if len(weight) == starts[-1] or first[-1] >= 0:  # no convolution before it
                weight.append(0.0)
                bias.append(0.0)
                first.append(-1)
            first[-1] = variances
            variances += heights[-1] * widths[-1]
    starts.append(len(weight))
    flatten = isinstance(net.layers[flattening(net)], Flatten)
    radius = [0 if diagonal or flatten else EVERYWHERE]
    for _ in heights[1:]:
        radius.insert(0, min(2 * radius[0] + 1, EVERYWHERE))
    return spatial_loops.Stack(
        np.array(heights, np.int64),
        np.array(widths, np.int64),
        np.array(starts, np.int64),
        np.array(weight, dtype),
        np.array(bias, dtype),
        np.array(first, np.int64),
        np.array(radius, np.int64),
        flatten,
    )


def _activations(stack: spatial_loops.Stack) -> Iterator[tuple[int, int]]:
    """(height, width) at every activation."""
    for level, (height, width) in enumerate(zip(stack.heights, stack.widths, strict=True)):
        for step in range(stack.starts[level], stack.starts[level + 1]):
            if stack.first[step] >= 0:
                yield int(height), int(width)


def _count(stack: spatial_loops.Stack) -> int:
    return sum(height * width for height, width in _activations(stack))


def _numbers(stack: spatial_loops.Stack) -> float:
    """Numbers of all planes and steps of one image pair."""
    positions, every = stack.heights * stack.widths, 2 * np.minimum(stack.radius, EVERYWHERE) + 1
    taken = positions * np.minimum(positions, every.astype(float) ** 2)
    return float(((np.diff(stack.starts) + 1) * taken).sum())


def _pixels(images: Tensor) -> np.ndarray:
    """[n, positions, C]."""
    return np.ascontiguousarray(images.detach().flatten(2).transpose(1, 2).numpy())


def _mean_over_channels(pixels: np.ndarray) -> np.ndarray:
    """Divided by C, on one side of every product."""
    return pixels / pixels.dtype.type(pixels.shape[2])


def _roots(side: Prepared) -> np.ndarray:
    """[n, 2, all variances]: their square roots, as ``covariance.scale`` keeps them above zero, and the inverse."""
    flat = torch.cat([q.detach().flatten(0, -2) for q in side.variances] or [side.images.new_empty(0, len(side))]).T
    return roots(flat).transpose(0, 1).contiguous().numpy()
