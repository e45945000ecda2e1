"""Inner products of rows of bfloat16 numbers, summed in single precision.

Processors with AVX-512 BF16 (AMD from Zen 4 on, Intel's Cooper Lake and from Sapphire Rapids on) multiply two pairs of
such numbers and add both products to a float in one instruction, twice the work of single precision. torch rounds what
it makes of them on a processor back to bfloat16, and that is too coarse for sums; so they are made here. Rows are
packed into panels of LANES of them, word by word (a word: two neighbouring numbers of a row), and tiles of the result
stay in registers while the words pass::

    fast()                                          # whether this processor has the instruction
    add_products(theta, j1, j2, 0.5)                # theta [r1, r2] float32 += 0.5 j1 j2^T, j [r, w] bfloat16
    add_products(theta, j, j, 0.5, below=True)      # only what is on or below the diagonal is needed
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
from ntkcore.kernels.registers import COLUMNS, INDEX, NUMBER_VECTOR, ROWS, WORD, WORD_VECTOR, feature, tile_of
from ntkcore.kernels.vectors import LANES, Vector, address, compiled, load, spread, store, threads

WORDS = 4096  # of each row that are packed at a time, where they fit
ACROSS = 512  # columns whose panels are gone through for one row of tiles after the other
PACKED_BYTES = 8e6  # of each side's panels
SHARES = 4  # of the work for each thread, so that none waits long for another one


def fast() -> bool:
    """Whether the processor multiplies bfloat16 numbers faster than others."""
    return feature("avx512bf16")


def add_products(theta: Tensor, j1: Tensor, j2: Tensor, scale: float, below: bool = False) -> None:
    """``theta += scale j1 j2^T`` in place, [r1, r2] float32 with its columns side by side in memory, on the CPU.

    j1 [r1, w], j2 [r2, w] bfloat16. below: theta is square, and what lies above its diagonal is left with anything.
    """
    sides = [_words(j1)] if j2 is j1 else [_words(j1), _words(j2)]
    stride, width = theta.stride(0), sides[0].shape[1]
    flat = theta.as_strided(((len(theta) - 1) * stride + theta.shape[1],), (1,)).numpy()
    most = max(LANES, min(WORDS, int(PACKED_BYTES / (4 * max(map(len, sides))))))
    size = (len(theta), theta.shape[1], stride)
    turns = [(turn, SHARES * threads()) for turn in range(SHARES * threads())]
    with ThreadPoolExecutor(threads()) as pool:
        for part in slices(width, most):
            packed = [_panels(words, part, pool) for words in sides]
            work = (packed[0], packed[-1])
            list(pool.map(lambda turn, work=work: _multiply(*work, turn, below, np.float32(scale), flat, size), turns))


def _panels(words: np.ndarray, part: slice, pool: ThreadPoolExecutor) -> np.ndarray:
    """A part of each row's words, packed: [panels, words, LANES], rows filled up to whole tiles."""
    panels = -(-len(words) // COLUMNS) * (COLUMNS // LANES)
    packed = np.empty((panels, part.stop - part.start, LANES), np.int32)
    shares = [(share.start, share.stop) for share in slices(panels, 8)]
    list(pool.map(lambda share: _pack(words, part.start, part.stop, share, packed), shares))
    return packed


def _words(j: Tensor) -> np.ndarray:
    """[r, w] -> [r, w / 2] int32, two numbers each; an odd one has a zero beside it."""
    if j.shape[1] % 2:
        j = F.pad(j, (0, 1))
    return j.contiguous().view(torch.int32).numpy()


def row_sums(g: Tensor) -> Tensor:
    """[..., w] bfloat16 -> [...] float32, on the CPU."""
    rows = g.reshape(-1, g.shape[-1]).contiguous().view(torch.int16).numpy()
    out = torch.empty(g.shape[:-1])
    into, shares = out.view(-1).numpy(), slices(len(rows), max(1, -(-len(rows) // threads())))
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(lambda share: _row_sums(rows, (share.start, share.stop), into), shares))
    return out


@intrinsic
def _widened(typing, array, at):
    """LANES bfloat16 numbers of an array of int16, as single precision: they are its upper halves."""

    def code(context, builder, signature, arguments):
        halves = ir.VectorType(ir.IntType(16), LANES)
        here = builder.load(address(context, builder, signature.args[0], *arguments, halves), align=2)
        words = builder.shl(builder.zext(here, WORD_VECTOR), ir.Constant(WORD_VECTOR, [16] * LANES))
        return builder.bitcast(words, NUMBER_VECTOR)

    return Vector(types.float32)(array, at), code


@compiled
def _row_sums(rows, part, out):
    """Of some rows of int16."""
    width, lanes = rows.shape[1], np.empty(LANES, np.float32)
    last = np.zeros(LANES, np.int16)
    for row in range(part[0], part[1]):
        here, total = rows[row], spread(np.float32(0))
        for at in range(0, width // LANES * LANES, LANES):
            total = total + _widened(here, at)
        left = width % LANES
        for lane in range(left):
            last[lane] = here[width - left + lane]
        store(lanes, 0, total + _widened(last, 0))
        out[row] = lanes.sum()


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
def _pack(words, first, stop, panels, out):
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


_PAIRS = ir.VectorType(_BFloat16(), 2 * LANES)


def _one_instruction(builder, total, a, b):
    """total + the sum of two products, for each lane's words a and b."""
    of = ir.FunctionType(NUMBER_VECTOR, [NUMBER_VECTOR, _PAIRS, _PAIRS])
    function = cgutils.get_or_insert_function(builder.module, of, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(function, [total, builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)])


def _two_products(builder, total, a, b):
    """The same of what every processor can do: a bfloat16 number is the upper half of a float."""
    shift = ir.Constant(WORD_VECTOR, [16] * LANES)
    for half in (lambda x: builder.shl(x, shift), lambda x: builder.shl(builder.lshr(x, shift), shift)):
        x, y = (builder.bitcast(half(word), NUMBER_VECTOR) for word in (a, b))
        total = builder.fadd(total, builder.fmul(x, y, flags=("contract",)), flags=("contract",))
    return total


def _multiply_by(tile):
    @compiled
    def multiply(packed1, packed2, turn, below, scale, out, size):
        """Every turn[1]-th row of tiles, from number turn[0] on; out: a matrix of ``size`` (rows, columns, stride)."""
        rows, columns, stride = size
        words, sums = packed1.shape[1], np.empty(ROWS * COLUMNS, np.float32)
        for group in range(0, columns, ACROSS):
            for row in range(turn[0] * ROWS, rows, turn[1] * ROWS):
                stop = min(group + ACROSS, columns)
                if below:
                    stop = min(stop, row + ROWS)
                for column in range(group, stop, COLUMNS):
                    sums[:] = 0
                    left, right = packed1[row // LANES], packed2[column // LANES :]
                    tile(left, row % LANES, 1, LANES, right, 0, LANES, words * LANES, words, sums, 0, COLUMNS)
                    for of in range(min(ROWS, rows - row)):
                        to, of_sums = (row + of) * stride + column, of * COLUMNS
                        if column + COLUMNS <= columns:
                            for lane in range(0, COLUMNS, LANES):
                                here = load(out, to + lane)
                                store(out, to + lane, here + spread(scale) * load(sums, of_sums + lane))
                        else:
                            for lane in range(columns - column):
                                out[to + lane] += scale * sums[of_sums + lane]

    return multiply


_multiply_anywhere = _multiply_by(tile_of(WORD, _two_products))
_multiply = _multiply_by(tile_of(WORD, _one_instruction)) if fast() else _multiply_anywhere
