"""Arithmetic of TFLite models: LiteRT's reference kernels, or its optimised built-in kernels.

The two sets differ in three int8 operators, by one code:

- CONV_2D: the optimised kernel (Ruy's matrix product) rounds ties of the last shift upwards, the reference away from
  zero. Grouped convolutions have the reference kernel only.
- DEPTHWISE_CONV_2D: the optimised kernel rounds ties upwards, as Arm's `vrshl` does, in all channels that fill groups
  of eight; scalar code computes the remaining channels as the reference does
  (tensorflow/lite/kernels/internal/optimized/integer_ops/depthwise_conv.h).
- FULLY_CONNECTED: a high multiply and a shift that rounds ties upwards (Ruy); the reference multiplies by the real
  multiplier in double precision.

This is what ai-edge-litert's `BUILTIN_WITHOUT_DEFAULT_DELEGATES` and pymicro-wakeword's library compute on x86-64 (with
AVX-512), tested on random layers of all shapes (tests/differential/test_optimized_arithmetic.py). If a convolution ends
in a RELU at the lowest code, negative ties are clamped and the two agree. LiteRT may choose kernels by shape on other
processors (Arm has some for 3x3 filters), and other operators were not examined: `tinygen verify --arithmetic
optimized` compares a model with LiteRT on your computer and shows the differences. XNNPACK, LiteRT's default, is
neither of the two.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np

from tinygen.ir.branch import with_branches
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Rounding
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.mac_layer import MacLayer

_GROUP = 8
"""Channels that the optimised depthwise kernel computes at once."""


class Arithmetic(StrEnum):
    """The LiteRT kernels whose rounding a TFLite model is built with."""

    REFERENCE = "reference"
    OPTIMIZED = "optimized"


def optimized_arithmetic(network: Network) -> Network:
    """A TFLite model as LiteRT's optimised kernels compute it. Call it before any pass: passes may remove channels."""
    return replace(
        network, switches=tuple(replace(switch, graph=_optimized(switch.graph)) for switch in network.switches)
    )


def _optimized(graph: Graph) -> Graph:
    graph = with_branches(graph, _optimized)
    return replace(graph, ops=tuple(_rounded(node) for node in graph.nodes()))


def _rounded(node: Node) -> Op:
    op = node.op
    if not isinstance(op, MacLayer) or not isinstance(op.epilogue, Tflite) or node.output.dtype != np.int8:
        return op
    if isinstance(op, DepthwiseConv2D):
        channels = node.output.shape[3]
        return replace(op, epilogue=replace(op.epilogue, upward_channels=channels - channels % _GROUP))
    if isinstance(op, FullyConnected) or (isinstance(op, Conv2D) and op.groups(node) == 1):
        return replace(op, epilogue=replace(op.epilogue, rounding=Rounding.UPWARDS))
    return op
