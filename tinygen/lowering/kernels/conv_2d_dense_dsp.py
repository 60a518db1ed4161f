"""CONV_2D of one output pixel for Armv7E-M: the window is the whole input, so it is a dense layer."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.conv_2d_dsp import takes_int8
from tinygen.lowering.kernels.fully_connected import DenseJob, dense_plan
from tinygen.lowering.kernels.support.requantize import epilogue
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Conv2D, name="conv_2d_s8_dsp_dense", family="tinygen", isa="dsp")
def conv_2d_s8_dsp_dense(node: Node) -> KernelPlan | None:
    """Eight or four outputs at once; an extension serves four weights (see tg_dot_1x4), sums are 256 times as large."""
    if not takes_int8(node) or not _covers_input(node):
        return None
    ending = epilogue(node, axis=0, unit=256)
    context = {"source": "input", "y_type": "int8_t", "packed_output": False, "packed_input": False}
    # The codes of a window lie as those of the image do: by rows, columns, channels.
    weights = node.constant(1).reshape(node.output.shape[3], -1)
    return None if ending is None else dense_plan(DenseJob(node, weights, ending, context, "conv_2d_s8_dsp_dense"))


def _covers_input(node: Node) -> bool:
    assert isinstance(node.op, Conv2D)
    rows, columns = node.op.geometry(node)
    one = rows.output == columns.output == 1 and not rows.padded and not columns.padded
    return one and node.output.shape[0] == 1 and node.input(1).shape[1:3] == node.input(0).shape[1:3]
