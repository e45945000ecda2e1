"""Loops of Winograd's minimal filtering, for gradients of the weights of 3x3 convolutions (``filters``).

``J[o, k, t] = sum_p G[o, p] X[k, p + t]`` over the positions p of an image, for nine taps t (stride 1, a margin of one
zero). It is taken from tiles of 2x2 numbers of G and of the 4x4 of X around them. Both are transformed, multiplied
place by place, 16 products in place of 36, and nine sums of these are J (Winograd 1980; for the networks' convolutions
Lavin and Gray 2016, arXiv 1509.09308; here the filter is the gradient). Along an axis::

    g0, g1            ->  g0, g0 + g1, g0 - g1, g1
    x0, x1, x2, x3    ->  x0 - x2, (x1 + x2) / 2, (x2 - x1) / 2, x1 - x3
    m0, m1, m2, m3    ->  m0 + m1 + m2, m1 - m2, m1 + m2 - m3       of the products, summed over the tiles

Transformed tiles are rounded to bfloat16, two of them a word as ``bfloat16`` multiplies them. Only at one of the 16
places does the mean of an image count; what rounding G loses there is added to the next tile, so that it does not add
up over the image.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ntkcore.kernels.bfloat16 import INSTRUCTIONS, PAIRS, nearest, nearest_of
from ntkcore.kernels.registers import COLUMNS, NUMBER_VECTOR, ROWS, WORD_VECTOR
from ntkcore.kernels.vectors import LANES, Vector, address, compiled, load, spread, store

PLACES = 16  # of a transformed tile
TAPS = 9


@intrinsic
def widened(typing, array, at):
    """LANES bfloat16 numbers of an array of int16, as single precision: they are its upper halves."""

    def code(context, builder, signature, arguments):
        halves = ir.VectorType(ir.IntType(16), LANES)
        here = builder.load(address(context, builder, signature.args[0], *arguments, halves), align=2)
        words = builder.shl(builder.zext(here, WORD_VECTOR), ir.Constant(WORD_VECTOR, [16] * LANES))
        return builder.bitcast(words, NUMBER_VECTOR)

    return Vector(types.float32)(array, at), code


@intrinsic
def paired(typing, low, high):
    """Two numbers a lane, rounded to the nearest in bfloat16 (of two the even one), as one word."""

    def one_instruction(builder, low, high):
        of = ir.FunctionType(PAIRS, [NUMBER_VECTOR, NUMBER_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, of, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")
        halves = ir.VectorType(ir.IntType(16), 2 * LANES)
        both = builder.bitcast(builder.call(function, [high, low]), halves)
        turns = [lane // 2 + lane % 2 * LANES for lane in range(2 * LANES)]
        mixed = builder.shuffle_vector(both, both, ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), turns))
        return builder.bitcast(mixed, WORD_VECTOR)

    def anywhere(builder, low, high):
        low, high = (builder.bitcast(nearest_of(builder, number), WORD_VECTOR) for number in (low, high))
        return builder.or_(builder.lshr(low, ir.Constant(WORD_VECTOR, [16] * LANES)), high)

    def code(context, builder, signature, arguments):
        return (one_instruction if INSTRUCTIONS else anywhere)(builder, *arguments)

    return Vector(types.int32)(low, high), code


@compiled
def _transform(source, at, step, by, out, to, under, beside):
    """Along one axis of LANES tiles of X at once: four vectors, ``step`` apart, to four, ``under`` apart; done four
    times, ``by`` and ``beside`` further on."""
    half = spread(np.float32(0.5))
    for line in range(4):
        here, there = at + line * by, to + line * beside
        a, b = load(source, here), load(source, here + step)
        c, d = load(source, here + 2 * step), load(source, here + 3 * step)
        store(out, there, a - c)
        store(out, there + under, half * (b + c))
        store(out, there + 2 * under, half * (c - b))
        store(out, there + 3 * under, b - d)


@compiled
def transform_images(x, part, out):
    """x [n, H, W, K] with its margins -> out [n, panels, PLACES, words, LANES]."""
    rows, columns, channels = x.shape[1] // 2 - 1, x.shape[2] // 2 - 1, x.shape[3]
    between, tiles, line = np.empty(PLACES * LANES, x.dtype), np.zeros(2 * PLACES * LANES, x.dtype), 4 * LANES
    words = out.shape[3]
    for image in range(part[0], part[1]):
        source = x[image].ravel()
        for panel in range(out.shape[1]):
            target = out[image, panel].ravel()
            for word in range(words):
                for of in range(2):
                    at = 2 * word + of
                    if at >= rows * columns:
                        tiles[PLACES * LANES :] = 0
                        continue
                    start = 2 * (at // columns * x.shape[2] + at % columns) * channels + panel * LANES
                    _transform(source, start, x.shape[2] * channels, channels, between, 0, line, LANES)
                    _transform(between, 0, LANES, line, tiles, of * PLACES * LANES, LANES, line)
                for place in range(PLACES):
                    low, high = load(tiles, place * LANES), load(tiles, (PLACES + place) * LANES)
                    store(target, (place * words + word) * LANES, paired(low, high))


@compiled
def starts_of_tiles(g):
    """Where each tile of [H, W, O] begins."""
    columns = g.shape[1] // 2
    starts = np.empty(g.shape[0] // 2 * columns, np.int64)
    for tile in range(len(starts)):
        starts[tile] = 2 * (tile // columns * g.shape[1] + tile % columns) * g.shape[2]
    return starts


@compiled
def _load_tile(g, at, right, down):
    """Its four numbers, of LANES channels."""
    return widened(g, at), widened(g, at + right), widened(g, at + down), widened(g, at + down + right)


@compiled
def _store_places(out, at, step, left1, right1, left2, right2):
    """Four places of two tiles, made of their columns."""
    store(out, at, paired(left1, left2))
    store(out, at + step, paired(left1 + right1, left2 + right2))
    store(out, at + 2 * step, paired(left1 - right1, left2 - right2))
    store(out, at + 3 * step, paired(right1, right2))


@compiled
def transform_gradients(g, starts, panel, out, sums):
    """g [H, W, O], even H and W -> out [PLACES * words * LANES] of a panel of O; sums [O] over all positions."""
    right, down, flat, first = g.shape[2], g.shape[1] * g.shape[2], g.ravel(), panel * LANES
    zero, step = spread(np.float32(0)), (len(starts) + 1) // 2 * LANES
    total, lost1, lost2 = zero, zero, zero
    for word in range((len(starts) + 1) // 2):
        a1, b1, c1, d1 = _load_tile(flat, starts[2 * word] + first, right, down)
        a2, b2, c2, d2 = zero, zero, zero, zero
        if 2 * word + 1 < len(starts):
            a2, b2, c2, d2 = _load_tile(flat, starts[2 * word + 1] + first, right, down)
        sum1, sum2 = (a1 + b1) + (c1 + d1), (a2 + b2) + (c2 + d2)
        total, to = total + (sum1 + sum2), word * LANES
        _store_places(out, to, step, a1, b1, a2, b2)
        _store_places(out, to + 4 * step, step, a1 + c1, b1 + d1, a2 + c2, b2 + d2)
        _store_places(out, to + 8 * step, step, a1 - c1, b1 - d1, a2 - c2, b2 - d2)
        _store_places(out, to + 12 * step, step, c1, d1, c2, d2)
        sum1, sum2 = sum1 + lost1, sum2 + lost2
        store(out, to + 5 * step, paired(sum1, sum2))  # only here the images' mean counts
        lost1, lost2 = sum1 - nearest(sum1), sum2 - nearest(sum2)
    store(sums, first, total)


@compiled
def _three(a, b, c, d):
    return a + (b + c), b - c, (b + c) - d


@compiled
def _line(sums, at):
    """Three sums of four places of a tile's sums [PLACES, ROWS, COLUMNS]."""
    step = ROWS * COLUMNS
    return _three(load(sums, at), load(sums, at + step), load(sums, at + 2 * step), load(sums, at + 3 * step))


@compiled
def _store_three(j, at, step, low, high):
    """Three taps of two output channels."""
    store(j, at, paired(low[0], high[0]))
    store(j, at + step, paired(low[1], high[1]))
    store(j, at + 2 * step, paired(low[2], high[2]))


@compiled
def store_taps(sums, at, j, to, step):
    """Nine taps of LANES input channels and of two output channels, which are neighbouring rows of the sums."""
    down, next = 4 * ROWS * COLUMNS, at + COLUMNS
    a, b, c, d = _line(sums, at), _line(sums, at + down), _line(sums, at + 2 * down), _line(sums, at + 3 * down)
    e, f = _line(sums, next), _line(sums, next + down)
    g, h = _line(sums, next + 2 * down), _line(sums, next + 3 * down)
    _store_three(j, to, 3 * step, _three(a[0], b[0], c[0], d[0]), _three(e[0], f[0], g[0], h[0]))
    _store_three(j, to + step, 3 * step, _three(a[1], b[1], c[1], d[1]), _three(e[1], f[1], g[1], h[1]))
    _store_three(j, to + 2 * step, 3 * step, _three(a[2], b[2], c[2], d[2]), _three(e[2], f[2], g[2], h[2]))
