"""Convolutions whose window is the whole input: dense layers, computed by their kernels.

In networks that run step by step, each layer over frames is one: its window is its whole state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinygen.ir.epilogue import Tflite
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_mac import kernel_scales
from tinygen.lowering.kernels.dense.fully_connected_dsp import fully_connected_dsp_4, fully_connected_packed_dsp
from tinygen.lowering.kernels.dense.fully_connected_few_dsp import fully_connected_few_dsp
from tinygen.lowering.kernels.dense.fully_connected_lines import fully_connected_lines
from tinygen.lowering.kernels.dense.fully_connected_pairs_dsp import fully_connected_pairs_dsp
from tinygen.lowering.kernels.dense.packed_dense import fully_connected_packed_bytes
from tinygen.lowering.plan import KernelPlan, Kind, PlanFunction, kernel


def dense_node(node: Node) -> Node | None:
    """The equivalent dense layer; None if there is none, or if the convolution has kernel scales."""
    op, x, weights = node.op, node.input(0), node.input(1)
    assert isinstance(op, Conv2D)
    rows, columns = op.geometry(node)
    one = rows.output == columns.output == 1 and not rows.padded and not columns.padded
    scaled = not op.is_tflite and kernel_scales(node) is not None
    if scaled or not one or weights.shape[1:] != x.shape[1:] or weights.data is None:
        return None
    # The codes of a window lie as those of the image do: by rows, columns, channels.
    flat = weights.data.reshape(len(weights.data), -1)
    ending = op.epilogue
    if isinstance(ending, Tflite):
        ending = replace(ending, rounding=ending.rounding or op.ROUNDING)
    dense = FullyConnected(name=op.name, inputs=op.inputs, outputs=op.outputs, epilogue=ending)
    matrix = replace(weights, shape=flat.shape, data=flat, nested_in=None)
    return Node(dense, (x, matrix, *node.inputs[2:]), node.outputs)


def _whole(plan: PlanFunction) -> PlanFunction:
    def planned(node: Node) -> KernelPlan | Sequence[KernelPlan] | None:
        dense = dense_node(node)
        return None if dense is None else plan(dense)

    planned.__doc__ = plan.__doc__
    return planned


def _register(kind: str, isa: str, plan: PlanFunction, of: Kind = "") -> None:
    kernel(Conv2D, of=of, name=f"conv_2d_whole_{kind}", family="tinygen", isa=isa)(_whole(plan))


_register("dsp", "dsp", fully_connected_dsp_4)
_register("packed_dsp", "dsp", fully_connected_packed_dsp)
_register("pairs_dsp", "dsp", fully_connected_pairs_dsp)
_register("packed_bytes", "dsp", fully_connected_packed_bytes, "codes")
_register("few_dsp", "dsp", fully_connected_few_dsp)
_register("lines", "scalar", fully_connected_lines)
