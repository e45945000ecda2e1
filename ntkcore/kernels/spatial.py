"""Kernels of convolutional ReLU nets by the compiled loops of ``planes``, on the CPU: matrices, divided over threads.

The plain way of ``infinite`` carries whole covariances of many image pairs from layer to layer and is bound by memory;
here each thread takes ``LANES`` pairs of images through the whole net. The plain way remains for gradients, GPUs, erf
nets and other precisions, and as the independent check::

    if covers(net, images):
        k, t = matrix(net, prepare(net, images), None)   # [n, n] twice, before what follows the flattening
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels import planes
from ntkcore.kernels.blocks import slices
from ntkcore.kernels.prepared import Prepared
from ntkcore.nets import Activation, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Net

Report = Callable[[float, float], None]  # (done, total) in pairs; may raise

SECONDS = 0.05  # of one thread's work between two reports
PER_NUMBER = 2e-9  # seconds, about, for a number of a plane and a step
EVERYWHERE = 1 << 30
CLOSE = 1e-4  # 1 - cosine at the flattening, below which a pair is computed in double precision
DOUBLES = 1024  # pairs at a time


def covers(net: Net, images: Tensor) -> bool:
    """Whether the loops can take these images through this net."""
    return images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64) and covers_net(net)


@lru_cache
def covers_net(net: Net) -> bool:
    """Pools, convolutions and ReLU up to a flattening; behind it no activation, whose variances would be others."""
    flattening = _flattening(net)
    if not flattening:
        return False
    before = all(
        isinstance(layer, Conv | AvgPool) or (isinstance(layer, Activation) and layer.name == "relu")
        for layer in net.layers[:flattening]
    )
    return before and all(isinstance(layer, Dense) for layer in behind(net))


def behind(net: Net) -> tuple[Dense, ...]:
    """The layers after the flattening."""
    return net.layers[_flattening(net) + 1 :]


def prepare(net: Net, images: Tensor) -> Prepared:
    """The variances before every activation, [H, W, n]; in single precision each image's own NNGP too."""
    found = Prepared(images, _variances(net, images))
    if images.dtype == torch.float64:
        return found
    return Prepared(images, found.variances, matched(net, found, found)[0])


def _variances(net: Net, images: Tensor) -> tuple[Tensor, ...]:
    stack = _stack(net, images.shape[2], images.shape[3], images.numpy().dtype.type, True)
    x1, x2 = _pixels(images)
    found = np.empty((len(images), _sides(stack)), x1.dtype)
    constants = planes.constants(x1.dtype.type)
    with ThreadPoolExecutor(_threads()) as pool:
        work = slices(len(images), planes.LANES)
        list(pool.map(lambda s: planes.variances(stack, x1[s], x2[s], constants, found[s]), work))
    out, start = [], 0
    for height, width in _activations(stack):
        part = found[:, start : start + height * width]
        out.append(torch.from_numpy(part.T.reshape(height, width, -1).copy()))
        start += height * width
    return tuple(out)


def matrix(net: Net, one: Prepared, two: Prepared | None, report: Report | None = None) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n1, n2] at the flattening; two = None: [n, n], only pairs i <= j computed, exactly symmetric.

    In single precision pairs of images that nearly coincide are computed again in double: where the angle is as small
    as the rounding of its cosine, float32 alone would be off by 2e-4. There are few of them, so it costs little.
    """
    upper, two = two is None, two or one
    work = _Work.of(net, one, two)
    out = np.empty((2, len(one), len(two)), work.dtype)

    def task(part: _Tile | _Pairs) -> None:
        values = np.empty((2, *part.shape), work.dtype)
        if isinstance(part, _Pairs):
            planes.pairs(*work.arrays, part.first, part.second, work.constants, values)
            out[:, part.first, part.second] = values
        else:
            planes.tile(*work.arrays, part.rows, part.columns, upper, work.constants, values)
            out[:, slice(*part.rows), slice(*part.columns)] = values

    _in_threads(task, work.pairs(upper) if net.spatial_pairs else work.tiles(upper), work.total(upper), report)
    if work.dtype == np.float32:
        i, j = _close(out[0], one, two)
        if upper:
            i, j = i[i <= j], j[i <= j]
        out[:, i, j] = _in_double(net, one, two, i, j)
    k, t = torch.from_numpy(out)
    return (k.triu() + k.triu(1).T, t.triu() + t.triu(1).T) if upper else (k, t)


def matched(net: Net, one: Prepared, two: Prepared) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n] of images one by one, in the images' precision throughout."""
    work = _Work.of(net, one, two)
    out = np.empty((2, len(one)), work.dtype)

    def task(part: _Pairs) -> None:
        values = np.empty((2, *part.shape), work.dtype)
        planes.pairs(*work.arrays, part.first, part.second, work.constants, values)
        out[:, part.first] = values

    every = np.arange(len(one))
    _in_threads(task, (_Pairs(every[s], every[s]) for s in slices(len(one), work.portion)), len(one), None)
    k, t = torch.from_numpy(out)
    return k, t


def _close(nngp: np.ndarray, one: Prepared, two: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose cosine at the flattening is within CLOSE of 1."""
    lengths = [side.own.sqrt().numpy() for side in (one, two)]
    return np.nonzero(nngp > (1 - CLOSE) * lengths[0][:, None] * lengths[1])


def _in_double(net: Net, one: Prepared, two: Prepared, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """[2, pairs], a bounded number at a time."""
    parts = []
    for pairs in slices(len(i), DOUBLES):
        sides = [side.images[index[pairs]].double() for side, index in ((one, i), (two, j))]
        parts.append(np.stack([k.numpy() for k in matched(net, *(prepare(net, u) for u in sides))]))
    return np.concatenate(parts, 1) if parts else np.empty((2, 0))


# -- the work and its threads ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tile:
    """Ranges (start, stop) of rows and columns, and how many pairs of them are wanted."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    size: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]


@dataclass(frozen=True)
class _Pairs:
    """Images of the rows and of the columns, one by one."""

    first: np.ndarray
    second: np.ndarray

    @property
    def shape(self) -> tuple[int]:
        return self.first.shape

    @property
    def size(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class _Work:
    """What the loops need of a net and of the images of both sides; portion: pairs that take about SECONDS."""

    arrays: tuple
    constants: np.ndarray
    portion: int
    rows: int
    columns: int

    @classmethod
    def of(cls, net: Net, one: Prepared, two: Prepared) -> "_Work":
        x1, x2 = _pixels(one.images)[0], _pixels(two.images)[1]
        stack = _stack(net, one.shape[2], one.shape[3], x1.dtype.type, False)
        sides = _both(one)
        arrays = stack, x1, x2, sides, sides if two is one else _both(two)
        portion = int(SECONDS / (PER_NUMBER * _numbers(stack)) // planes.LANES + 1) * planes.LANES
        return cls(arrays, planes.constants(x1.dtype.type), portion, len(one), len(two))

    @property
    def dtype(self) -> np.dtype:
        return self.constants.dtype

    def total(self, upper: bool) -> float:
        return self.rows * (self.rows + 1) / 2 if upper else self.rows * self.columns

    def pairs(self, upper: bool) -> Iterator[_Pairs]:
        """Row by row, ``portion`` at a time; upper: only i <= j."""
        first, second = np.empty(0, np.int64), np.empty(0, np.int64)
        for row in range(self.rows):
            columns = np.arange(row if upper else 0, self.columns)
            first, second = np.append(first, np.full(len(columns), row)), np.append(second, columns)
            while len(first) >= self.portion:
                yield _Pairs(first[: self.portion], second[: self.portion])
                first, second = first[self.portion :], second[self.portion :]
        if len(first):
            yield _Pairs(first, second)

    def tiles(self, upper: bool) -> Iterator[_Tile]:
        """Some lanes of columns, laid side by side once a tile; upper: those with pairs i <= j."""
        across = planes.LANES * max(1, min(8, int(self.portion**0.5) // planes.LANES))
        down = max(1, self.portion // across)
        for columns in slices(self.columns, across):
            for rows in slices(min(self.rows, columns.stop) if upper else self.rows, down):
                starts = np.maximum(columns.start, np.arange(rows.start, rows.stop)) if upper else columns.start
                pairs = int(np.sum(np.broadcast_to(columns.stop - starts, rows.stop - rows.start)))
                yield _Tile((rows.start, rows.stop), (columns.start, columns.stop), pairs)


def _in_threads(task: Callable, parts: Iterable[_Tile | _Pairs], total: float, report: Report | None) -> None:
    """``task`` of every part; what ``report`` raises ends it, within the time of one part."""
    done, threads = 0.0, _threads()
    running: dict[Future[None], int] = {}

    def collect() -> None:
        nonlocal done
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            future.result()
            done += running.pop(future)

    def tell() -> None:
        if report is not None:
            report(done, total)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                tell()
                if len(running) >= 2 * threads:
                    collect()
                running[pool.submit(task, part)] = part.size
            while running:
                collect()
                tell()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _threads() -> int:
    return min(torch.get_num_threads(), os.cpu_count() or 1)


# -- a net and images as arrays ----------------------------------------------------------------------------------------


def _flattening(net: Net) -> int | None:
    return next((i for i, layer in enumerate(net.layers) if isinstance(layer, Flatten | GlobalAvgPool)), None)


@lru_cache(32)
def _stack(net: Net, height: int, width: int, dtype: type, diagonal: bool) -> planes.Stack:
    """diagonal: only the displacements that variances behind the pools need."""
    flattening = _flattening(net)
    heights, widths, starts = [height], [width], [0]
    weight, bias, side = [], [], []
    sides = 0
    for layer in net.layers[:flattening]:
        if isinstance(layer, AvgPool):
            starts.append(len(weight))
            heights.append(heights[-1] // 2)
            widths.append(widths[-1] // 2)
        elif isinstance(layer, Conv):
            weight.append(layer.W_std**2 / 9)
            bias.append(layer.b_std**2)
            side.append(-1)
        else:
            if len(weight) == starts[-1] or side[-1] >= 0:  # no convolution before it
                weight.append(0.0)
                bias.append(0.0)
                side.append(-1)
            side[-1] = sides
            sides += heights[-1] * widths[-1]
    starts.append(len(weight))
    flatten = isinstance(net.layers[flattening], Flatten)
    radius = [0 if diagonal or flatten else EVERYWHERE]
    for _ in heights[1:]:
        radius.insert(0, min(2 * radius[0] + 1, EVERYWHERE))
    return planes.Stack(
        *(np.array(a, np.int64) for a in (heights, widths, starts)),
        *(np.array(a, dtype) for a in (weight, bias)),
        *(np.array(a, np.int64) for a in (side, radius)),
        flatten,
    )


def _activations(stack: planes.Stack) -> Iterator[tuple[int, int]]:
    """(height, width) at every activation."""
    for level, (height, width) in enumerate(zip(stack.heights, stack.widths, strict=True)):
        for step in range(stack.starts[level], stack.starts[level + 1]):
            if stack.side[step] >= 0:
                yield int(height), int(width)


def _sides(stack: planes.Stack) -> int:
    return sum(height * width for height, width in _activations(stack))


def _numbers(stack: planes.Stack) -> float:
    """Numbers of all planes and steps of one image pair."""
    positions, every = stack.heights * stack.widths, 2 * np.minimum(stack.radius, EVERYWHERE) + 1
    taken = positions * np.minimum(positions, every.astype(float) ** 2)
    return float(((np.diff(stack.starts) + 1) * taken).sum())


def _pixels(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """[n, positions, C], divided by C and not."""
    pixels = np.ascontiguousarray(images.detach().flatten(2).transpose(1, 2).numpy())
    return pixels / pixels.dtype.type(pixels.shape[2]), pixels


def _both(side: Prepared) -> np.ndarray:
    """[n, 2, all sides]: sqrt of the variances, as ``covariance.scale`` keeps it above zero, and its inverse."""
    flat = torch.cat([q.detach().flatten(0, -2) for q in side.variances] or [side.images.new_empty(0, len(side))]).T
    root = flat.clamp(min=4 * torch.finfo(flat.dtype).tiny).sqrt()
    return torch.stack([root, 1 / root], 1).contiguous().numpy()
