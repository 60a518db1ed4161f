"""Convolutions on integer codes whose window is the whole input: dense layers, computed by their kernels.

In networks that run step by step, each layer over frames is one: its window is its whole state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.lowering.kernels.dense.fully_connected_few_dsp import integer_fully_connected_few_dsp
from tinygen.lowering.kernels.dense.fully_connected_lines import integer_fully_connected_lines
from tinygen.lowering.kernels.dense.integer_fully_connected_dsp import (
    integer_fully_connected_dsp,
    integer_fully_connected_packed_dsp,
)
from tinygen.lowering.kernels.dense.integer_fully_connected_pairs_dsp import integer_fully_connected_pairs_dsp
from tinygen.lowering.kernels.dense.packed_dense import integer_fully_connected_packed_bytes
from tinygen.lowering.plan import KernelPlan, PlanFunction, kernel


def dense_node(node: Node) -> Node | None:
    """The equivalent dense layer; None if there is none, or if the convolution has kernel scales."""
    op, x, weights = node.op, node.input(0), node.input(1)
    assert isinstance(op, IntegerConv2D)
    rows, columns = op.geometry(node)
    one = rows.output == columns.output == 1 and not rows.padded and not columns.padded
    if not one or weights.shape[1:] != x.shape[1:] or node.optional(2) is not None or weights.data is None:
        return None
    # The codes of a window lie as those of the image do: by rows, columns, channels.
    flat = weights.data.reshape(len(weights.data), -1)
    dense = IntegerFullyConnected(name=op.name, inputs=op.inputs, outputs=op.outputs, epilogue=op.epilogue)
    return Node(dense, (x, replace(weights, shape=flat.shape, data=flat, nested_in=None)), node.outputs)


def _whole(plan: PlanFunction) -> PlanFunction:
    def planned(node: Node) -> KernelPlan | Sequence[KernelPlan] | None:
        dense = dense_node(node)
        return None if dense is None else plan(dense)

    planned.__doc__ = plan.__doc__
    return planned


def _register(kind: str, isa: str, plan: PlanFunction) -> None:
    kernel(IntegerConv2D, name=f"integer_conv_2d_whole_{kind}", family="tinygen", isa=isa)(_whole(plan))


_register("dsp", "dsp", integer_fully_connected_dsp)
_register("packed_dsp", "dsp", integer_fully_connected_packed_dsp)
_register("pairs_dsp", "dsp", integer_fully_connected_pairs_dsp)
_register("packed_bytes", "dsp", integer_fully_connected_packed_bytes)
_register("few_dsp", "dsp", integer_fully_connected_few_dsp)
_register("lines", "scalar", integer_fully_connected_lines)
