"""Compiled loops for kernels of dense nets: each entry runs through the layers in the processor's registers.

The covariance of two flattened images is one number, the entry of a matrix product; ``LANES`` of them, side by side in a
row, pass all layers between one load and one store. The formulas are those of ``ntkcore.covariance``::

    entries(steps, gram, 1 / d, roots1, roots2, (0, n), True, True, constants(float32), out)
"""

from typing import NamedTuple

import numpy as np

from ntkcore.kernels.arccosine import angle
from ntkcore.kernels.vectors import LANES, below, compiled, load, size, spread, store


class Steps(NamedTuple):
    """A dense net. A step is a dense layer (weight = W^2, bias = b^2; weight 0: none), then a ReLU, whose variances are
    number ``first`` (-1: no ReLU). close: cosine from which on two images count as close; 2: never."""

    weight: np.ndarray
    bias: np.ndarray
    first: np.ndarray
    close: np.ndarray


@compiled
def entries(steps, gram, share, roots1, roots2, rows, ntk, upper, c, out, counts):
    """Kernel of each pair from its covariance at the input, ``share * gram``; gram and out [n1, n2] may be one array.

    roots1 [n1, activations, 2], roots2 [activations, 2, n2, filled up to whole lanes]: roots of the variances and their
    inverses; rows: (start, stop); upper: only i <= j. nan where the images are close in a layer (``Steps``), and counts
    [n1] says how many times, lanes that are not wanted among them.
    """
    width = gram.shape[1]
    part, lanes = np.zeros(LANES, gram.dtype), np.empty(LANES, gram.dtype)
    for row in range(rows[0], rows[1]):
        close = spread(c[0])
        for at in range(row // LANES * LANES if upper else 0, width, LANES):
            short = width - at < LANES
            if short:
                for lane in range(width - at):
                    part[lane] = gram[row, at + lane]
                k = load(part, 0)
            else:
                k = load(gram[row], at)
            k, t = k * spread(share), spread(c[0])
            nearest = spread(c[0])
            for step in range(len(steps.weight)):
                if steps.weight[step] != c[0]:
                    w = spread(steps.weight[step])
                    k = w * k + spread(steps.bias[step])
                    t = k + w * t
                first = steps.first[step]
                if first >= 0:
                    r = spread(roots1[row, first, 1]) * load(roots2[first, 1], at)
                    sin, turn, cosine = angle(k * r, c)
                    s = spread(roots1[row, first, 0]) * load(roots2[first, 0], at)
                    k = (sin * spread(c[5]) + turn * cosine) * s
                    t = t * turn
                    nearest = below(nearest, cosine, cosine, nearest)
            value = t if ntk else k
            value = below(nearest, spread(steps.close[0]), value, spread(steps.close[1]))
            close = close + below(nearest, spread(steps.close[0]), spread(c[0]), spread(c[2]))
            if short:
                store(part, 0, value)
                for lane in range(width - at):
                    out[row, at + lane] = part[lane]
            else:
                store(out[row], at, value)
        store(lanes, 0, close)
        for lane in range(LANES):
            counts[row] += np.int64(lanes[lane])


@compiled
def sign_steps(x, u, scale, gradients, tilts, signs, eps, rows, c, sums):
    """In place of gradients [B, d]: the sign step of each predictor, after the clip to [0, 1], in mapped pixels.

    The gradient of predictor b is ``gradients[b] + tilts[b] u``. x, u [d], d filled up to whole lanes with zeros: the
    image, as pixels and mapped (shifted, and divided by scale); signs [B]: -1, 0 or 1, the way up the loss along the
    gradient.
    sums [B, 4]: <gradient, step>, <u, step>, |step|^2, and how many pixels have a gradient.
    """
    zero, one, e, per_scale = spread(c[0]), spread(c[2]), spread(eps), spread(c[2] / scale)
    lanes = np.empty((4, LANES), x.dtype)
    for row in range(rows[0], rows[1]):
        along, across, length, followed = zero, zero, zero, zero
        way, tilt = spread(signs[row] * eps), spread(tilts[row])
        for at in range(0, len(x), LANES):
            here, at_u = load(x, at), load(u, at)
            g = load(gradients[row], at) + tilt * at_u
            moved = here + below(zero, g, way, below(g, zero, zero - way, zero))
            moved = below(moved, here - e, here - e, moved)
            moved = below(here + e, moved, here + e, moved)
            moved = below(moved, zero, zero, moved)
            moved = below(one, moved, one, moved)
            step = (moved - here) * per_scale
            store(gradients[row], at, step)
            along = along + g * step
            across = across + at_u * step
            length = length + step * step
            followed = followed + below(zero, size(g), one, zero)
        store(lanes[0], 0, along)
        store(lanes[1], 0, across)
        store(lanes[2], 0, length)
        store(lanes[3], 0, followed)
        for which in range(4):
            sums[row, which] = 0.0
            for lane in range(LANES):
                sums[row, which] += lanes[which, lane]


@compiled
def chosen(weights, index, factors, rows, out):
    """out[b] = weights[index[b]] * factors; weights and factors filled up to whole lanes, out [B, n] as well."""
    for row in range(rows[0], rows[1]):
        for at in range(0, len(factors), LANES):
            store(out[row], at, load(weights[index[row]], at) * load(factors, at))


@compiled
def remainders(steps, base, steepness, covariances, moves, roots1, roots2, weights, index, rows, ntk, c, sums):
    """What a predictor's linear model leaves out, for one row a predictor.

    ``sums[b, 0] = sum_j w_bj (K(c_j + e_bj) - K_j - s_j e_bj)`` and ``sums[b, 1] = sum_j (w_bj (K'(c_j + e_bj) - s_j))^2``,
    K' the derivative in the covariance c. base K, steepness s, covariances c [n filled up to whole lanes]; moves e [B, n
    filled up]; w_b = weights[index[b]]; roots1 [B, activations, 2] after the move, roots2 as in ``entries``.
    """
    per_turn, zero = spread(c[5]), spread(c[0])
    lanes = np.empty((2, LANES), base.dtype)
    for row in range(rows[0], rows[1]):
        first_sum, second_sum = zero, zero
        for at in range(0, len(base), LANES):
            e = load(moves[row], at)
            k, t = load(covariances, at) + e, zero
            dk, dt = spread(c[2]), zero
            for step in range(len(steps.weight)):
                if steps.weight[step] != c[0]:
                    w = spread(steps.weight[step])
                    k = w * k + spread(steps.bias[step])
                    t = k + w * t
                    dk = w * dk
                    dt = dk + w * dt
                first = steps.first[step]
                if first >= 0:
                    r = spread(roots1[row, first, 1]) * load(roots2[first, 1], at)
                    sin, turn, cosine = angle(k * r, c)
                    s = spread(roots1[row, first, 0]) * load(roots2[first, 0], at)
                    slope = below(zero, sin, per_turn * r / sin, zero)
                    dt = dt * turn + t * (dk * slope)
                    k = (sin * per_turn + turn * cosine) * s
                    dk = dk * turn
                    t = t * turn
            value, change = (t, dt) if ntk else (k, dk)
            w = load(weights[index[row]], at)
            steep = load(steepness, at)
            first_sum = first_sum + w * (value - load(base, at) - steep * e)
            change = w * (change - steep)
            second_sum = second_sum + change * change
        store(lanes[0], 0, first_sum)
        store(lanes[1], 0, second_sum)
        sums[row, 0] = sums[row, 1] = 0.0
        for lane in range(LANES):
            sums[row, 0] += lanes[0, lane]
            sums[row, 1] += lanes[1, lane]
