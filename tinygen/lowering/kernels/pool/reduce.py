"""Kernels of MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY, REDUCE_ALL, ARG_MAX and ARG_MIN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.ir.encodings import Plain
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reduce import (
    ArgMax,
    ArgMin,
    Mean,
    Prod,
    Reduce,
    ReduceAll,
    ReduceAny,
    ReduceMax,
    ReduceMin,
    Sum,
)
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype, minus
from tinygen.lowering.kernels.support.loops.nest import make_nest, row_major
from tinygen.lowering.plan import KernelPlan, kernel

_SCALED = 25.0
"""Cycles of a sum that becomes a code."""
_TITLES = {
    "mean": "Mean",
    "sum": "Sum",
    "prod": "Product",
    "reduce_max": "Largest",
    "reduce_min": "Smallest",
    "reduce_any": "Whether one is true",
    "reduce_all": "Whether all are true",
}
_OPERATIONS = {"mean": "+=", "sum": "+=", "prod": "*=", "reduce_any": "|=", "reduce_all": "&="}


def _reduce(node: Node) -> KernelPlan:
    op, x = node.op, node.input(0)
    assert isinstance(op, Reduce)
    strides = row_major(x.shape)
    outer = [i for i in range(len(x.shape)) if i not in op.axes]
    scaled = isinstance(op, Mean | Sum | Prod) and not x.is_float and x.dtype.itemsize < np.int32().itemsize
    context: dict[str, Any] = {
        "kind": op.KIND,
        "title": _TITLES[op.KIND],
        "count": op.count(node),
        "outputs": node.output.size,
        "outer": make_nest([x.shape[i] for i in outer], [[strides[i] for i in outer]], (0,)).context(),
        "inner": make_nest([x.shape[i] for i in op.axes], [[strides[i] for i in op.axes]], (0,)).context("j"),
        "type": ctype(x.dtype),
        "operation": _OPERATIONS.get(op.KIND, ""),
        "cast": "",
        "result": "acc",
        "scaled_steps": False,
        **_arithmetic(node, op),
    }
    return KernelPlan(
        template="pool/reduce.c.j2",
        stem=f"{op.KIND}_{x.dtype.name}",
        context=context,
        cycles=(25.0 if context["scaled_steps"] else 5.0) * x.size + (_SCALED * node.output.size if scaled else 0.0),
    )


def _arithmetic(node: Node, op: Reduce) -> dict[str, Any]:
    """The accumulator, and what becomes of it."""
    x = node.input(0)
    if not isinstance(op, Mean | Sum | Prod):
        if isinstance(op, ReduceAny | ReduceAll):
            return {"acc_type": "uint32_t", "start": "*x", "result": "(uint8_t)acc"}
        return {"acc_type": ctype(x.dtype), "start": "*x"}
    if x.is_float:
        result = {"result": f"acc / {op.count(node)}.0f"} if isinstance(op, Mean) else {}
        return {"acc_type": "float", "start": "1.0f" if isinstance(op, Prod) else "0.0f", **result}
    if isinstance(x.encoding, Plain):
        return _plain(node, op)
    return _product(node, op) if isinstance(op, Prod) else _sum(node, op)


def _plain(node: Node, op: Reduce) -> dict[str, Any]:
    """Integers without a scale: means from 64 bits, sums and products wrap."""
    kind = node.input(0).dtype
    if isinstance(op, Mean):
        return {"acc_type": "int64_t", "start": "0", "result": f"({ctype(kind)})(acc / {op.count(node)})"}
    wide = "uint64_t" if kind == np.int64 else "uint32_t"
    start = "1U" if isinstance(op, Prod) else "0U"
    return {"acc_type": wide, "start": start, "cast": f"({wide})", "result": f"({ctype(kind)})acc"}


def _product(node: Node, op: Prod) -> dict[str, Any]:
    """Codes: every product but the first element is scaled, and the last once more."""
    x, y = node.input(0), node.output
    multiplier, shift = op.scale(node)
    return {
        "acc_type": "int32_t",
        "start": f"*x{minus(x.zero_point)}",
        "scaled_steps": True,
        "input_zero": x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "result": _code(f"tg_requantize_64(acc, {multiplier}, {shift})", y),
    }


def _sum(node: Node, op: Mean | Sum) -> dict[str, Any]:
    """Codes: the sum in 32 bits, which only many codes of 16 bits leave."""
    x, y, count = node.input(0), node.output, op.count(node)
    multiplier, shift = op.scale(node)
    wraps = count * (abs(x.zero_point) - x.code_range[0]) >= 1 << 31
    total = f"acc{minus(count * x.zero_point)}"
    if wraps:
        total = f"(int32_t)(acc - {count * x.zero_point % 2**32}U)"
    return {
        "acc_type": "uint32_t" if wraps else "int32_t",
        "start": "0U" if wraps else "0",
        "cast": "(uint32_t)" if wraps else "",
        "result": _code(f"tg_requantize({total}, {multiplier}, {shift})", y),
    }


def _code(scaled: str, y: Tensor) -> str:
    """Clamped before the zero point is added: what is scaled may fill 32 bits."""
    low, high = y.code_range
    function = "tg_clamp_s8" if y.dtype == np.int8 else "tg_clamp_s16"
    if not y.zero_point:
        return f"{function}({scaled}, {low}, {high})"
    clamped = f"tg_clamp({scaled}, {low - y.zero_point}, {high - y.zero_point})"
    return f"({ctype(y.dtype)})({clamped}{minus(-y.zero_point)})"


for _op in (Mean, Sum, Prod, ReduceMax, ReduceMin, ReduceAny, ReduceAll):
    kernel(_op, name=_op.KIND)(_reduce)


def _arg(node: Node) -> KernelPlan:
    op, x = node.op, node.input(0)
    assert isinstance(op, ArgMax)
    kind = "arg_max" if op.LARGEST else "arg_min"
    return KernelPlan(
        template="pool/arg.c.j2",
        stem=f"{kind}_{x.dtype.name}_{np.dtype(node.output.dtype).name}",
        context={
            "largest": op.LARGEST,
            "depth": x.shape[op.axis],
            "inner": math.prod(x.shape[op.axis + 1 :]),
            "outer": math.prod(x.shape[: op.axis]),
        },
        cycles=6.0 * x.size,
    )


for _arg_op in (ArgMax, ArgMin):
    kernel(_arg_op, name=_arg_op.KIND)(_arg)
