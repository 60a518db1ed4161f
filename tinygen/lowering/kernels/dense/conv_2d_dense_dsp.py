"""CONV_2D of one output pixel for Armv7E-M: the window is the whole input, so it is a dense layer."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.conv.conv_2d_dsp import takes_int8
from tinygen.lowering.kernels.dense.fully_connected import DenseJob, dense_plan
from tinygen.lowering.kernels.dense.fully_connected_few_dsp import INT8_CONTEXT, few_plan, takes_few
from tinygen.lowering.kernels.support.epilogues.requantize import epilogue
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Conv2D, name="conv_2d_s8_dsp_dense", family="tinygen", isa="dsp")
def conv_2d_s8_dsp_dense(node: Node) -> KernelPlan | None:
    """Eight or four outputs at once; an extension serves four weights (see tg_dot_1x4), sums are 256 times as large."""
    if not takes_int8(node) or not _covers_input(node):
        return None
    ending = epilogue(node, axis=0, unit=256)
    context = {"source": "input", "y_type": "int8_t", "packed_output": False, "packed_input": False}
    if ending is None:
        return None
    return dense_plan(DenseJob(node, _dense_weights(node), ending, context, "conv_2d_s8_dsp_dense"))


@kernel(Conv2D, name="conv_2d_s8_dsp_few", family="tinygen", isa="dsp")
def conv_2d_s8_dsp_few(node: Node) -> KernelPlan | None:
    """One to three filters, in one pass over the input."""
    few = takes_few(node) and takes_int8(node) and _covers_input(node)
    ending = epilogue(node, axis=0) if few else None
    return few_plan(node, _dense_weights(node), ending, INT8_CONTEXT, "conv_2d_s8") if ending else None


def _dense_weights(node: Node) -> np.ndarray:
    """[O, KH * KW * I]: the codes of a window have the image's order: rows, columns, channels."""
    return node.constant(1).reshape(node.output.shape[3], -1)


def _covers_input(node: Node) -> bool:
    assert isinstance(node.op, Conv2D)
    rows, columns = node.op.geometry(node)
    one = rows.output == columns.output == 1 and not rows.padded and not columns.padded
    return one and node.output.shape[0] == 1 and node.input(1).shape[1:3] == node.input(0).shape[1:3]
