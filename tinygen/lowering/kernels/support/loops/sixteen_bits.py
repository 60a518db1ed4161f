"""Layers of 16-bit activations and 8-bit weights (TFLite's 16x8) with the kernels for integer codes.

TFLite adds products in 64 bits. Where no sum of products leaves 32 bits, which constant weights show, such a layer
is a layer on integer codes: bias and rounding become the offset of its epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.epilogues.requantize import write_columns
from tinygen.lowering.kernels.support.epilogues.sixteen_bits import bias, bounds, rescaling, scaling
from tinygen.lowering.plan import KernelPlan, PlanFunction, kernel, registered_kernels

_Plan = TypeVar("_Plan", bound=PlanFunction)
_SAME = ("padding", "stride", "row_padding", "column_padding", "dilation")
"""Attributes of both kinds of convolutions."""
_HALVES = ("scale_high", "scale_low")
_DOUBTED = 40.0
"""Cycles of a sum that is scaled in fixed point, and a doubt looked for."""


def also_16x8(op: type[Op]) -> Callable[[_Plan], _Plan]:
    """Above `@kernel`: the kernel is one of such layers of this kind, too, by the name NAME_16x8."""

    def register(function: _Plan) -> _Plan:
        one = registered_kernels()[-1]
        assert one.plan is function, one.name
        plan = partial(_plans, variants=one.variants)
        kernel(op, of="tflite", name=f"{one.name}_16x8", family=one.family, isa=one.isa, unless=one.unless)(plan)
        return function

    return register


def on_codes(node: Node) -> Node | None:
    """The same layer on integer codes; None where sums may leave 32 bits, or scales no multiplier equals."""
    weights = node.input(1)
    if node.output.dtype != np.int16 or not weights.is_constant:
        return None
    axis = 3 if isinstance(node.op, DepthwiseConv2D) else 0
    epilogue = rescaling(node, weights.shape[axis])
    if epilogue is None:
        return None
    inputs, op, shape = _operator(node, epilogue)
    return _checked_node(Node(op, inputs, (replace(node.output, shape=shape),)))


def _checked_node(found: Node) -> Node | None:
    """None where sums may leave 32 bits."""
    try:
        found.check()
    except TinygenError:
        return None
    return found


def _operator(node: Node, epilogue: Rescale | None) -> tuple[tuple[Tensor, Tensor], Op, tuple[int, ...]]:
    """(inputs, operator, shape of the output)."""
    op, x, weights, shape = node.op, node.input(0), node.input(1), node.output.shape
    names: dict[str, Any] = {"name": op.name, "inputs": op.inputs[:2], "outputs": op.outputs}
    if isinstance(op, FullyConnected):
        outputs, depth = weights.shape
        rows = x.size // depth
        x = replace(x, shape=(rows, depth))
        return (x, weights), FullyConnected(**names, epilogue=epilogue), (rows, outputs)
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    if isinstance(op, DepthwiseConv2D):
        weights = _by_channel(weights)
    same: dict[str, Any] = {key: getattr(op, key) for key in _SAME}
    return (x, weights), Conv2D(**names, **same, epilogue=epilogue), shape


def _by_channel(weights: Tensor) -> Tensor:
    """Weights [1, KH, KW, C] of a depthwise convolution as [C, KH, KW, 1] of one with as many groups."""
    assert isinstance(weights.encoding, Affine) and weights.data is not None
    data = np.ascontiguousarray(weights.data[0].transpose(2, 0, 1)[..., None])
    encoding = replace(weights.encoding, axis=0 if weights.encoding.per_channel else None)
    return replace(weights, shape=data.shape, data=data, encoding=encoding)


def _plans(node: Node, variants: Callable[[Node], Sequence[KernelPlan]]) -> Sequence[KernelPlan]:
    """The plans of a kernel for integer codes."""
    found = on_codes(node)
    if found:
        return variants(found)
    sums = sums_on_codes(node)
    return [_checked(node, plan) for plan in variants(sums)] if sums else ()


def sums_on_codes(node: Node) -> Node | None:
    """The layer's sums without bias, for scales that a multiplier equals nearly always; None for others."""
    weights = node.input(1)
    if not isinstance(node.op, FullyConnected) or node.output.dtype != np.int16 or not weights.is_constant:
        return None
    if scaling(node)[0] != "tg_requantize_checked":
        return None
    inputs, op, shape = _operator(node, None)
    output = replace(node.output, shape=shape, encoding=Affine("int32", (1.0,), (0,)))
    return _checked_node(Node(op, inputs, (output,)))


def _checked(node: Node, plan: KernelPlan) -> KernelPlan:
    """The plan with sums that are scaled to codes, in double precision where fixed point leaves a doubt."""
    low, high = bounds(node)
    factors = scaling(node)[1]
    scales = factors.pop("scales").view(np.uint64)
    halves = ((scales >> np.uint64(32 * part)).astype(np.uint32).view(np.int32) for part in (1, 0))
    columns = {**{name[:-1]: values for name, values in factors.items()}, **dict(zip(_HALVES, halves, strict=True))}
    start = next(one for one in plan.constants if one.name == "channels").data[:, 0].astype(np.int64)
    context = {"form": "checked", "unit": 1, "output_zero": 0, "low": low, "high": high}
    ending = write_columns(context, start + bias(node, len(start)), columns)
    return replace(
        plan,
        stem=f"{plan.stem}_checked",
        context={**plan.context, **ending.context, "y_type": "int16_t"},
        constants=tuple(ending.constant() if one.name == "channels" else one for one in plan.constants),
        headers=(*plan.headers, "tinygen_double.h"),
        cycles=plan.cycles + _DOUBTED * node.output.size,
    )
