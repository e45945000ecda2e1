"""Compiled loops for kernels of dense nets: each entry runs through the layers in the processor's registers.

The covariance of two flattened images is one number, the entry of a matrix product; ``LANES`` of them, side by side
in a row, pass all layers between one load and one store. The formulas are those of ``ntkcore.covariance``::

    entries(steps, gram, 1 / d, roots1, roots2, (0, n), True, True, constants(float32), out)
"""

from typing import NamedTuple

import numpy as np

from ntkcore.kernels.loops.arccosine import angle
from ntkcore.kernels.loops.vectors import LANES, below, compiled, inlined, load, size, spread, store


class Steps(NamedTuple):
    """A dense net. A step is a dense layer (weight = W^2, bias = b^2; weight 0: none), then a ReLU, whose variances are
    number ``first`` (-1: no ReLU). close: cosine, up to its sign, from which on two images count as close; 2: never."""

    weight: np.ndarray
    bias: np.ndarray
    first: np.ndarray
    close: np.ndarray


@inlined
def affine(k, t, weight, bias):
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
                    k, t = affine(k, t, spread(steps.weight[step]), spread(steps.bias[step]))
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
