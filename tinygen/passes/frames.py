"""Streaming rules: which frames each kind of operator needs when its window of frames advances.

A window graph computes every tensor from T frames. When the window advances by some frames, most frames of a tensor are
the earlier ones, shifted, and only the last ones must be computed. A rule says, for one operator, from which frames of
its inputs the new frames of its outputs are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

from tinygen.errors import UnsupportedError
from tinygen.ir.branch import Branch
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.binary import Binary
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.compare import Compare
from tinygen.ir.ops.concatenation import Concatenation, Pack
from tinygen.ir.ops.confidence import Confidence
from tinygen.ir.ops.cumulative_sum import CumulativeSum
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather import Gather, ScatterNd
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.mask_channels import MaskChannels
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.movement import BroadcastTo, Split, StridedSlice, Transpose, Unpack
from tinygen.ir.ops.normalization import Normalization
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.reduce import ArgMax, Reduce
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.select import Select
from tinygen.ir.ops.sliding import Sliding
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.unary import Unary
from tinygen.ir.ops.update_slice import UpdateSlice
from tinygen.ir.ops.weighted_sum import WeightedSum
from tinygen.ir.ops.window import Padding

Span = tuple[int, int]
"""Frames of a window: the first, and the one behind the last."""


@dataclass(frozen=True)
class Flow:
    """How a tensor with frames changes from one step to the next.

    Attributes:
        axis: of the frames; dimensions in front of it are 1.
        frames: number of frames in the window.
        fresh: number of frames, the last ones, that are new in each step; fewer than `frames`.
    """

    axis: int
    frames: int
    fresh: int

    @property
    def whole(self) -> Span:
        return 0, self.frames

    @property
    def newest(self) -> Span:
        return self.frames - self.fresh, self.frames


Flows = Sequence[Flow | None]
"""Of an operator's inputs or outputs; None for a constant, and for what is another tensor altogether in each step."""


@dataclass(frozen=True)
class Rule:
    """How the new frames of an operator's outputs are computed.

    Attributes:
        op: the operator, with attributes for fewer frames.
        reads: per input the frames that are read; None for the whole input.
        flows: of the outputs.
    """

    op: Op
    reads: tuple[Span | None, ...]
    flows: tuple[Flow | None, ...]


@dataclass(frozen=True)
class Parts:
    """An operator that computes nothing: each output is a range of the first input's frames.

    Attributes:
        spans: the range of each output.
    """

    spans: tuple[Span, ...]


@singledispatch
def rule_of(op: Op, node: Node, flows: Flows) -> Rule | Parts:
    """The rule of an operator, at least one of whose inputs has a flow.

    Raises:
        UnsupportedError: it cannot be computed from the new frames and a few earlier ones.
    """
    raise node.unsupported(
        f"how {op.KIND} mixes frames is not known, so it cannot be streamed",
        fix="Mix frames by convolutions, pools, means and dense layers only.",
    )


def on_whole_windows(op: Op, node: Node, flows: Flows) -> Rule:
    """The unchanged operator, on all frames, in every step."""
    return Rule(op, tuple(flow.whole if flow else None for flow in flows), (None,) * len(node.outputs))


def _frame_by_frame(op: Op, node: Node, flows: Flows, axis: int) -> Rule:
    """New frames from new frames of the first input; `axis` is that of the outputs' frames."""
    flow = flows[0]
    if flow is None or any(flows[1:]):
        return on_whole_windows(op, node, flows)
    reads = (flow.newest, *[None] * (len(flows) - 1))
    return Rule(op, reads, (replace(flow, axis=axis),) * len(node.outputs))


def _axis(flows: Flows) -> int:
    return next(flow.axis for flow in flows if flow is not None)


@rule_of.register(Unary)
@rule_of.register(Cast)
@rule_of.register(Quantize)
@rule_of.register(Dequantize)
@rule_of.register(Requantize)
def _(op: Op, node: Node, flows: Flows) -> Rule:
    return _frame_by_frame(op, node, flows, _axis(flows))


@rule_of.register(Binary)
@rule_of.register(Select)
@rule_of.register(IntegerAdd)
def _elementwise(op: Op, node: Node, flows: Flows) -> Rule:
    """Elementwise operators: operands broadcast, dimensions are counted from the last."""
    rank = len(node.output.shape)
    behind = {len(x.shape) - flow.axis for x, flow in zip(node.inputs, flows, strict=True) if x and flow}
    moving = {(flow.frames, flow.fresh) for flow in flows if flow}
    # The same for every frame: a constant without a dimension for frames, or of size 1.
    still = all(
        flow or x is None or (x.is_constant and (len(x.shape) < max(behind) or x.shape[-max(behind)] == 1))
        for x, flow in zip(node.inputs, flows, strict=True)
    )
    axis = rank - max(behind)
    if len(behind) > 1 or len(moving) > 1 or not still or math.prod(node.output.shape[:axis]) > 1:
        return on_whole_windows(op, node, flows)
    flow = next(flow for flow in flows if flow)
    reads = tuple(each.newest if each else None for each in flows)
    return Rule(op, reads, (replace(flow, axis=axis),))


@rule_of.register
def _(op: Concatenation, node: Node, flows: Flows) -> Rule:
    if op.axis == _axis(flows):
        raise node.unsupported(
            "it joins tensors one behind the other in time", fix="Join them along channels, or leave them apart."
        )
    return _elementwise(op, node, flows)


rule_of.register(Pack, rule_of.dispatch(Op))
# Frames for branches are kept outside of them: a branch that did not run would miss some.
for _kind in (Branch, Compare, Confidence, TopK, WeightedSum):
    rule_of.register(_kind, on_whole_windows)
# What is read or written depends on other frames, or on how many there are.
for _placed in (BroadcastTo, CumulativeSum, Gather, ScatterNd, UpdateSlice):
    rule_of.register(_placed, on_whole_windows)
# Gates read whole windows and choose channels for each: nothing computed earlier can be reused.
for _gate in (
    ChannelStatistic,
    GatherChannels,
    MaskChannels,
    MixWeights,
    PositiveChannels,
    ScatterChannels,
    SoftmaxNumerator,
):
    rule_of.register(_gate, on_whole_windows)


@rule_of.register
def _(op: Pad, node: Node, flows: Flows) -> Rule:
    if any(op.paddings[_axis(flows)]):
        raise _padded(node)
    return _frame_by_frame(op, node, flows, _axis(flows))


def _padded(node: Node) -> UnsupportedError:
    return node.unsupported(
        "it pads in time: a stream has frames there, which the padding of another window would not be",
        fix="Let it pad nothing in time, and begin with a window that is longer by as many frames.",
    )


@rule_of.register
def _(op: Sliding, node: Node, flows: Flows) -> Rule:
    flow = flows[0]
    constant = all(x is None or x.is_constant for x in node.inputs[1:])
    if flow is None or not constant or flow.axis not in (1, 2):
        return on_whole_windows(op, node, flows)
    time = op.geometry(node)[flow.axis - 1]
    if time.padded:
        raise _padded(node)
    reach = (time.kernel - 1) * time.dilation + 1
    read, moved = _windows(node, flow, 0, reach, time.stride, time.output)
    if op.padding is Padding.SAME:
        # The padding value depends on the number of frames.
        op = replace(op, row_padding=(0, 0)) if flow.axis == 1 else replace(op, column_padding=(0, 0))
    return Rule(op, (read, *[None] * (len(flows) - 1)), (moved,))


def _windows(node: Node, flow: Flow, first: int, reach: int, stride: int, count: int) -> tuple[Span, Flow | None]:
    """Input frames of the new ones among `count` windows of `reach` frames, `stride` apart, starting at `first`."""
    if count > 1 and flow.fresh % stride:
        raise node.unsupported(
            f"its windows lie {stride} frames apart, and a step brings {flow.fresh} new ones",
            fix=f"Let a step take {math.lcm(flow.fresh, stride) // flow.fresh} times as many frames (hop).",
        )
    fresh = count if count == 1 else min(flow.fresh // stride, count)
    read = (first + (count - fresh) * stride, first + (count - 1) * stride + reach)
    return read, Flow(flow.axis, count, fresh) if fresh < count else None


@rule_of.register
def _(op: Softmax, node: Node, flows: Flows) -> Rule:
    if _axis(flows) == len(node.output.shape) - 1:
        return on_whole_windows(op, node, flows)
    return _frame_by_frame(op, node, flows, _axis(flows))


@rule_of.register
def _(op: Normalization, node: Node, flows: Flows) -> Rule:
    axis = _axis(flows)
    if axis in op.axes or op.varies_along(node, axis):
        return on_whole_windows(op, node, flows)
    return _frame_by_frame(op, node, flows, axis)


@rule_of.register(FullyConnected)
@rule_of.register(FullyConnected)
def _(op: FullyConnected, node: Node, flows: Flows) -> Rule:
    axis, shape, depth = _axis(flows), node.input(0).shape, node.input(1).shape[1]
    if getattr(op, "keep_dims", False):
        alone = depth == shape[-1] and axis < len(shape) - 1
    else:
        alone, axis = depth == math.prod(shape[axis + 1 :]), 0
    constant = all(x is None or x.is_constant for x in node.inputs[1:])
    return _frame_by_frame(op, node, flows, axis) if alone and constant else on_whole_windows(op, node, flows)


@rule_of.register
def _(op: Reduce, node: Node, flows: Flows) -> Rule:
    axis = _axis(flows)
    if axis in op.axes:
        return on_whole_windows(op, node, flows)
    gone = 0 if op.keep_dims else sum(other < axis for other in op.axes)
    return _frame_by_frame(op, node, flows, axis - gone)


@rule_of.register(ArgMax)
@rule_of.register(Unpack)
def _(op: ArgMax | Unpack, node: Node, flows: Flows) -> Rule:
    axis = _axis(flows)
    if axis == op.axis:
        return on_whole_windows(op, node, flows)
    return _frame_by_frame(op, node, flows, axis - (op.axis < axis))


@rule_of.register
def _(op: Reshape, node: Node, flows: Flows) -> Rule:
    (flow,) = flows
    assert flow is not None
    frame = math.prod(node.input(0).shape[flow.axis + 1 :])
    for axis, size in enumerate(op.shape):
        if math.prod(op.shape[:axis]) == 1 and size == flow.frames and math.prod(op.shape[axis + 1 :]) == frame:
            shape = (*op.shape[:axis], flow.fresh, *op.shape[axis + 1 :])
            return _frame_by_frame(replace(op, shape=shape), node, flows, axis)
    return on_whole_windows(op, node, flows)


@rule_of.register
def _(op: Transpose, node: Node, flows: Flows) -> Rule:
    axis = op.permutation.index(_axis(flows))
    if math.prod(node.output.shape[:axis]) > 1:
        return on_whole_windows(op, node, flows)
    return _frame_by_frame(op, node, flows, axis)


@rule_of.register
def _(op: Split, node: Node, flows: Flows) -> Rule | Parts:
    axis = _axis(flows)
    if op.axis != axis:
        return _frame_by_frame(op, node, flows, axis)
    if not _same_encoding(node):
        return on_whole_windows(op, node, flows)
    ends = [sum(op.sizes[: index + 1]) for index in range(len(op.sizes))]
    return Parts(tuple((end - size, end) for size, end in zip(op.sizes, ends, strict=True)))


@rule_of.register
def _(op: StridedSlice, node: Node, flows: Flows) -> Rule | Parts:
    (flow,) = flows
    assert flow is not None
    axis, shape = flow.axis, node.input(0).shape
    first, stride, count = op.begin[axis], op.step[axis], op.count[axis]
    frame_by_frame = all(
        (op.begin[i], op.step[i], op.count[i]) == (0, 1, size) for i, size in enumerate(shape) if i != axis
    )
    if stride == 1 and frame_by_frame and op.axes == tuple(range(len(shape))) and _same_encoding(node):
        return Parts(((first, first + count),))
    if stride < 0:
        return on_whole_windows(op, node, flows)
    read, moved = _windows(node, flow, first, 1, stride, count)
    if moved:
        moved = replace(moved, axis=op.axes.index(axis))
        if math.prod(node.output.shape[: moved.axis]) > 1:
            return on_whole_windows(op, node, flows)
    begin, counts = list(op.begin), list(op.count)
    begin[axis], counts[axis] = 0, moved.fresh if moved else count
    return Rule(replace(op, begin=tuple(begin), count=tuple(counts)), (read,), (moved,))


def _same_encoding(node: Node) -> bool:
    return all(output.encoding == node.input(0).encoding for output in node.outputs)
