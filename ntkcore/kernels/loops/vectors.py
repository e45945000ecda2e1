"""Vectors of ``LANES`` numbers for compiled loops: what a processor adds, multiplies and compares in one instruction.

Inside a function that numba compiles, a vector is a value like a number: ``load`` reads it from a flat array,
``spread`` makes it of one number, ``store`` writes it back, and + - * / work lane by lane. LLVM divides it into the
registers that the processor has, whatever their width, so nothing depends on whether it recognises a loop::

    @numba.njit
    def scale(x, factor, out):                       # x, out: flat arrays of one dtype
        f = spread(factor)
        for at in range(0, len(x), LANES):
            store(out, at, f * load(x, at))
"""

import hashlib
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.loops.disk_cache import keep

LANES = 16


class Vector(types.Type):
    """``LANES`` numbers of a dtype."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype}, {LANES})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, LANES))


@intrinsic
def load(typing, array, at):
    """array[at : at + LANES] of a flat array."""

    def code(context, builder, signature, arguments):
        vector = context.get_value_type(signature.return_type)
        place = address(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, at), code


@intrinsic
def store(typing, array, at, vector):
    """array[at : at + LANES] = vector."""

    def code(context, builder, signature, arguments):
        place = address(context, builder, signature.args[0], arguments[0], arguments[1], arguments[2].type)
        builder.store(arguments[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, at, vector), code


@intrinsic
def spread(typing, number):
    """The vector with this number in every lane."""

    def code(context, builder, signature, arguments):
        kind = context.get_value_type(signature.return_type)
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), arguments[0], ir.IntType(32)(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return Vector(number)(number), code


@intrinsic
def below(typing, a, b, yes, no):
    """yes where a < b, no elsewhere (and where one of them is nan)."""

    def code(context, builder, signature, arguments):
        left, right, one, other = arguments
        return builder.select(builder.fcmp_ordered("<", left, right), one, other)

    return yes(a, b, yes, no), code


def _of_one(name: str):
    """An LLVM intrinsic of one vector."""

    @intrinsic
    def apply(typing, a):
        def code(context, builder, signature, arguments):
            kind = arguments[0].type
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.v{LANES}f{a.dtype.bitwidth}"
            )
            return builder.call(function, arguments)

        return a(a), code

    return apply


root = _of_one("sqrt")
size = _of_one("fabs")


def _operator(symbol, emit: str) -> None:
    """An arithmetic operator of two vectors; a product and a sum may become one instruction. Typed and lowered
    directly: an overload for each of them would take several times as long to compile."""

    @infer_global(symbol)
    class _OfVectors(AbstractTemplate):
        def generic(self, arguments, keywords):
            a, b = arguments if len(arguments) == 2 else (None, None)
            return signature(a, a, b) if isinstance(a, Vector) and a == b else None

    @lower_builtin(symbol, Vector, Vector)
    def code(context, builder, signature, arguments):
        return getattr(builder, emit)(*arguments, flags=("contract", "nsz"))


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def address(context, builder, kind, array, at, vector):
    """Inside an intrinsic: where element ``at`` of an array of numba type ``kind`` lies, as a pointer to ``vector``."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


inlined = numba.njit(inline="always")
HERE = Path(__file__).parent
FILES = sorted({*HERE.glob("*.py"), *HERE.parent.rglob("*_loops.py")})  # of all that a loop elsewhere can be made of
SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in FILES)).hexdigest()


def compiled(function: Callable[..., Any]) -> Any:
    """numba.njit as these loops need it: without the lock, kept on disk, sums of products in one instruction.

    FILES are part of what a kept loop was made from, beside its own: the functions that are inlined into it count too.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)
    keep(dispatcher, SOURCES)
    return dispatcher


def threads() -> int:
    """How many threads run such loops side by side."""
    return min(torch.get_num_threads(), os.cpu_count() or 1)


def shares(count: int) -> list[tuple[int, int]]:
    """range(count) in parts (start, stop) of nearly the same size, one for each thread."""
    return [(part.start, part.stop) for part in slices(count, max(1, -(-count // threads())))]


def compiled_for(loop: Any, dtype: torch.dtype) -> bool:
    """Whether this process has compiled a loop whose second argument is an array of a dtype, for that dtype."""
    number = numba.from_dtype(np.dtype(str(dtype).removeprefix("torch.")))
    return any(array.dtype == number for signature in loop.signatures for array in signature[1:2])
