"""Merges zero padding into the convolution behind it: the padded tensor is never stored."""

from __future__ import annotations

from dataclasses import replace

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine, Float32
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.window import Padding
from tinygen.passes.remove_dead import remove_dead


def fold_pad(graph: Graph) -> Graph:
    """The graph without PADs that add rows and columns of zeros (by their encoding) in front of convolutions.

    A PAD that something else reads stays for that reader.
    """
    pads = {op.outputs[0]: op for op in graph.ops if type(op) is Pad and _is_zero_border(graph, op)}
    return remove_dead(replace(graph, ops=tuple(_folded(graph, op, pads) for op in graph.ops)))


def _is_zero_border(graph: Graph, pad: Pad) -> bool:
    source, padded = graph.tensors[pad.inputs[0]], graph.tensors[pad.outputs[0]]
    if not isinstance(source.encoding, Affine | Float32):
        return False
    zero = 0 if source.is_float else source.zero_point
    border = len(pad.paddings) == 4 and pad.paddings[0] == pad.paddings[3] == (0, 0)
    return border and source.encoding == padded.encoding and pad.value == zero


def _folded(graph: Graph, op: Op, pads: dict[str, Pad]) -> Op:
    """The convolution with the padding merged; the operator unchanged if that is impossible."""
    if not isinstance(op, Conv2D | DepthwiseConv2D) or op.inputs[0] not in pads:
        return op
    if not op.is_tflite or op.padding is not Padding.VALID:
        return op
    if op.row_padding is not None or op.column_padding is not None:
        return op
    pad = pads[op.inputs[0]]
    whole = replace(
        op,
        inputs=(pad.inputs[0], *op.inputs[1:]),
        row_padding=pad.paddings[1],
        column_padding=pad.paddings[2],
    )
    try:
        # A convolution's padding must be narrower than its window.
        same = whole.infer_shapes(graph.node(whole)) == [graph.tensors[op.outputs[0]].shape]
    except TinygenError:
        return op
    return whole if same else op
