"""Kernels of one-operand functions: a table for 8-bit codes, a formula for floats. 16-bit codes: `unary_s16`.

Float functions need no C library. Errors of what is not exact, in units in the last place: EXP 1.3, LOG 0.9, SQRT 0.5,
RSQRT 1.5 (LiteRT's bits), SIN and COS 2.6, POW 0.51, TANH 2.7, LOGISTIC 2.5, ELU 3.1; of GELU 3e-7 of x.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.fixed_point import float_activation_range
from tinygen.ir.ops.activations import HardSigmoid, Mish, Silu, Softplus
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.elementary import (
    Ceil,
    Cos,
    Erf,
    Exp,
    Floor,
    Log,
    Power,
    Round,
    Rsqrt,
    Sign,
    Sin,
    Sqrt,
    Square,
)
from tinygen.ir.ops.lookup import Lookup
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.unary import Abs, Clamp, Elu, Gelu, HardSwish, LeakyRelu, Logistic, Neg, Tanh, Unary
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_FORMULAS = {
    Logistic: "tg_logistic(x)",
    Tanh: "tg_tanh(x)",
    HardSwish: "x * tg_min_f32(tg_max_f32(x + 3.0f, 0.0f), 6.0f) / 6.0f",
    Abs: "x < 0.0f ? -x : x",
    Neg: "-x",
    Exp: "tg_exp(x)",
    Square: "x * x",
    Log: "tg_log(x)",
    Sqrt: "tg_sqrt(x)",
    Rsqrt: "tg_rsqrt(x)",
    Sin: "tg_sin(x)",
    Cos: "tg_cos(x)",
    Erf: "tg_erf(x)",
    Floor: "tg_floor(x)",
    Ceil: "tg_ceil(x)",
    Round: "tg_round_even(x)",
    Sign: "tg_sign(x)",
    Silu: "x * tg_logistic(x)",
    Mish: "x * tg_tanh(tg_softplus(x))",
}
_CYCLES = {Log: 60.0, Rsqrt: 35.0, Sin: 60.0, Cos: 60.0, Power: 1500.0}
_FLOAT_HEADERS = ("tinygen_math.h", "tinygen_float.h")


def _formula(op: Unary) -> str:
    if isinstance(op, LeakyRelu):
        return f"x > 0.0f ? x : x * {float_literal(op.alpha)}"
    if isinstance(op, Clamp):
        low, high = float_activation_range(op.activation)
        # The bounds first: what is no number stays so.
        text = f"tg_max_f32({float_literal(low)}, x)"
        return text if np.isinf(high) else f"tg_min_f32({float_literal(high)}, {text})"
    if isinstance(op, Gelu):
        return "tg_gelu_tanh(x)" if op.approximate else "tg_gelu(x)"
    if isinstance(op, Power):
        return f"tg_pow(x, {float_literal(op.exponent)})"
    if isinstance(op, Elu):
        below = f"x < 0.0f ? {_times(op.alpha)}tg_expm1(x) : x"
        return below if op.scale == 1 else f"{_times(op.scale)}({below})"
    if isinstance(op, HardSigmoid):
        ramp = f"x * {float_literal(op.slope)} + {float_literal(op.offset)}"
        return f"tg_min_f32(tg_max_f32({ramp}, 0.0f), 1.0f)"
    if isinstance(op, Softplus):
        return "tg_softplus(x)" if op.beta == 1 else f"tg_softplus({_times(op.beta)}x) / {float_literal(op.beta)}"
    return _FORMULAS[type(op)]


def _times(factor: float) -> str:
    return "" if factor == 1 else f"{float_literal(factor)} * "


def _table(node: Node, *, by_four: bool = False) -> KernelPlan | None:
    """A table of the function's values for all codes.

    Args:
        by_four: four look-ups in each turn of the loop, of which a Cortex-M0+ has not the registers.
    """
    x, output = node.input(0), node.output
    if x.dtype not in (np.int8, np.uint8) or output.dtype not in (np.int8, np.uint8):
        return None
    info = np.iinfo(x.dtype)
    codes = np.arange(info.min, info.max + 1).astype(x.dtype)
    table = node.op.evaluate(node, [codes])[0]
    return KernelPlan(
        template="elementwise/table.c.j2",
        stem=f"table_{x.dtype.name}",
        context={"size": x.size, "offset": -int(info.min), "type": ctype(output.dtype), "by_four": by_four},
        constants=(Constant("table", table, f"{node.op.KIND} of every code, from the lowest"),),
        inplace=((0, 0),),
        cycles=(3.5 if by_four else 5.0) * x.size,
    )


_by_four = partial(_table, by_four=True)


def _float(node: Node) -> KernelPlan | None:
    """The formula in single precision."""
    op = node.op
    if not node.output.is_float or not isinstance(op, Unary):
        return None
    return KernelPlan(
        template="elementwise/unary_f32.c.j2",
        stem=f"{op.KIND}_f32",
        context={"size": node.output.size, "formula": _formula(op)},
        inplace=((0, 0),),
        headers=(*_FLOAT_HEADERS, "tinygen_elementary.h") if isinstance(op, _ELEMENTARY) else _FLOAT_HEADERS,
        cycles=_CYCLES.get(type(op), 20.0) * node.output.size,
    )


_ELEMENTARY = (Ceil, Cos, Erf, Floor, Log, Power, Round, Rsqrt, Sign, Sin, Sqrt)

for _op in (
    *(Logistic, Tanh, Gelu, Elu, HardSwish, Abs, Neg, LeakyRelu, Clamp),
    *(Silu, HardSigmoid, Softplus, Mish, Exp, Square),
    *_ELEMENTARY,
):
    kernel(_op, name=f"{_op.KIND}_table", moves=True)(_table)
    kernel(_op, name=f"{_op.KIND}_table_by_four", family="tinygen", unless="armv6m")(_by_four)
    kernel(_op, name=f"{_op.KIND}_f32")(_float)
for _codes in (Quantize, Lookup):
    kernel(_codes, name=f"{_codes.KIND}_table", moves=True)(_table)
    kernel(_codes, name=f"{_codes.KIND}_table_by_four", family="tinygen", unless="armv6m")(_by_four)


@kernel(Quantize, name="quantize")
def quantize(node: Node) -> KernelPlan | None:
    """Floats to codes, or codes to codes of another scale."""
    op, x, output = node.op, node.input(0), node.output
    assert isinstance(op, Quantize)
    if op.in_float or isinstance(output.encoding, Binary):
        return None
    info = np.iinfo(output.dtype)
    context = {
        "size": x.size,
        "from_float": x.is_float,
        "to_float": False,
        "type": ctype(output.dtype),
        "output_zero": output.zero_point,
        "low": int(info.min) - output.zero_point,
        "high": int(info.max) - output.zero_point,
    }
    if x.is_float:
        context["scale"] = output.scale
    else:
        multiplier, shift = op.scale(node)
        context |= {"input_zero": x.zero_point, "multiplier": multiplier, "shift": shift}
    return KernelPlan(
        template="elementwise/quantize.c.j2",
        stem=f"quantize_{x.dtype.name}_{output.dtype.name}",
        context=context,
        inplace=((0, 0),) if x.dtype == output.dtype else (),
        headers=_FLOAT_HEADERS,
        cycles=15.0 * x.size,
    )


@kernel(Quantize, name="quantize_signs")
def quantize_signs(node: Node) -> KernelPlan | None:
    """Floats to bits."""
    x, output = node.input(0), node.output
    if not isinstance(output.encoding, Binary):
        return None
    return KernelPlan(
        template="elementwise/signs.c.j2",
        stem="signs_f32",
        context={"pixels": x.size // x.shape[-1], "out_c": x.shape[-1], **codes.output_context(output)},
        headers=codes.HEADERS,
        cycles=8.0 * x.size,
    )


@kernel(Dequantize, name="dequantize")
def dequantize(node: Node) -> KernelPlan | None:
    """Codes to floats."""
    x = node.input(0)
    return KernelPlan(
        template="elementwise/quantize.c.j2",
        stem=f"dequantize_{x.dtype.name}",
        context={
            "size": x.size,
            "from_float": False,
            "to_float": True,
            "input_zero": x.zero_point,
            "scale": x.scale,
        },
        headers=("tinygen_math.h",),
        cycles=8.0 * x.size,
    )
