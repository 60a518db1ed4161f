"""Makes one dilated convolution of the operators that converters wrap it in, and simpler operators of others.

TensorFlow computes a dilated convolution as SPACE_TO_BATCH_ND, a convolution without dilation over every n-th row and
column, and BATCH_TO_SPACE_ND; of one dimension, with reshapes in between. Together these are a convolution whose
padding is what the first adds and the last does not crop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from tinygen.errors import TinygenError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.movement import StridedSlice, Transpose
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.space_to_batch import BatchToSpace, Blocks, SpaceToBatch
from tinygen.ir.steps import Building, Steps
from tinygen.ir.tensor import Shape, Tensor
from tinygen.passes.remove_dead import remove_dead


def without_batches(graph: Graph) -> Graph:
    """The same graph without SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND."""
    if not any(isinstance(op, Blocks) for op in graph.ops):
        return graph
    return _taken_apart(_dilated(graph))


@dataclass(frozen=True)
class _Wrapped:
    """A convolution of which nothing else reads an operand or a result, and the two operators around it."""

    before: Node
    conv: Node
    after: Node

    @property
    def axes(self) -> tuple[int, ...] | None:
        """Which of the convolution's rows and columns the blocks are of; None if reshapes do more than add or drop the
        other dimension.
        """
        inner, outer = self.before.output.shape, self.after.input(0).shape
        x, y = self.conv.input(0).shape, self.conv.output.shape
        if (inner, outer) == (x, y):
            return 0, 1
        for axis in (0, 1):
            other = 2 - axis
            dropped = (x[:other] + x[other + 1 :], y[:other] + y[other + 1 :])
            if (inner, outer) == dropped and x[other] == y[other] == 1:
                return (axis,)
        return None


def _dilated(graph: Graph) -> Graph:
    """Wrapped convolutions become dilated ones."""
    readers = Counter(name for op in graph.ops for name in op.inputs) + Counter(graph.sinks)
    writers = {name: op for op in graph.ops for name in op.outputs}

    changes: dict[str, Steps] = {}
    for op in graph.ops:
        wrapped = _wrapped(graph, op, writers, readers) if isinstance(op, BatchToSpace) else None
        steps = None if wrapped is None else _merged(wrapped, graph.tensors)
        if wrapped is not None and steps is not None:
            changes |= {op.name: steps, wrapped.conv.op.name: Steps()}
    return remove_dead(_changed(graph, lambda op: changes.get(op.name)))


def _taken_apart(graph: Graph) -> Graph:
    """Others become pads, transposes and slices between reshapes."""

    def change(op: Op) -> Steps | None:
        return _plain(graph.node(op), graph.tensors) if isinstance(op, Blocks) else None

    return _changed(graph, change)


def _changed(graph: Graph, change: Callable[[Op], Steps | None]) -> Graph:
    """The graph with what `change` puts in the place of operators."""
    tensors, ops = dict(graph.tensors), list[Op]()
    for op in graph.ops:
        steps = change(op)
        if steps is None:
            ops.append(op)
            continue
        ops += steps.ops
        tensors |= {tensor.name: tensor for tensor in steps.tensors}
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _wrapped(
    graph: Graph, last: BatchToSpace, writers: Mapping[str, Op], readers: Mapping[str, int]
) -> _Wrapped | None:
    """The convolution that a BATCH_TO_SPACE_ND ends; None if there is none."""
    conv = _behind_reshapes(last.inputs[0], writers, readers)
    if not isinstance(conv, Conv2D | DepthwiseConv2D):
        return None
    first = _behind_reshapes(conv.inputs[0], writers, readers)
    if not isinstance(first, SpaceToBatch) or first.block != last.block:
        return None
    return _Wrapped(graph.node(first), graph.node(conv), graph.node(last))


def _behind_reshapes(name: str, writers: Mapping[str, Op], readers: Mapping[str, int]) -> Op | None:
    """The operator that writes a tensor, or another shape of it; None if something else reads that."""
    op = writers.get(name)
    while isinstance(op, Reshape) and readers[name] == 1:
        name = op.inputs[0]
        op = writers.get(name)
    return op if readers[name] == 1 else None


def _merged(wrapped: _Wrapped, taken: Collection[str]) -> Steps | None:
    """The dilated convolution; None if there is none that computes the same."""
    first, conv, last = wrapped.before.op, wrapped.conv.op, wrapped.after.op
    assert isinstance(first, SpaceToBatch) and isinstance(conv, Conv2D | DepthwiseConv2D)
    assert isinstance(last, BatchToSpace)
    x, axes = wrapped.before.input(0), wrapped.axes
    if x.encoding != wrapped.conv.input(0).encoding or wrapped.conv.output.encoding != wrapped.after.output.encoding:
        # A reshape keeps codes, and may give them another scale.
        return None
    if axes is None or x.shape[0] != 1 or conv.stride != (1, 1) or conv.dilation != (1, 1):
        return None
    dilation, paddings = [1, 1], [(axis.before, axis.after) for axis in conv.geometry(wrapped.conv)]
    for axis, step, added, cropped in zip(axes, first.block, first.paddings, last.crops, strict=True):
        own = paddings[axis]
        dilation[axis] = step
        paddings[axis] = (added[0] + step * own[0] - cropped[0], added[1] + step * own[1] - cropped[1])
    whole = len(axes) == len(dilation)
    steps = Building(last.name, wrapped.after.outputs, taken)
    if not whole:
        # [1, T, C] as an image of one column, or of one row.
        x = steps.step(Reshape, x, shape=(*x.shape[: 2 - axes[0]], 1, *x.shape[2 - axes[0] :]))
    wide = replace(
        conv,
        inputs=(x.name, *conv.inputs[1:]),
        outputs=last.outputs if whole else conv.outputs,
        dilation=(dilation[0], dilation[1]),
        row_padding=paddings[0],
        column_padding=paddings[1],
    )
    y = wrapped.after.output if whole else wrapped.conv.output
    try:
        [shape] = Node(wide, (x, *wrapped.conv.inputs[1:]), (y,)).shapes()
    except TinygenError:
        # Crops beyond the padding, or padding beyond the window.
        return None
    if whole:
        return Steps((wide,))
    return steps.last(Reshape, steps.place(wide, replace(y, shape=shape)), shape=wrapped.after.output.shape)


def _plain(node: Node, taken: Collection[str]) -> Steps:
    """The operator as transposed parts of a padded tensor, or of one that is cropped."""
    op, x, shape = node.op, node.input(0), node.output.shape
    steps = Building(op.name, node.outputs, taken)
    if isinstance(op, SpaceToBatch):
        rest = ((0, 0),) * (len(shape) - 1 - len(op.block))
        if any(map(any, op.paddings)):
            x = steps.step(Pad, x, paddings=((0, 0), *op.paddings, *rest), value=op.fill(node))
        return steps.last(Reshape, _transposed(steps, x, *op.split(node)), shape=shape)
    assert isinstance(op, BatchToSpace)
    x = _transposed(steps, x, *op.split(node))
    if not any(map(any, op.crops)):
        return steps.last(Reshape, x, shape=shape)
    x = steps.step(Reshape, x, shape=op.whole(node))
    begin = (0, *(before for before, _ in op.crops), *(0,) * (len(shape) - 1 - len(op.crops)))
    axes = tuple(range(len(shape)))
    return steps.last(StridedSlice, x, begin=begin, step=(1,) * len(shape), count=shape, axes=axes)


def _transposed(steps: Building, x: Tensor, shape: Shape, order: tuple[int, ...]) -> Tensor:
    return steps.step(Transpose, steps.step(Reshape, x, shape=shape), permutation=order)
