"""Tiles of matrix products whose sums stay in registers: the innermost loop of products that are made on the way.

A library multiplies whole matrices. Where the factors are made of something else just before, or their product is used
at once, these tiles save writing and reading them again. Inside a function that numba compiles::

    tile(left, at, row, step, right, first, down, beside, steps, out, to, under)
    # out[to + r under + v LANES + lane] += sum_k left[at + r row + k step] right[first + k down + v beside + lane]

for ROWS rows r and VECTORS vectors v of LANES lanes; arrays are read as if they were flat.
"""

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from ntkcore.kernels.loops.vectors import LANES, address


def feature(name: str) -> bool:
    """Whether this processor has a set of instructions, by LLVM's name for it."""
    try:
        return binding.get_host_cpu_features().get(name, False)
    except RuntimeError:  # where LLVM does not know the processor
        return False


ROWS, VECTORS = (8, 2) if feature("avx512f") else (4, 1)  # as many sums as there are registers for
COLUMNS = VECTORS * LANES

INDEX, WORD, NUMBER = ir.IntType(64), ir.IntType(32), ir.FloatType()
VECTOR = ir.VectorType(NUMBER, LANES)


@intrinsic
def tile(typing, left, at, row, step, right, first, down, beside, steps, out, to, under):
    """The module's text says what."""

    def code(context, builder, signature, arguments):
        left, at, row, step, right, first, down, beside, steps, out, to, under = arguments

        def place(number: int, array, index, kind):
            return address(context, builder, signature.args[number], array, index, kind)

        sides = [builder.mul(beside, INDEX(v)) for v in range(VECTORS)]
        targets = [
            place(9, out, builder.add(builder.add(to, INDEX(v * LANES)), builder.mul(under, INDEX(r))), VECTOR)
            for r in range(ROWS)
            for v in range(VECTORS)
        ]
        starts = [builder.load(target, align=4) for target in targets]
        rows = [builder.add(at, builder.mul(row, INDEX(r))) for r in range(ROWS)]
        before = builder.block
        loop, done = builder.append_basic_block("steps"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(INDEX)
        k.add_incoming(INDEX(0), before)
        sums = [builder.phi(VECTOR) for _ in targets]
        line, across = builder.add(first, builder.mul(k, down)), builder.mul(k, step)
        b = [builder.load(place(4, right, builder.add(line, side), VECTOR), align=4) for side in sides]
        totals = []
        for r in range(ROWS):
            one = builder.load(place(0, left, builder.add(rows[r], across), NUMBER))
            one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), one, WORD(0))
            a = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES))
            for v in range(VECTORS):
                product = builder.fmul(a, b[v], flags=("contract",))
                totals.append(builder.fadd(sums[r * VECTORS + v], product, flags=("contract",)))
        for total, start, after in zip(sums, starts, totals, strict=True):
            total.add_incoming(start, before)
            total.add_incoming(after, loop)
        following = builder.add(k, INDEX(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
        builder.position_at_end(done)
        for target, total in zip(targets, totals, strict=True):
            builder.store(total, target, align=4)
        return context.get_dummy_value()

    given = (left, at, row, step, right, first, down, beside, steps, out, to, under)
    return types.none(*(types.int64 if isinstance(t, types.Integer) else t for t in given)), code
