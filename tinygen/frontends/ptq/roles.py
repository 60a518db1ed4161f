"""Requirements of integer operators on encodings (TFLite's quantization specification)."""

from __future__ import annotations

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Extremum
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather import Gather
from tinygen.ir.ops.movement import Movement
from tinygen.ir.ops.normalization_of_rows import L2Normalization
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.ops.pool_2d import MaxPool2D, Pool2D
from tinygen.ir.ops.reduce import ReduceMax, ReduceMin
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.resize import Resize, ResizeNearestNeighbor
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.softmax import LogSoftmax, Softmax
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.unary import Logistic, Tanh

MAC = (Conv2D, DepthwiseConv2D, FullyConnected, TransposeConv)
"""Inputs: activations, weights per channel, optional bias."""
SAME_SCALE = (
    *(Pool2D, Movement, Reshape, Concatenation, Pad, Extremum, ReduceMax, ReduceMin, Resize, TopK),
    *(Gather, Select),
)
"""Inputs and outputs have one encoding, but for those that are positions or conditions."""
EXACT = (MaxPool2D, Movement, Reshape, Concatenation, MirrorPad, ResizeNearestNeighbor)
"""Quantizing before or after is the same."""

_FIXED = {
    Softmax: Affine("int8", (1 / 256,), (-128,)),
    LogSoftmax: Affine("int8", (1 / 16,), (127,)),
    Logistic: Affine("int8", (1 / 256,), (-128,)),
    Tanh: Affine("int8", (1 / 128,), (0,)),
    L2Normalization: Affine("int8", (1 / 128,), (0,)),
}


def fixed_output(op: Op) -> Affine | None:
    """The output encoding of an operator with a known range, regardless of calibration; None for other operators."""
    return _FIXED.get(type(op))


def must_be_fixed(op: Op) -> bool:
    """Whether the output can have no other encoding: fixed-point arithmetic. Those of tables can."""
    return isinstance(op, Softmax | LogSoftmax | L2Normalization)


def channel_axis(op: Op) -> int:
    """Axis of the output channels in the weights of a multiply-accumulate operator."""
    return DepthwiseConv2D.CHANNEL_AXIS if isinstance(op, DepthwiseConv2D) else 0


def activations(graph: Graph, op: Op) -> list[str]:
    """Inputs that are computed at run time."""
    return [name for name in op.inputs if name and not graph.tensors[name].is_constant]


def readers(graph: Graph) -> dict[str, list[Op]]:
    """Operators by the tensors they read."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in dict.fromkeys(op.inputs):
            found.setdefault(name, []).append(op)
    return found
