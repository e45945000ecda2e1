"""Kernels of pooled ReLU nets by the compiled loops of ``planes``, on the CPU: matrices of pairs, divided over threads.

The plain way of ``infinite`` carries all pairs of positions of many image pairs from layer to layer and is bound by
memory; here each thread takes ``LANES`` pairs of images through the whole net. The plain way remains for gradients,
GPUs, erf nets and other precisions, and as the independent check::

    if covers(net, images):
        k, t = matrix(net, prepare(net, images), None)   # [n, n] twice, before what follows the flattening
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels import planes
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
    return images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64) and _covers(net)


@lru_cache
def _covers(net: Net) -> bool:
    """Pools, convolutions and ReLU up to a flattening; behind it no activation, whose variances would be others."""
    flattening = _flattening(net)
    if not net.spatial_pairs or flattening is None:
        return False
    before, behind = net.layers[:flattening], net.layers[flattening + 1 :]
    return all(
        isinstance(layer, Conv | AvgPool) or (isinstance(layer, Activation) and layer.name == "relu")
        for layer in before
    ) and all(isinstance(layer, Dense) for layer in behind)


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
    work = [slice(a, a + planes.LANES) for a in range(0, len(images), planes.LANES)]
    constants = planes.constants(x1.dtype.type)
    with ThreadPoolExecutor(_threads()) as pool:
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
    rows, columns = len(one), len(one if two is None else two)
    out = np.empty((2, rows, columns), one.images.numpy().dtype)

    def put(i: np.ndarray, j: np.ndarray, values: np.ndarray) -> None:
        out[:, i, j] = values
        if two is None:
            out[:, j, i] = values

    lines = ((i, np.arange(i if two is None else 0, columns)) for i in range(rows))
    total = rows * (rows + 1) / 2 if two is None else rows * columns
    _run(net, one, two or one, lines, total, put, report)
    if out.dtype == np.float32:
        i, j = _close(out[0], one, one if two is None else two)
        upper = i <= j if two is None else slice(None)
        put(i[upper], j[upper], _in_double(net, one, one if two is None else two, i[upper], j[upper]))
    return torch.from_numpy(out[0]), torch.from_numpy(out[1])


def matched(net: Net, one: Prepared, two: Prepared) -> tuple[Tensor, Tensor]:
    """NNGP and NTK [n] of images one by one, in the images' precision throughout."""
    n = len(one)
    out = np.empty((2, n), one.images.numpy().dtype)

    def put(i: np.ndarray, j: np.ndarray, values: np.ndarray) -> None:
        out[:, i] = values

    _run(net, one, two, ((i, np.array([i])) for i in range(n)), n, put, None)
    return torch.from_numpy(out[0]), torch.from_numpy(out[1])


def _close(nngp: np.ndarray, one: Prepared, two: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose cosine at the flattening is within CLOSE of 1."""
    lengths = [side.own.sqrt().numpy() for side in (one, two)]
    return np.nonzero(nngp > (1 - CLOSE) * lengths[0][:, None] * lengths[1])


def _in_double(net: Net, one: Prepared, two: Prepared, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """[2, pairs], a bounded number at a time."""
    parts = []
    for start in range(0, len(i), DOUBLES):
        pairs = slice(start, start + DOUBLES)
        sides = [side.images[index[pairs]].double() for side, index in ((one, i), (two, j))]
        parts.append(np.stack([k.numpy() for k in matched(net, *(prepare(net, u) for u in sides))]))
    return np.concatenate(parts, 1) if parts else np.empty((2, 0))


# -- the work and its threads ------------------------------------------------------------------------------------------


def _run(
    net: Net,
    one: Prepared,
    two: Prepared,
    lines: Iterator[tuple[int, np.ndarray]],
    total: float,
    put: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
    report: Report | None,
) -> None:
    """Pairs (i, [j]) in portions to threads; their results to ``put``. What ``report`` raises ends it."""
    height, width = one.shape[2:]
    x1, x2 = _pixels(one.images)[0], _pixels(two.images)[1]
    stack = _stack(net, height, width, x1.dtype.type, False)
    sides1 = _both(one.images, one.variances)
    sides2 = sides1 if two is one else _both(two.images, two.variances)
    constants = planes.constants(x1.dtype.type)
    portion = int(SECONDS / (PER_NUMBER * _numbers(stack)) // planes.LANES + 1) * planes.LANES

    def task(i: np.ndarray, j: np.ndarray) -> int:
        values = np.empty((2, len(i)), x1.dtype)
        planes.pairs(stack, x1, x2, sides1, sides2, i, j, constants, values)
        put(i, j, values)
        return len(i)

    done, running = 0, set()
    threads = _threads()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for i, j in _portions(lines, portion):
                if report is not None:
                    report(done, total)
                if len(running) >= 2 * threads:
                    done += _collect(running)
                running.add(pool.submit(task, i, j))
            while running:
                done += _collect(running)
                if report is not None:
                    report(done, total)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _collect(running: set[Future[int]]) -> int:
    """Wait for one at least, take what is finished out -> pairs done."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    running -= finished
    return sum(future.result() for future in finished)


def _portions(lines: Iterator[tuple[int, np.ndarray]], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs of all lines, ``size`` at a time."""
    i, j, held = [], [], 0
    for row, columns in lines:
        i.append(np.full(len(columns), row))
        j.append(columns)
        held += len(columns)
        if held >= size:
            first, second = np.concatenate(i), np.concatenate(j)
            whole = held // size * size
            for start in range(0, whole, size):
                yield first[start : start + size], second[start : start + size]
            i, j, held = [first[whole:]], [second[whole:]], held - whole
    if held:
        yield np.concatenate(i), np.concatenate(j)


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
    steps = np.diff(stack.starts) + 1
    return float((steps * (stack.heights * stack.widths) ** 2).sum())


def _pixels(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """[n, positions, C], divided by C and not."""
    pixels = np.ascontiguousarray(images.detach().flatten(2).transpose(1, 2).numpy())
    return pixels / pixels.dtype.type(pixels.shape[2]), pixels


def _both(images: Tensor, variances: tuple[Tensor, ...]) -> np.ndarray:
    """[n, 2, all sides]: sqrt of the variances, as ``covariance.scale`` keeps it above zero, and its inverse."""
    flat = torch.cat([q.detach().flatten(0, -2) for q in variances] or [images.new_empty(0, len(images))]).T
    side = flat.clamp(min=4 * torch.finfo(flat.dtype).tiny).sqrt()
    return torch.stack([side, 1 / side], 1).contiguous().numpy()
