"""Compiled loops for kernels of convolutional nets: covariances of pixel pairs, one displacement at a time.

A 3x3 convolution moves the covariance ``k[p, q]`` of two images along p and q together, so it never leaves the plane of
a displacement ``d = q - p``: there it is an ordinary 3x3 box sum with zero padding, and an activation acts on every
number alone. A stack of (convolution, ReLU) therefore runs plane by plane, each plane small enough for the processor's
first caches, and only a pool brings planes together::

    pool:  k[P, Q] <- mean over p in window P and q in window Q, of the planes d = 2 (Q - P) + {-1, 0, 1} per axis

Nothing of size (HW)^2 is kept before the first pool; without pools, only the plane d = 0 is needed. ``LANES`` image
pairs run side by side, in the last axis of every array. The formulas are those of ``ntkcore.covariance``; the
ReLU's angle is in ``arccosine``::

    tile(stack, x1, x2, roots1, roots2, (0, 8), (0, 64), False, constants(float32), out)
"""

from typing import NamedTuple

import numpy as np

from ntkcore.kernels.loops.arccosine import angle
from ntkcore.kernels.loops.vectors import LANES, below, compiled, inlined, load, root, spread, store


class Stack(NamedTuple):
    """A net up to its flattening, at one image size.

    heights, widths [levels]: of the image before the first pool, after it, ... starts [levels + 1]: where each level's
    steps begin. A step is a convolution (weight = W^2 / 9, bias = b^2; weight 0: none) and then a ReLU, whose variances
    begin at ``first`` (-1: no ReLU). radius [levels]: largest displacement per axis that is needed. flatten: the last
    level ends with the mean over p = q, otherwise with the mean over all p and q.
    """

    heights: np.ndarray
    widths: np.ndarray
    starts: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    first: np.ndarray
    radius: np.ndarray
    flatten: bool


# -- pairs of images ---------------------------------------------------------------------------------------------------


@compiled
def tile(stack, x1, x2, roots1, roots2, rows, columns, upper, c, out):
    """NNGP and NTK of all pairs of images in ranges of rows and columns, at the flattening.

    x1, x2 [n, positions, C], x1 divided by C; roots1, roots2 [n, 2, count]: roots of the variances and their inverses;
    rows, columns: (start, stop); upper: only pairs i <= j are needed, others may be left out. out [2, rows, columns].
    All arrays of one precision, contiguous. Neighbouring columns are side by side in the lanes.
    """
    images, roots, planes, here, ahead, sums = _space(stack, x1, roots1)
    j = np.empty(LANES, np.int64)
    for first in range(columns[0], columns[1], LANES):
        stop = min(first + LANES, columns[1])
        for lane in range(LANES):
            j[lane] = min(first + lane, stop - 1)
        _put(x2, roots2, j, images[1], roots[2:])
        for row in range(rows[0], rows[1]):
            if upper and row >= stop:
                break
            _spread(x1, roots1, row, images[0], roots[:2])
            here, ahead = _through(stack, images, roots, here, ahead, planes, sums, c)
            for lane in range(stop - first):
                out[:, row - rows[0], first - columns[0] + lane] = sums[:, lane]


@compiled
def pairs(stack, x1, x2, roots1, roots2, first, second, c, out):
    """The same of a list of pairs, x1[first[0]] with x2[second[0]] and so on -> out [2, len(first)]: any pairs side by
    side in the lanes, at the price of laying out both images for each."""
    images, roots, planes, here, ahead, sums = _space(stack, x1, roots1)
    i, j = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for batch in range(0, len(first), LANES):
        for lane in range(LANES):
            pair = min(batch + lane, len(first) - 1)
            i[lane], j[lane] = first[pair], second[pair]
        _put(x1, roots1, i, images[0], roots[:2])
        _put(x2, roots2, j, images[1], roots[2:])
        here, ahead = _through(stack, images, roots, here, ahead, planes, sums, c)
        for lane in range(min(LANES, len(first) - batch)):
            out[:, batch + lane] = sums[:, lane]


@compiled
def _space(stack, x, roots):
    """Working arrays: images and roots of variances of both sides, a plane, a level and the one after it, results."""
    positions, channels, count = x.shape[1], x.shape[2], roots.shape[2]
    held = (stack.heights[1] * stack.widths[1]) ** 2 * LANES if len(stack.heights) > 1 else 0
    return (
        np.empty((2, channels, positions * LANES), x.dtype),
        np.empty((4, count * LANES), x.dtype),
        np.empty((4, positions * LANES), x.dtype),
        np.empty((2, held), x.dtype),
        np.empty((2, held), x.dtype),
        np.empty((2, LANES), x.dtype),
    )


@compiled
def _put(x, roots, of, images, packed):
    """An image in each lane."""
    for lane in range(LANES):
        image = of[lane]
        for p in range(x.shape[1]):
            for channel in range(x.shape[2]):
                images[channel, p * LANES + lane] = x[image, p, channel]
        for p in range(roots.shape[2]):
            for kind in range(2):
                packed[kind, p * LANES + lane] = roots[image, kind, p]


@compiled
def _spread(x, roots, image, images, packed):
    """One image in all lanes."""
    for p in range(x.shape[1]):
        for channel in range(x.shape[2]):
            store(images[channel], p * LANES, spread(x[image, p, channel]))
    for kind in range(2):
        for p in range(roots.shape[2]):
            store(packed[kind], p * LANES, spread(roots[image, kind, p]))


@compiled
def _through(stack, images, roots, here, ahead, planes, sums, c):
    """All levels -> the arrays of levels, as they are used next."""
    for level in range(len(stack.heights)):
        _level(stack, level, images, roots, here, ahead, planes, sums, c)
        here, ahead = ahead, here
    return here, ahead


@compiled
def variances(stack, x1, x2, c, out):
    """The variances of images at the activations: k(x, x)[p, p] -> out [n, count]; x1 is x2 divided by C.

    Before a pool they are a plane alone, d = 0; behind one, planes near it come in: those within stack.radius.
    """
    levels, count = len(stack.heights), out.shape[1]
    unknown = np.empty((1, 2, count), x1.dtype)
    images, roots, planes, here, ahead, sums = _space(stack, x1, unknown)
    nothing, of = np.empty((len(x1), 2, 0), x1.dtype), np.empty(LANES, np.int64)
    for batch in range(0, len(x1), LANES):
        for lane in range(LANES):
            of[lane] = min(batch + lane, len(x1) - 1)
        _put(x1, nothing, of, images[0], roots[:2])
        _put(x2, nothing, of, images[1], roots[2:])
        for level in range(levels):
            _diagonal(stack, level, images, here, roots, planes, c)
            if level < levels - 1:
                _level(stack, level, images, roots, here, ahead, planes, sums, c)
                here, ahead = ahead, here
        for lane in range(min(LANES, len(x1) - batch)):
            for p in range(count):
                out[batch + lane, p] = roots[0, p * LANES + lane] ** 2


@compiled
def _diagonal(stack, level, images, here, roots, planes, c):
    """The plane d = 0 of images with themselves: the roots of the variances at a level's activations."""
    height, width = stack.heights[level], stack.widths[level]
    half, one = spread(c[1]), spread(c[2])
    least = spread(c[8])
    if level == 0:
        _from_images(images, 0, 0, width, height, width, planes, c)
    else:
        _from_pairs(here, 0, 0, height, width, height, width, planes)
    at = 0
    for step in range(stack.starts[level], stack.starts[level + 1]):
        if stack.weight[step] != c[0]:
            _convolve(planes, at, height, width, stack.weight[step], stack.bias[step], c)
            at = 2 - at
        first = stack.first[step]
        if first >= 0:
            for position in range(height * width):
                place, to = position * LANES, (first + position) * LANES
                variance = load(planes[at], place)
                s = root(below(variance, least, least, variance))
                for image in range(2):
                    store(roots[2 * image], to, s)
                    store(roots[2 * image + 1], to, one / s)
                store(planes[at], place, half * variance)


@compiled
def _level(stack, level, images, roots, here, ahead, planes, sums, c):
    """All planes of a level, from ``images`` (the first) or ``here`` to ``ahead`` or (the last) to ``sums``."""
    height, width, radius = stack.heights[level], stack.widths[level], stack.radius[level]
    last = level == len(stack.heights) - 1
    if last:
        sums[:] = c[0]
    else:
        ahead[:, : (stack.heights[level + 1] * stack.widths[level + 1]) ** 2 * LANES] = c[0]
    down, right = min(height - 1, radius), min(width - 1, radius)
    for dy in range(-down, down + 1):
        for dx in range(-right, right + 1):
            rows, columns = height - abs(dy), width - abs(dx)
            top, left = max(0, -dy), max(0, -dx)
            p, q = top * width + left, (top + dy) * width + left + dx  # where the plane begins
            if level == 0:
                _from_images(images, p, q, width, rows, columns, planes, c)
            else:
                _from_pairs(here, p, q, height, width, rows, columns, planes)
            at = 0
            for step in range(stack.starts[level], stack.starts[level + 1]):
                first = stack.first[step]
                if stack.weight[step] != c[0]:
                    _convolve(planes, at, rows, columns, stack.weight[step], stack.bias[step], c)
                    at = 2 - at
                if first >= 0:
                    _relu(planes, at, rows, columns, roots, first + p, first + q, width, c)
            if last:
                _sum(planes, at, rows * columns, sums)
            else:
                high, wide = stack.heights[level + 1], stack.widths[level + 1]
                _pool(planes, at, top, left, dy, dx, rows, columns, high, wide, ahead, c[6])
    if last:
        count = height * width if stack.flatten else (height * width) ** 2
        for lane in range(LANES):
            sums[0, lane], sums[1, lane] = sums[0, lane] / count, sums[1, lane] / count


@compiled
def _from_images(images, p, q, width, rows, columns, planes, c):
    """k = <x_p, x'_q> / C and t = 0."""
    k, t, zero = planes[0], planes[1], spread(c[0])
    for row in range(rows):
        for column in range(columns):
            at = row * width + column
            total = zero
            for channel in range(images.shape[1]):
                one = load(images[0, channel], (p + at) * LANES)
                total = total + one * load(images[1, channel], (q + at) * LANES)
            store(k, (row * columns + column) * LANES, total)
            store(t, (row * columns + column) * LANES, zero)


@compiled
def _from_pairs(here, p, q, height, width, rows, columns, planes):
    """A plane of k[p, q] and t[p, q], which lie as [p, q, lane]."""
    for row in range(rows):
        for column in range(columns):
            a, b = p + row * width + column, q + row * width + column
            at, of = (row * columns + column) * LANES, (a * height * width + b) * LANES
            store(planes[0], at, load(here[0], of))
            store(planes[1], at, load(here[1], of))


@inlined
def _three(plane, at, n, above, under):
    """The number at a place and those above and below it that exist."""
    total = load(plane, at)
    if above:
        total = total + load(plane, at - n)
    if under:
        total = total + load(plane, at + n)
    return total


@compiled
def _convolve(planes, at, rows, columns, weight, bias, c):
    """k <- weight (box sum of k) + bias, t <- k + weight (box sum of t); from one half of ``planes`` to the other."""
    k, t, k_out, t_out = planes[at], planes[at + 1], planes[2 - at], planes[3 - at]
    zero, w, b = spread(c[0]), spread(weight), spread(bias)
    n = columns * LANES
    for row in range(rows):
        above, under = row > 0, row < rows - 1
        k_left, t_left = zero, zero
        k_here, t_here = _three(k, row * n, n, above, under), _three(t, row * n, n, above, under)
        for place in range(row * n, row * n + n, LANES):
            if place + LANES < row * n + n:
                k_right = _three(k, place + LANES, n, above, under)
                t_right = _three(t, place + LANES, n, above, under)
            else:
                k_right, t_right = zero, zero
            total = w * (k_left + k_here + k_right) + b
            store(k_out, place, total)
            store(t_out, place, total + w * (t_left + t_here + t_right))
            k_left, t_left, k_here, t_here = k_here, t_here, k_right, t_right


@compiled
def _relu(planes, at, rows, columns, roots, p, q, width, c):
    """Cho & Saul 2009, eq. 6, in place; roots: s = sqrt(variance) and r = 1 / s of both images."""
    k, t, per_turn = planes[at], planes[at + 1], spread(c[5])
    for row in range(rows):
        for column in range(columns):
            place, a, b = row * columns + column, p + row * width + column, q + row * width + column
            place, a, b = place * LANES, a * LANES, b * LANES
            sin, turn, cosine = angle(load(k, place) * (load(roots[1], a) * load(roots[3], b)), c)
            store(k, place, (sin * per_turn + turn * cosine) * (load(roots[0], a) * load(roots[2], b)))
            store(t, place, load(t, place) * turn)


@compiled
def _sum(planes, at, count, sums):
    for which in range(2):
        total = load(sums[which], 0)
        for place in range(0, count * LANES, LANES):
            total = total + load(planes[at + which], place)
        store(sums[which], 0, total)


@compiled
def _pool(planes, at, top, left, dy, dx, rows, columns, high, wide, ahead, share):
    """Add a plane's part of the mean over windows of p and of q; an odd last row or column is left out."""
    part = spread(share)
    for row in range(rows):
        py, qy = (top + row) // 2, (top + row + dy) // 2
        if py >= high or qy >= high:
            continue
        for column in range(columns):
            px, qx = (left + column) // 2, (left + column + dx) // 2
            if px >= wide or qx >= wide:
                continue
            of = (row * columns + column) * LANES
            to = ((py * wide + px) * high * wide + qy * wide + qx) * LANES
            for which in range(2):
                store(ahead[which], to, load(ahead[which], to) + part * load(planes[at + which], of))
