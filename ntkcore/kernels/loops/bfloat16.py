"""Inner products of rows of bfloat16 numbers, summed in single precision.

Processors with AVX-512 BF16 (AMD from Zen 4 on, Intel's Cooper Lake and from Sapphire Rapids on) multiply two pairs of
such numbers and add both products to a float in one instruction, twice the work of single precision. torch rounds what
it makes of them on a processor back to bfloat16, and that is too coarse for sums; so they are made here. Rows are
packed into panels of LANES of them, word by word (a word: two neighbouring numbers of a row), and tiles of the result
stay in registers while the words pass::

    fast()                                          # whether this processor has the instruction
    add_products(theta, j1, j2, 0.5)                # theta [r1, r2] float32 += 0.5 j1 j2^T, j [r, w] bfloat16
    add_products(theta, j, j, 0.5, below=True)      # only what is on or below the diagonal is needed
    add_panels(theta, packed, packed, 0.5, True)    # of rows that are packed already
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.loops.registers import COLUMNS, INDEX, NUMBER_VECTOR, ROWS, WORD, WORD_VECTOR, feature, tile_of
from ntkcore.kernels.loops.vectors import LANES, address, compiled, load, spread, store, threads

WORDS = 4096  # of each row that are packed at a time, where they fit
ALONG = 2048  # words that are gone through for all tiles, before those that follow
ACROSS = 512  # columns whose panels are gone through for one row of tiles after the other
PACKED_BYTES = 8e6  # of each side's panels
SHARES = 2  # of the work for each thread, so that none waits long for another one
INSTRUCTIONS = feature("avx512bf16")


def fast() -> bool:
    """Whether the processor multiplies bfloat16 numbers faster than others."""
    return INSTRUCTIONS


def add_products(theta: Tensor, j1: Tensor, j2: Tensor, scale: float, below: bool = False) -> None:
    """``theta += scale j1 j2^T`` in place, [r1, r2] float32 with its columns side by side in memory, on the CPU.

    j1 [r1, w], j2 [r2, w] bfloat16. below: theta is square, and what lies above its diagonal is left with anything.
    """
    sides = [_words(j1)] if j2 is j1 else [_words(j1), _words(j2)]
    width = sides[0].shape[1]
    most = max(LANES, min(WORDS, int(PACKED_BYTES / (4 * max(map(len, sides))))))
    with ThreadPoolExecutor(threads()) as pool:
        for part in slices(width, most):
            packed = [_panels(words, part, pool) for words in sides]
            add_panels(theta, packed[0], packed[-1], scale, below, pool)


def add_panels(
    theta: Tensor, packed1: np.ndarray, packed2: np.ndarray, scale: float, below: bool, pool: ThreadPoolExecutor
) -> None:
    """The same of rows in panels [panels, words, LANES], filled up with zeros to whole tiles (``panels_of``)."""
    stride, turns = theta.stride(0), SHARES * threads()
    flat = theta.as_strided(((len(theta) - 1) * stride + theta.shape[1],), (1,)).numpy()
    size, factor = (len(theta), theta.shape[1], stride), np.float32(scale)
    list(pool.map(lambda turn: _multiply(packed1, packed2, (turn, turns), below, factor, flat, size), range(turns)))


def panels_of(rows: int) -> int:
    """How many panels so many rows fill."""
    return -(-rows // COLUMNS) * (COLUMNS // LANES)


def _panels(words: np.ndarray, part: slice, pool: ThreadPoolExecutor) -> np.ndarray:
    """A part of each row's words, packed: [panels, words, LANES], rows filled up to whole tiles."""
    panels = panels_of(len(words))
    packed = np.empty((panels, part.stop - part.start, LANES), np.int32)
    groups = [(group.start, group.stop) for group in slices(panels, 8)]
    list(pool.map(lambda group: pack(words, part.start, part.stop, group, packed), groups))
    return packed


def _words(j: Tensor) -> np.ndarray:
    """[r, w] -> [r, w / 2] int32, two numbers each; an odd one has a zero beside it."""
    if j.shape[1] % 2:
        j = F.pad(j, (0, 1))
    return j.contiguous().view(torch.int32).numpy()


@intrinsic
def _transpose(typing, source, at, stride, out, to):
    """LANES rows of LANES words, ``stride`` words apart, into out: word by word."""

    def code(context, builder, signature, arguments):
        source, at, stride, out, to = arguments
        rows = []
        for row in range(LANES):
            place = builder.add(at, builder.mul(stride, INDEX(row)))
            here = address(context, builder, signature.args[0], source, place, WORD_VECTOR)
            rows.append(builder.load(here, align=4))
        span = 1
        while span < LANES:  # blocks of span x span change places across the diagonal
            for row in (r for r in range(LANES) if not r & span):
                one, two = rows[row], rows[row + span]
                upper = [lane if not lane & span else LANES + lane - span for lane in range(LANES)]
                lower = [lane + span if not lane & span else LANES + lane for lane in range(LANES)]
                rows[row] = builder.shuffle_vector(one, two, ir.Constant(WORD_VECTOR, upper))
                rows[row + span] = builder.shuffle_vector(one, two, ir.Constant(WORD_VECTOR, lower))
            span *= 2
        for row in range(LANES):
            place = builder.add(to, INDEX(row * LANES))
            builder.store(rows[row], address(context, builder, signature.args[3], out, place, WORD_VECTOR), align=4)
        return context.get_dummy_value()

    return types.none(source, at, stride, out, to), code


@compiled
def pack(words, first, stop, panels, out):
    """Words first to stop of the rows of some panels, into out [panels, words, LANES]."""
    flat, width = words.ravel(), words.shape[1]
    for panel in range(panels[0], panels[1]):
        rows, to = min(LANES, len(words) - panel * LANES), out[panel].ravel()
        for at in range(first, stop, LANES):
            if rows == LANES and at + LANES <= stop:
                _transpose(flat, panel * LANES * width + at, width, to, (at - first) * LANES)
                continue
            for word in range(at, min(at + LANES, stop)):
                for row in range(LANES):
                    to[(word - first) * LANES + row] = words[panel * LANES + row, word] if row < rows else 0


class _BFloat16(ir.Type):
    """LLVM's type, which llvmlite has no name for."""

    def __str__(self) -> str:
        return "bfloat"


PAIRS = ir.VectorType(_BFloat16(), 2 * LANES)


def _add_products(builder, total, a, b):
    """total + the sum of the two products, for each lane's words a and b."""
    if INSTRUCTIONS:
        of = ir.FunctionType(NUMBER_VECTOR, [NUMBER_VECTOR, PAIRS, PAIRS])
        function = cgutils.get_or_insert_function(builder.module, of, "llvm.x86.avx512bf16.dpbf16ps.512")
        return builder.call(function, [total, builder.bitcast(a, PAIRS), builder.bitcast(b, PAIRS)])
    shift = ir.Constant(WORD_VECTOR, [16] * LANES)  # a bfloat16 number is the upper half of a float
    for half in (lambda x: builder.shl(x, shift), lambda x: builder.shl(builder.lshr(x, shift), shift)):
        x, y = (builder.bitcast(half(word), NUMBER_VECTOR) for word in (a, b))
        total = builder.fadd(total, builder.fmul(x, y, flags=("contract",)), flags=("contract",))
    return total


tile = tile_of(WORD, _add_products, anew=True)


@compiled
def _multiply(packed1, packed2, turn, below, scale, out, size):
    """Every turn[1]-th row of tiles, from number turn[0] on; out: a matrix of ``size`` (rows, columns, stride)."""
    rows, columns, stride = size
    words, sums = packed1.shape[1], np.empty(ROWS * COLUMNS, np.float32)
    for first in range(0, words, ALONG):
        steps = min(ALONG, words - first)
        for group in range(0, columns, ACROSS):
            for row in range(turn[0] * ROWS, rows, turn[1] * ROWS):
                stop = min(group + ACROSS, columns)
                if below:
                    stop = min(stop, row + ROWS)
                for column in range(group, stop, COLUMNS):
                    left, right, at = packed1[row // LANES], packed2[column // LANES :], first * LANES
                    tile(left, at + row % LANES, 1, LANES, right, at, LANES, words * LANES, steps, sums, 0, COLUMNS)
                    _add_tile(sums, scale, min(ROWS, rows - row), columns - column, out, row * stride + column, stride)


@compiled
def _add_tile(sums, scale, rows, columns, out, to, stride):
    """A tile's sums, or the first rows and columns of them, onto a matrix."""
    for row in range(rows):
        here, at = to + row * stride, row * COLUMNS
        if columns >= COLUMNS:
            for lane in range(0, COLUMNS, LANES):
                store(out, here + lane, load(out, here + lane) + spread(scale) * load(sums, at + lane))
        else:
            for lane in range(columns):
                out[here + lane] += scale * sums[at + lane]
