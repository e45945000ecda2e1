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
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.vectors import LANES, Vector, address, compiled, load, spread, store, threads

WORDS = 128  # of each row that pass a tile at a time: the panels of a tile stay in the first cache
ROWS, COLUMNS = 8, 2 * LANES  # of a tile: 16 registers of sums
ACROSS = 512  # columns whose panels stay in the second cache
PACKED_BYTES = 8e6  # of each side's panels
SHARES = 4  # of the work for each thread, so that none waits long for another one

_WORD, _NUMBER, _INDEX = ir.IntType(32), ir.FloatType(), ir.IntType(64)
_WORDS, _NUMBERS = ir.VectorType(_WORD, LANES), ir.VectorType(_NUMBER, LANES)


@cache
def fast() -> bool:
    """Whether the processor multiplies bfloat16 numbers faster than others."""
    try:
        return binding.get_host_cpu_features().get("avx512bf16", False)
    except RuntimeError:  # where LLVM does not know the processor
        return False


def add_products(theta: Tensor, j1: Tensor, j2: Tensor, scale: float, below: bool = False) -> None:
    """``theta += scale j1 j2^T`` in place, [r1, r2] float32 with its columns side by side in memory, on the CPU.

    j1 [r1, w], j2 [r2, w] bfloat16. below: theta is square, and what lies above its diagonal is left with anything.
    """
    sides = [_words(j1)] if j2 is j1 else [_words(j1), _words(j2)]
    stride, width = theta.stride(0), sides[0].shape[1]
    flat = theta.as_strided(((len(theta) - 1) * stride + theta.shape[1],), (1,)).numpy()
    most = max(int(PACKED_BYTES / (4 * max(map(len, sides)))) // WORDS, 1) * WORDS
    size = (len(theta), theta.shape[1], stride)
    turns = [(turn, SHARES * threads()) for turn in range(SHARES * threads())]
    with ThreadPoolExecutor(threads()) as pool:
        for part in slices(width, most):
            packed = [_panels(words, part, pool) for words in sides]
            work = (packed[0], packed[-1], part.stop - part.start)
            list(pool.map(lambda turn, work=work: _multiply(*work, turn, below, np.float32(scale), flat, size), turns))


def _panels(words: np.ndarray, part: slice, pool: ThreadPoolExecutor) -> np.ndarray:
    """A part of each row's words, packed: [blocks of WORDS, panels, WORDS * LANES], rows filled up to whole tiles."""
    panels = -(-len(words) // COLUMNS) * (COLUMNS // LANES)
    packed = np.empty((-(-(part.stop - part.start) // WORDS), panels, WORDS * LANES), np.int32)
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
        words = builder.shl(builder.zext(here, _WORDS), ir.Constant(_WORDS, [16] * LANES))
        return builder.bitcast(words, _NUMBERS)

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
            place = builder.add(at, builder.mul(stride, _INDEX(row)))
            here = address(context, builder, signature.args[0], source, place, _WORDS)
            rows.append(builder.load(here, align=4))
        span = 1
        while span < LANES:  # blocks of span x span change places across the diagonal
            for row in (r for r in range(LANES) if not r & span):
                one, two = rows[row], rows[row + span]
                upper = [lane if not lane & span else LANES + lane - span for lane in range(LANES)]
                lower = [lane + span if not lane & span else LANES + lane for lane in range(LANES)]
                rows[row] = builder.shuffle_vector(one, two, ir.Constant(_WORDS, upper))
                rows[row + span] = builder.shuffle_vector(one, two, ir.Constant(_WORDS, lower))
            span *= 2
        for row in range(LANES):
            place = builder.add(to, _INDEX(row * LANES))
            builder.store(rows[row], address(context, builder, signature.args[3], out, place, _WORDS), align=4)
        return context.get_dummy_value()

    return types.none(source, at, stride, out, to), code


@compiled
def _pack(words, first, stop, panels, out):
    """Words first to stop of the rows of some panels, into out [blocks of WORDS, panels, WORDS * LANES]."""
    flat, width = words.ravel(), words.shape[1]
    for panel in range(panels[0], panels[1]):
        rows = min(LANES, len(words) - panel * LANES)
        for start in range(first, stop, WORDS):
            to = out[(start - first) // WORDS, panel]
            for at in range(start, min(start + WORDS, stop), LANES):
                if rows == LANES and at + LANES <= stop:
                    _transpose(flat, panel * LANES * width + at, width, to, (at - start) * LANES)
                    continue
                for word in range(at, min(at + LANES, stop)):
                    for row in range(LANES):
                        inside = row < rows
                        to[(word - start) * LANES + row] = words[panel * LANES + row, word] if inside else 0


class _BFloat16(ir.Type):
    """LLVM's type, which llvmlite has no name for."""

    def __str__(self) -> str:
        return "bfloat"


_PAIRS = ir.VectorType(_BFloat16(), 2 * LANES)


def _one_instruction(builder, total, a, b):
    """total + the sum of two products, for each lane's words a and b."""
    of = ir.FunctionType(_NUMBERS, [_NUMBERS, _PAIRS, _PAIRS])
    function = cgutils.get_or_insert_function(builder.module, of, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(function, [total, builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)])


def _two_products(builder, total, a, b):
    """The same of what every processor can do: a bfloat16 number is the upper half of a float."""
    shift = ir.Constant(_WORDS, [16] * LANES)
    for half in (lambda x: builder.shl(x, shift), lambda x: builder.shl(builder.lshr(x, shift), shift)):
        x, y = (builder.bitcast(half(word), _NUMBERS) for word in (a, b))
        total = builder.fadd(total, builder.fmul(x, y, flags=("contract",)), flags=("contract",))
    return total


def _tile_by(dot):
    """A tile of sums, by ``dot``."""

    @intrinsic
    def tile(typing, rows, at, columns, beside, steps, out):
        """out [ROWS * COLUMNS]: products of ROWS rows of a panel, from its word ``at`` on, and two whole panels."""

        def code(context, builder, signature, arguments):
            rows, at, columns, beside, steps, out = arguments

            def place(number: int, array, index, kind):
                return address(context, builder, signature.args[number], array, index, kind)

            before = builder.block
            loop, done = builder.append_basic_block("words"), builder.append_basic_block("sums")
            builder.branch(loop)
            builder.position_at_end(loop)
            step = builder.phi(_INDEX)
            step.add_incoming(_INDEX(0), before)
            sums = [builder.phi(_NUMBERS) for _ in range(ROWS * COLUMNS // LANES)]
            here = builder.mul(step, _INDEX(LANES))
            right = [
                builder.load(place(number, array, here, _WORDS), align=4)
                for number, array in ((2, columns), (3, beside))
            ]
            totals = []
            for row in range(ROWS):
                word = builder.load(place(0, rows, builder.add(builder.add(at, here), _INDEX(row)), _WORD))
                one = builder.insert_element(ir.Constant(_WORDS, ir.Undefined), word, _WORD(0))
                left = builder.shuffle_vector(one, one, ir.Constant(_WORDS, [0] * LANES))
                totals += [dot(builder, sums[2 * row + side], left, right[side]) for side in range(2)]
            for before_it, after in zip(sums, totals, strict=True):
                before_it.add_incoming(ir.Constant(_NUMBERS, [0.0] * LANES), before)
                before_it.add_incoming(after, loop)
            following = builder.add(step, _INDEX(1))
            step.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
            builder.position_at_end(done)
            for index, total in enumerate(totals):
                builder.store(total, place(5, out, _INDEX(index * LANES), _NUMBERS), align=4)
            return context.get_dummy_value()

        return types.none(rows, at, columns, beside, steps, out), code

    return tile


def _multiply_by(tile):
    @compiled
    def multiply(packed1, packed2, words, turn, below, scale, out, size):
        """Every turn[1]-th row of tiles, from number turn[0] on; out: a matrix of ``size`` (rows, columns, stride)."""
        rows, columns, stride = size
        sums = np.empty(ROWS * COLUMNS, np.float32)
        for block in range(len(packed1)):
            steps = min(WORDS, words - block * WORDS)
            for group in range(0, columns, ACROSS):
                for row in range(turn[0] * ROWS, rows, turn[1] * ROWS):
                    stop = min(group + ACROSS, columns)
                    if below:
                        stop = min(stop, row + ROWS)
                    left, at = packed1[block, row // LANES], row % LANES
                    for column in range(group, stop, COLUMNS):
                        panel = column // LANES
                        tile(left, at, packed2[block, panel], packed2[block, panel + 1], steps, sums)
                        whole = column + COLUMNS <= columns
                        for of in range(min(ROWS, rows - row)):
                            to, of_sums = (row + of) * stride + column, of * COLUMNS
                            if whole:
                                for lane in range(0, COLUMNS, LANES):
                                    here = load(out, to + lane)
                                    store(out, to + lane, here + spread(scale) * load(sums, of_sums + lane))
                            else:
                                for lane in range(columns - column):
                                    out[to + lane] += scale * sums[of_sums + lane]

    return multiply


_multiply_anywhere = _multiply_by(_tile_by(_two_products))
_multiply = _multiply_by(_tile_by(_one_instruction)) if fast() else _multiply_anywhere
