"""Sixteen float32 numbers as one numba value, and what can be done with them.

LLVM maps them to the registers of the processor: one of AVX-512, two of AVX2, four of NEON. Numba does not make such
code from a plain loop over sixteen numbers: with such a loop an edge of the graph takes ten times as long.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)
_CONTRACT = ("contract",)


class Vector(types.Type):
    """Numba's type of sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="sixteen_float32")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Any):
        super().__init__(manager, front_end_type, _VECTOR)  # type: ignore[no-untyped-call]  # numba's has no types


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _spread(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTEGERS, [0] * LANES))


def _fused(sign: str) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product = builder.fmul(args[0], args[1], flags=_CONTRACT)
        if sign == "+":
            return builder.fadd(product, args[2], flags=_CONTRACT)
        return builder.fsub(args[2], product, flags=_CONTRACT)

    return generate


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a float32 array from ``index`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write sixteen numbers into a float32 array from ``index`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def spread_from(typing_context: Any, array: Any, index: Any) -> Any:
    """One number of a float32 array in all sixteen places."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, builder.load(_pointer(context, builder, signature.args[0], *args), align=4))

    return vector(array, types.intp), generate


@intrinsic
def spread(typing_context: Any, number: Any) -> Any:
    """One number in all sixteen places."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = args[0]
        if signature.args[0] == types.float64:
            number = builder.fptrunc(number, ir.FloatType())
        return _spread(builder, number)

    return vector(number if number in (types.float32, types.float64) else types.float64), generate


@intrinsic
def zero(typing_context: Any) -> Any:
    """Sixteen zeros."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return vector(), generate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``."""
    return vector(vector, vector, vector), _fused("+")


@intrinsic
def fnma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``c - a b``."""
    return vector(vector, vector, vector), _fused("-")


@intrinsic
def mul(typing_context: Any, a: Any, b: Any) -> Any:
    """``a b``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(args[0], args[1], flags=_CONTRACT)

    return vector(vector, vector), generate


@intrinsic
def add(typing_context: Any, a: Any, b: Any) -> Any:
    """``a + b``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(args[0], args[1], flags=_CONTRACT)

    return vector(vector, vector), generate


@intrinsic
def reciprocal(typing_context: Any, a: Any) -> Any:
    """``1 / a``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fdiv(ir.Constant(_VECTOR, [1.0] * LANES), args[0])

    return vector(vector), generate


@intrinsic
def root(typing_context: Any, a: Any) -> Any:
    """Square roots."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32"), args)

    return vector(vector), generate


@intrinsic
def total(typing_context: Any, a: Any) -> Any:
    """Sum of the sixteen numbers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(ir.FloatType(), 0.0), args[0]], fastmath=("fast",))

    return types.float32(vector), generate


@intrinsic
def store_split(typing_context: Any, whole: Any, rest: Any, index: Any, value: Any) -> Any:
    """Write the integer parts of sixteen numbers to an int32 array, and the fractional parts to a float32 array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = builder.fptosi(args[3], _INTEGERS)
        pointer = _pointer(context, builder, signature.args[0], args[0], args[2])
        builder.store(integers, builder.bitcast(pointer, _INTEGERS.as_pointer()), align=4)
        left = builder.fsub(args[3], builder.sitofp(integers, _VECTOR))
        pointer = _pointer(context, builder, signature.args[1], args[1], args[2])
        builder.store(left, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(whole, rest, types.intp, value), generate
