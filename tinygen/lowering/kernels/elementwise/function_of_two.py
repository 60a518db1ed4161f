"""Kernels of DIV, FLOOR_DIV, FLOOR_MOD, SQUARED_DIFFERENCE, POW and ATAN2: a formula for each type.

POW of floats is within 0.51 units in the last place, ATAN2 within 2.8; the others are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.fixed_point import INT32_MAX, INT32_MIN, float_activation_range, quantized_activation_range
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Arithmetic
from tinygen.ir.ops.division import Div, FloorDiv, FloorMod
from tinygen.ir.ops.functions_of_two import Atan2, Pow, SquaredDifference
from tinygen.lowering.ctypes import ctype, float_literal, minus
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel

_TITLES: dict[type[Op], str] = {
    Div: "a / b",
    FloorDiv: "floor(a / b)",
    FloorMod: "a - b * floor(a / b)",
    SquaredDifference: "(a - b)^2",
    Pow: "a^b",
    Atan2: "the angle of the point (b, a)",
}
_CYCLES: dict[type[Op], float] = {Pow: 1500.0, Atan2: 90.0, FloorDiv: 150.0, FloorMod: 150.0}
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Formula:
    """C that computes `text` of a and b.

    Attributes:
        text: an expression.
        steps: statements before it.
        header: that has its functions; "" if none has.
        cycles: of an element.
    """

    text: str
    steps: tuple[str, ...] = ()
    header: str = ""
    cycles: float = 8.0


def _clamped(value: str, low: float, high: float) -> str:
    """What is no number stays so: the bounds come first."""
    return f"tg_min_f32({float_literal(high)}, tg_max_f32({float_literal(low)}, {value}))"


def _of_floats(node: Node) -> _Formula:
    op = node.op
    if isinstance(op, Div):
        low, high = float_activation_range(op.activation)
        return _Formula(_clamped("a / b", max(low, -_LARGEST), min(high, _LARGEST)), cycles=25.0)
    if isinstance(op, SquaredDifference):
        return _Formula("difference * difference", ("const float difference = a - b;",))
    # `floor_div`, `floor_mod`, `pow` and `atan2`.
    return _Formula(f"tg_{op.KIND}(a, b)", header="tinygen_elementary.h", cycles=_CYCLES[type(op)])


def _of_integers(node: Node) -> _Formula:
    """Of integers that stand for themselves, and of codes whose scale does not count."""
    op, kind = node.op, ctype(node.output.dtype)
    cast = "" if kind == "int32_t" else f"({kind})"
    if isinstance(op, SquaredDifference):
        steps = ("const uint32_t difference = (uint32_t)a - (uint32_t)b;",)
        return _Formula("(int32_t)(difference * difference)", steps)
    if isinstance(op, Div):
        low, high = np.clip(float_activation_range(op.activation), INT32_MIN, INT32_MAX).astype(np.int64).tolist()
        text = "tg_divide(a, b)"
        text = f"tg_max({text}, {low})" if low > INT32_MIN else text
        return _Formula(f"tg_min({text}, {high})" if high < INT32_MAX else text, (), "tinygen_division.h", 20.0)
    text = "tg_floor_divide(a, b)" if isinstance(op, FloorDiv) else "tg_floor_modulo(a, b)"
    if cast and isinstance(op, FloorDiv):
        # The least code over -1.
        text = f"tg_min({text}, {np.iinfo(node.output.dtype).max})"
    return _Formula(f"{cast}{text}", (), "tinygen_division.h", 20.0)


def _of_codes(node: Node) -> _Formula:
    """Of quantized codes, without their zero points."""
    op, output = node.op, node.output
    assert isinstance(op, Arithmetic)
    zero, (low, high) = output.zero_point, quantized_activation_range(op.activation, output)
    if isinstance(op, Div):
        multiplier, shift = op.scale(node)
        value, header, cycles = f"tg_quotient(a, b, {multiplier}, {shift})", "tinygen_division.h", 300.0
        steps: tuple[str, ...] = ()
    else:
        assert isinstance(op, SquaredDifference)
        scales = op.scales(node)
        steps = tuple(
            f"const int32_t {name} = tg_requantize({operand} * {1 << scales.left_shift}, {scale[0]}, {scale[1]});"
            for name, operand, scale in (("x", "a", scales.first), ("y", "b", scales.second))
        )
        value = f"tg_requantize((x - y) * (x - y), {scales.output[0]}, {scales.output[1]})"
        header, cycles = "", 45.0
    # Clamped before the zero point is added: what is rescaled may fill 32 bits.
    clamped = f"tg_clamp({value}, {low - zero}, {high - zero})"
    return _Formula(f"({ctype(output.dtype)})({clamped}{minus(-zero)})", steps, header, cycles)


def _plan(node: Node) -> KernelPlan:
    op, shape = node.op, node.output.shape
    real = node.output.is_float
    centred = not real and isinstance(op, Arithmetic) and node.output.dtype.itemsize < 4
    formula = _of_floats(node) if real else _of_codes(node) if centred else _of_integers(node)
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    return KernelPlan(
        template="elementwise/function_of_two.c.j2",
        stem=f"{op.KIND}_{node.output.dtype.name}",
        context={
            **make_nest(shape, strides, (0, 0)).context(),
            "title": _TITLES[type(op)],
            "operand": "float" if real else "int32_t",
            "zeros": [node.input(i).zero_point if centred else 0 for i in (0, 1)],
            "steps": list(formula.steps),
            "formula": formula.text,
        },
        operands=(("first", 0), ("second", 1)),
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        headers=("tinygen_math.h", formula.header) if formula.header else ("tinygen_math.h",),
        cycles=formula.cycles * node.output.size,
    )


for _op in _TITLES:
    kernel(_op, name=_op.KIND)(_plan)
