"""Compiled loops of an ``Expansion``: steps of signs, and what the linear model leaves out after them.

TOGETHER pairs of a predictor and an image are taken at a time, PART pixels or training images of each: what is made of
them is used while it lies in the first cache, and no matrix with a row for each pair and a column for each pixel or
training image is written. Pairs that fill up the last block repeat the last one.
"""

import numpy as np

from ntkcore.kernels.infinite.cpu.dense_loops import affine
from ntkcore.kernels.loops.arccosine import angle
from ntkcore.kernels.loops.registers import COLUMNS, ROWS, tile
from ntkcore.kernels.loops.vectors import LANES, below, compiled, load, size, spread, store

TOGETHER = 16
PART = 128


@compiled
def chosen(weights, predictors, factors, images, rows, out):
    """out[p] = weights[predictors[p]] * factors[images[p]], rows filled up to whole lanes."""
    for row in range(rows[0], rows[1]):
        for at in range(0, out.shape[1], LANES):
            store(out[row], at, load(weights[predictors[row]], at) * load(factors[images[row]], at))


@compiled
def _copy(source, target, to):
    """target[to : to + len(source)] = source, whole lanes of it. (numba takes two seconds to compile that.)"""
    for at in range(0, len(source), LANES):
        store(target, to + at, load(source, at))


@compiled
def _multiply(left, width, right, first, line, columns, steps, out, to, under):
    """out[r, to : to + columns] += left[r, :steps] right[:steps, first : first + columns], r < TOGETHER.

    left [TOGETHER, width], right rows of ``line`` numbers, out rows of ``under``; columns: whole tiles of them.
    """
    for column in range(0, columns, COLUMNS):
        for row in range(0, TOGETHER, ROWS):
            tile(
                left,
                row * width,
                width,
                1,
                right,
                first + column,
                line,
                LANES,
                steps,
                out,
                row * under + to + column,
                under,
            )


@compiled
def along_directions(weights, predictors, factors, images, shares, mixed, lost, along, rows, out):
    """``out[p] = sum_j (w_bj factors_ij + sum_r shares_pr lost[mixed_p, r, j]) along_j``, b and i those of pair p.

    out [P, columns], whole tiles of them; weights [F, n], factors [m, n], along [n, columns], n filled up to whole
    lanes with zeros; lost [G, R or 0, n]; rows (start, stop).
    """
    n, columns = weights.shape[1], along.shape[1]
    scaled, sums = np.empty((TOGETHER, PART), weights.dtype), np.empty((TOGETHER, columns), weights.dtype)
    for block in range(rows[0], rows[1], TOGETHER):
        last = min(block + TOGETHER, rows[1]) - 1
        sums[:] = 0
        for start in range(0, n, PART):
            width = min(PART, n - start)
            for row in range(TOGETHER):
                pair = min(block + row, last)
                weight, factor = weights[predictors[pair]], factors[images[pair]]
                for at in range(0, width, LANES):
                    number = load(weight, start + at) * load(factor, start + at)
                    for part in range(lost.shape[1]):
                        number = number + spread(shares[pair, part]) * load(lost[mixed[pair], part], start + at)
                    store(scaled[row], at, number)
            _multiply(scaled, PART, along, start * columns, columns, columns, width, sums, 0, columns)
        for row in range(last + 1 - block):
            _copy(sums[row], out[block + row], 0)


@compiled
def sign_steps(
    x, u, scale, images, gradients, own, seen, across, directions, mixes, mixed, shares, tilts, signs, eps, rows, c,
    sums, steered,
):  # fmt: skip
    """A sign step of each pair of a predictor and an image, clipped to [0, 1], in mapped pixels. The gradient of pair p
    is ``gradients[p]``, or if not ``own`` ``seen[p] across``, and ``sum_r shares[p, r] mixes[mixed[p], r] + tilts[p]
    u[images[p]]``. Steps of own gradients are left in their place.

    x, u [m, d], d filled up to whole lanes with zeros: images, as pixels and mapped (shifted, and divided by scale);
    seen [P, r], across [r, d filled up to whole tiles], directions [d, r], r whole tiles; signs [P]: -1, 0 or 1, the
    way up the loss along the gradient. sums [P, 4]: <gradient, step>, <u, step>, |step|^2, and how many pixels have a
    gradient; steered [P, r]: the steps along the directions.
    """
    zero, one, e, per_scale = spread(c[0]), spread(c[2]), spread(eps), spread(c[2] / scale)
    d, r = x.shape[1], directions.shape[1]
    steps, totals = np.empty((TOGETHER, PART), x.dtype), np.empty((TOGETHER, 4 * LANES), x.dtype)
    given, turned = np.empty((TOGETHER, r), x.dtype), np.empty((TOGETHER, r), x.dtype)
    for block in range(rows[0], rows[1], TOGETHER):
        last = min(block + TOGETHER, rows[1]) - 1
        totals[:], turned[:] = 0, 0
        for row in range(TOGETHER if not own else 0):
            _copy(seen[min(block + row, last)], given[row], 0)
        for start in range(0, d, PART):
            width = min(PART, d - start)
            if own:
                for row in range(TOGETHER):
                    for at in range(0, width, LANES):
                        store(steps[row], at, load(gradients[min(block + row, last)], start + at))
            else:
                steps[:] = 0
                whole = (width + COLUMNS - 1) // COLUMNS * COLUMNS
                _multiply(given, r, across, start, across.shape[1], whole, r, steps, 0, PART)
            for row in range(TOGETHER):
                pair = min(block + row, last)
                here, at_here, found, total = x[images[pair]], u[images[pair]], steps[row], totals[row]
                along, beside, length = load(total, 0), load(total, LANES), load(total, 2 * LANES)
                followed, way, tilt = load(total, 3 * LANES), spread(signs[pair] * eps), spread(tilts[pair])
                for at in range(0, width, LANES):
                    pixels, mapped = load(here, start + at), load(at_here, start + at)
                    g = load(found, at) + tilt * mapped
                    for part in range(shares.shape[1]):
                        g = g + spread(shares[pair, part]) * load(mixes[mixed[pair], part], start + at)
                    moved = pixels + below(zero, g, way, below(g, zero, zero - way, zero))
                    moved = below(moved, pixels - e, pixels - e, moved)
                    moved = below(pixels + e, moved, pixels + e, moved)
                    moved = below(moved, zero, zero, moved)
                    moved = below(one, moved, one, moved)
                    step = (moved - pixels) * per_scale
                    store(found, at, step)
                    along = along + g * step
                    beside = beside + mapped * step
                    length = length + step * step
                    followed = followed + below(zero, size(g), one, zero)
                store(total, 0, along)
                store(total, LANES, beside)
                store(total, 2 * LANES, length)
                store(total, 3 * LANES, followed)
            _multiply(steps, PART, directions, start * r, r, r, width, turned, 0, r)
            if own:
                for row in range(last + 1 - block):
                    _copy(steps[row, :width], gradients[block + row], start)
        for row in range(last + 1 - block):
            _copy(turned[row], steered[block + row], 0)
            for which in range(4):
                sums[block + row, which] = 0.0
                for lane in range(which * LANES, which * LANES + LANES):
                    sums[block + row, which] += totals[row, lane]


@compiled
def remainders(steps, around, images, steered, reach, roots1, roots2, weights, predictors, rows, ntk, c, sums):
    """What the linear model of predictor ``predictors[p]`` at image i = ``images[p]`` leaves out.

    ``sums[p, 0] = sum_j w_j (K(c_ij + e_pj) - K_ij - s_ij e_pj)`` and ``sums[p, 1] = sum_j (w_j (K' - s_ij))^2``, K'
    the derivative in the covariance after the move ``e = steered reach``. around [3, m, n filled up to whole lanes]:
    covariances c, kernel K and its slopes s at the images; steered [P, r], reach [r, n filled up to whole tiles];
    weights w [F, n filled up to lanes]; roots1 [P, activations, 2] after the move, roots2 as in ``entries``.
    """
    per_turn, zero = spread(c[5]), spread(c[0])
    n, r = weights.shape[1], steered.shape[1]
    moves, totals = np.empty((TOGETHER, PART), weights.dtype), np.empty((TOGETHER, 2 * LANES), weights.dtype)
    given = np.empty((TOGETHER, r), weights.dtype)
    for block in range(rows[0], rows[1], TOGETHER):
        last = min(block + TOGETHER, rows[1]) - 1
        totals[:] = 0
        for row in range(TOGETHER):
            _copy(steered[min(block + row, last)], given[row], 0)
        for start in range(0, n, PART):
            width = min(PART, n - start)
            moves[:] = 0
            whole = (width + COLUMNS - 1) // COLUMNS * COLUMNS
            _multiply(given, r, reach, start, reach.shape[1], whole, r, moves, 0, PART)
            for row in range(last + 1 - block):
                pair = block + row
                covariances, base, slopes = around[0, images[pair]], around[1, images[pair]], around[2, images[pair]]
                weight, first_sum, second_sum = (
                    weights[predictors[pair]],
                    load(totals[row], 0),
                    load(totals[row], LANES),
                )
                for at in range(0, width, LANES):
                    e = load(moves[row], at)
                    k, t = load(covariances, start + at) + e, zero
                    dk, dt = spread(c[2]), zero
                    for step in range(len(steps.weight)):
                        if steps.weight[step] != c[0]:
                            scale = spread(steps.weight[step])
                            k, t = affine(k, t, scale, spread(steps.bias[step]))
                            dk, dt = affine(dk, dt, scale, zero)
                        first = steps.first[step]
                        if first >= 0:
                            by = spread(roots1[pair, first, 1]) * load(roots2[first, 1], start + at)
                            s = spread(roots1[pair, first, 0]) * load(roots2[first, 0], start + at)
                            sin, turn, cosine = angle(k * by, c)
                            bend = below(zero, sin, per_turn * by / sin, zero)
                            dt = dt * turn + t * (dk * bend)
                            k = (sin * per_turn + turn * cosine) * s
                            dk = dk * turn
                            t = t * turn
                    value, change = (t, dt) if ntk else (k, dk)
                    w, slope = load(weight, start + at), load(slopes, start + at)
                    first_sum = first_sum + w * (value - load(base, start + at) - slope * e)
                    change = w * (change - slope)
                    second_sum = second_sum + change * change
                store(totals[row], 0, first_sum)
                store(totals[row], LANES, second_sum)
        for row in range(last + 1 - block):
            for which in range(2):
                sums[block + row, which] = 0.0
                for lane in range(which * LANES, which * LANES + LANES):
                    sums[block + row, which] += totals[row, lane]
