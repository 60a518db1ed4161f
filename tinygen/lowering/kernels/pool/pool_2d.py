"""Plain kernels of pools: a pointer walks over floats and TFLite's codes, other codes are read one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_LARGEST = {"title": "Largest code", "step": "acc = tg_max(acc, one)"}
_SMALLEST = {"title": "Smallest code", "step": "acc = tg_min(acc, one)"}
_EITHER = {"title": "Largest or smallest code", "step": "acc = signs[c] > 0 ? tg_max(acc, one) : tg_min(acc, one)"}


@kernel(MaxPool2D, name="max_pool_2d", unpacks=True, packs=True)
def max_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any type."""
    op, x = node.op, node.input(0)
    assert isinstance(op, MaxPool2D)
    if op.is_tflite(node):
        lowest = "-3.402823466e38f" if x.is_float else str(np.iinfo(x.dtype).min)
        tap = 10.0 if any(axis.padded for axis in op.geometry(node)) else 6.0
        walk = {"title": "Maximum", "step": "acc = *x > acc ? *x : acc", "start": lowest, "average": False}
        return _walking(node, op, "max", walk, tap * op.kernel[0] * op.kernel[1])
    low, high = map(str, x.code_range)
    if len(set(op.sign)) == 1:
        values = {**_LARGEST, "start": low} if op.sign[0] > 0 else {**_SMALLEST, "start": high}
        return _one_by_one(node, op, "pool", values)
    constant = Constant("signs", np.array(op.sign, np.int8), f"[{len(op.sign)}]")
    return _one_by_one(node, op, "pool", {**_EITHER, "start": f"signs[c] > 0 ? {low} : {high}"}, None, (constant,))


@kernel(AveragePool2D, name="average_pool_2d", unpacks=True, packs=True)
def average_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any type."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    if not op.is_tflite:
        return _one_by_one(node, op, "sum_pool", {"title": "Sum", "start": "0", "sums": True}, op.of_sums)
    zero = "0.0f" if node.output.is_float else "0"
    walk = {"title": "Average", "step": "acc += *x", "start": zero, "average": True, "upwards": op.upwards}
    return _walking(node, op, "average", walk, 30.0 + 8.0 * op.kernel[0] + 4.0 * op.kernel[0] * op.kernel[1])


def _walking(node: Node, op: MaxPool2D | AveragePool2D, stem: str, values: dict[str, Any], cycles: float) -> KernelPlan:
    """The plan of floats, int8 or int16; `cycles` are those of an output."""
    real, geometry = node.output.is_float, op.geometry(node)
    bounds = () if real else quantized_activation_range(op.activation, node.output)
    kind = {"float32": "f32", "int8": "s8", "int16": "s16"}[node.output.dtype.name]
    return KernelPlan(
        template="pool/pool_2d.c.j2",
        stem=window_stem(f"{stem}_pool_{kind}", geometry),
        context={
            **window_context(node, geometry),
            "walks": True,
            "sums": False,
            "packed_output": False,
            "real": real,
            "pixel": node.output.shape[3],
            "input_type": ctype(node.output.dtype),
            "acc_type": "float" if real else "int32_t",
            **(mac.float_clamp(node) if real else dict(zip(("low", "high"), bounds, strict=True))),
            **values,
        },
        cycles=node.output.size * cycles,
    )


def _one_by_one(
    node: Node,
    op: MaxPool2D | AveragePool2D,
    stem: str,
    values: dict[str, Any],
    epilogue: Epilogue | None = None,
    constants: tuple[Constant, ...] = (),
) -> KernelPlan | None:
    """The plan of codes of any encoding."""
    x, y = node.input(0), node.output
    activations = codes.activation_context(x)
    if activations is None:
        return None
    after, geometry = codes.ending(epilogue), op.geometry(node)
    tap = 4.0 + codes.UNPACK * codes.unpacked(x)
    output = 10.0 + 2.5 * after.cycles + codes.UNPACK * codes.unpacked(y)
    return KernelPlan(
        template="pool/pool_2d.c.j2",
        stem=window_stem(f"{stem}_{codes.kind_of(x.integer)}", geometry),
        context={
            **window_context(node, geometry),
            "walks": False,
            "average": False,
            "sums": False,
            "pixel": codes.pixel_elements(x),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "acc_type": "int32_t",
            "after": after.context,
            **codes.output_context(y),
            **values,
        },
        constants=(*constants, *after.constants),
        headers=codes.HEADERS,
        cycles=y.size * (output + 8.0 * op.kernel[0] + tap * op.kernel[0] * op.kernel[1]),
    )
