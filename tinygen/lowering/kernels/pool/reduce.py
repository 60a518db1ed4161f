"""Kernels of MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX and ARG_MIN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reduce import ArgMax, ArgMin, Mean, Reduce, ReduceMax, ReduceMin
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import make_nest, row_major
from tinygen.lowering.plan import KernelPlan, kernel

_SCALED = 25.0
"""Cycles of a sum that becomes a code."""
_TITLES = {"mean": "Mean", "reduce_max": "Largest", "reduce_min": "Smallest"}


def _reduce(node: Node) -> KernelPlan:
    op, x = node.op, node.input(0)
    assert isinstance(op, Reduce)
    strides = row_major(x.shape)
    outer = [i for i in range(len(x.shape)) if i not in op.axes]
    real = x.is_float
    context: dict[str, Any] = {
        "kind": op.KIND,
        "title": _TITLES[op.KIND],
        "count": op.count(node),
        "outputs": node.output.size,
        "outer": make_nest([x.shape[i] for i in outer], [[strides[i] for i in outer]], (0,)).context(),
        "inner": make_nest([x.shape[i] for i in op.axes], [[strides[i] for i in op.axes]], (0,)).context("j"),
        "type": ctype(x.dtype),
        "real": real,
    }
    if isinstance(op, Mean):
        context |= {"acc_type": "float" if real else "int32_t", "start": "0.0f" if real else "0"}
        if not real:
            multiplier, shift = op.scale(node)
            context |= {
                "input_zero": x.zero_point,
                "output_zero": node.output.zero_point,
                "multiplier": multiplier,
                "shift": shift,
            }
    else:
        context |= {"acc_type": ctype(x.dtype), "start": "*x"}
    return KernelPlan(
        template="pool/reduce.c.j2",
        stem=f"{op.KIND}_{x.dtype.name}",
        context=context,
        cycles=5.0 * x.size + (0.0 if real or op.KIND != "mean" else _SCALED * node.output.size),
    )


for _op in (Mean, ReduceMax, ReduceMin):
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
