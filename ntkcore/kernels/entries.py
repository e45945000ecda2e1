"""Compiled loops for kernels of dense nets: each entry runs through the layers in the processor's registers.

The covariance of two flattened images is one number, the entry of a matrix product; ``LANES`` of them, side by side
in a row, pass all layers between one load and one store. The formulas are those of ``ntkcore.covariance``::

    entries(steps, gram, 1 / d, roots1, roots2, (0, n), True, True, constants(float32), out)
"""

from typing import NamedTuple

import numpy as np

from ntkcore.kernels.arccosine import angle
from ntkcore.kernels.vectors import LANES, below, compiled, inlined, load, size, spread, store


class Steps(NamedTuple):
    """A dense net. A step is a dense layer (weight = W^2, bias = b^2; weight 0: none), then a ReLU, whose variances are
    number ``first`` (-1: no ReLU). close: cosine, up to its sign, from which on two images count as close; 2: never."""

    weight: np.ndarray
    bias: np.ndarray
    first: np.ndarray
    close: np.ndarray


@inlined
def _affine(k, t, weight, bias):
    """A dense layer on a covariance and its tangent kernel; with bias 0, on their derivatives."""
    k = weight * k + bias
    return k, k + weight * t


@compiled
def entries(steps, gram, share, roots1, roots2, rows, ntk, upper, c, out, counts):
    """Kernel of each pair from its covariance at the input, ``share * gram``; gram and out [n1, n2] may be one array.

    roots1 [n1, activations, 2], roots2 [activations, 2, n2, filled up to whole lanes]: roots of the variances and their
    inverses; rows: (start, stop); upper: only i <= j. nan where the images are close or opposite in a layer
    (``Steps``), and counts [n1] says how many times, lanes that are not wanted among them.
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
                    k, t = _affine(k, t, spread(steps.weight[step]), spread(steps.bias[step]))
                first = steps.first[step]
                if first >= 0:
                    r = spread(roots1[row, first, 1]) * load(roots2[first, 1], at)
                    s = spread(roots1[row, first, 0]) * load(roots2[first, 0], at)
                    sin, turn, cosine = angle(k * r, c)
                    k = (sin * spread(c[5]) + turn * cosine) * s
                    t = t * turn
                    nearest = below(nearest, size(cosine), size(cosine), nearest)
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
def mirror(square, rows):
    """What lies above the diagonal also below it, in some rows."""
    for top in range(rows[0], rows[1], LANES):
        for left in range(0, top + 1, LANES):
            for row in range(top, min(top + LANES, rows[1])):
                for column in range(left, min(left + LANES, row)):
                    square[row, column] = square[column, row]


@compiled
def chosen(weights, predictors, factors, images, rows, out):
    """out[p] = weights[predictors[p]] * factors[images[p]], rows filled up to whole lanes."""
    for row in range(rows[0], rows[1]):
        for at in range(0, out.shape[1], LANES):
            store(out[row], at, load(weights[predictors[row]], at) * load(factors[images[row]], at))


@compiled
def sign_steps(x, u, scale, images, gradients, mixes, mixed, shares, tilts, signs, eps, rows, c, sums):
    """In place of gradients [P, d]: a sign step of each pair of a predictor and an image, clipped to [0, 1], in mapped
    pixels. The gradient of pair p is ``gradients[p] + sum_r shares[p, r] mixes[mixed[p], r] + tilts[p] u[images[p]]``.

    x, u [m, d], d filled up to whole lanes with zeros: images, as pixels and mapped (shifted, and divided by scale);
    signs [P]: -1, 0 or 1, the way up the loss along the gradient.
    sums [P, 4]: <gradient, step>, <u, step>, |step|^2, and how many pixels have a gradient.
    """
    zero, one, e, per_scale = spread(c[0]), spread(c[2]), spread(eps), spread(c[2] / scale)
    lanes = np.empty((4, LANES), x.dtype)
    for row in range(rows[0], rows[1]):
        along, across, length, followed = zero, zero, zero, zero
        way, tilt = spread(signs[row] * eps), spread(tilts[row])
        for at in range(0, x.shape[1], LANES):
            here, at_u = load(x[images[row]], at), load(u[images[row]], at)
            g = load(gradients[row], at) + tilt * at_u
            for part in range(shares.shape[1]):
                g = g + spread(shares[row, part]) * load(mixes[mixed[row], part], at)
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
def remainders(steps, around, images, moves, roots1, roots2, weights, predictors, rows, ntk, c, sums):
    """What the linear model of predictor ``predictors[p]`` at image i = ``images[p]`` leaves out.

    ``sums[p, 0] = sum_j w_j (K(c_ij + e_pj) - K_ij - s_ij e_pj)`` and ``sums[p, 1] = sum_j (w_j (K' - s_ij))^2``, K'
    the derivative in the covariance after the move. around [3, m, n filled up to whole lanes]: covariances c, kernel
    K and its slopes s at the images; moves e [P, n filled up]; weights w [F, n filled up]; roots1 [P, activations, 2]
    after the move, roots2 as in ``entries``.
    """
    per_turn, zero = spread(c[5]), spread(c[0])
    lanes = np.empty((2, LANES), moves.dtype)
    for row in range(rows[0], rows[1]):
        covariances, base, slopes = around[0, images[row]], around[1, images[row]], around[2, images[row]]
        first_sum, second_sum = zero, zero
        for at in range(0, moves.shape[1], LANES):
            e = load(moves[row], at)
            k, t = load(covariances, at) + e, zero
            dk, dt = spread(c[2]), zero
            for step in range(len(steps.weight)):
                if steps.weight[step] != c[0]:
                    weight = spread(steps.weight[step])
                    k, t = _affine(k, t, weight, spread(steps.bias[step]))
                    dk, dt = _affine(dk, dt, weight, zero)
                first = steps.first[step]
                if first >= 0:
                    r = spread(roots1[row, first, 1]) * load(roots2[first, 1], at)
                    s = spread(roots1[row, first, 0]) * load(roots2[first, 0], at)
                    sin, turn, cosine = angle(k * r, c)
                    bend = below(zero, sin, per_turn * r / sin, zero)
                    dt = dt * turn + t * (dk * bend)
                    k = (sin * per_turn + turn * cosine) * s
                    dk = dk * turn
                    t = t * turn
            value, change = (t, dt) if ntk else (k, dk)
            w, slope = load(weights[predictors[row]], at), load(slopes, at)
            first_sum = first_sum + w * (value - load(base, at) - slope * e)
            change = w * (change - slope)
            second_sum = second_sum + change * change
        store(lanes[0], 0, first_sum)
        store(lanes[1], 0, second_sum)
        sums[row, 0] = sums[row, 1] = 0.0
        for lane in range(LANES):
            sums[row, 0] += lanes[0, lane]
            sums[row, 1] += lanes[1, lane]
