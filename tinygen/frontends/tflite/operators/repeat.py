"""Operators that repeat, turn round or rearrange blocks: cases of broadcasting, slices, pads and transposes."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.operators.reduce import axes_of
from tinygen.frontends.tflite.operators.shape import data_input, integers
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.frontends.tflite.steps import building
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.movement import BroadcastTo, StridedSlice, Transpose
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.ops.space_to_batch import BatchToSpace, SpaceToBatch
from tinygen.ir.steps import Steps


@converts(tflite.BuiltinOperator.BROADCAST_TO)
def broadcast_to(operator: Operator) -> Op:
    return BroadcastTo(**operator.common(keep_inputs=1), shape=tuple(integers(operator, 1, "shape")))


@converts(tflite.BuiltinOperator.FILL)
def fill(operator: Operator) -> Op:
    """One value, broadcast."""
    value = data_input(operator, 1)
    common = operator.common() | {"inputs": (value.name,)}
    return BroadcastTo(**common, shape=tuple(integers(operator, 0, "shape")))


@converts(tflite.BuiltinOperator.TILE)
def tile(operator: Operator) -> Steps:
    """A dimension of one element in front of each is broadcast."""
    x, counts = data_input(operator), integers(operator, 1, "multiples")
    operator.require(len(counts) == len(x.shape), f"multiples {counts} of {len(x.shape)} dimensions")
    operator.require(all(count > 0 for count in counts), f"multiples {counts}")
    steps = building(operator)
    pairs = list(zip(counts, x.shape, strict=True))
    single = steps.step(Reshape, x, shape=tuple(size for _, own in pairs for size in (1, own)))
    wide = steps.step(BroadcastTo, single, shape=tuple(size for pair in pairs for size in pair))
    return steps.last(Reshape, wide, shape=tuple(count * own for count, own in pairs))


@converts(tflite.BuiltinOperator.REVERSE_V2)
def reverse(operator: Operator) -> Op:
    """A slice that walks backwards."""
    shape, axes = data_input(operator).shape, axes_of(operator, 1)
    back = [axis in axes for axis in range(len(shape))]
    return StridedSlice(
        **operator.common(keep_inputs=1),
        begin=tuple(size - 1 if turned else 0 for size, turned in zip(shape, back, strict=True)),
        step=tuple(-1 if turned else 1 for turned in back),
        count=shape,
        axes=tuple(range(len(shape))),
    )


@converts(tflite.BuiltinOperator.DEPTH_TO_SPACE)
def depth_to_space(operator: Operator) -> Steps:
    batch, height, width, channels = data_input(operator).shape
    block = operator.options(tflite.DepthToSpaceOptions).BlockSize()
    depth = channels // block**2
    return _rearranged(
        operator,
        (batch, height, width, block, block, depth),
        (0, 1, 3, 2, 4, 5),
        (batch, height * block, width * block, depth),
    )


@converts(tflite.BuiltinOperator.SPACE_TO_DEPTH)
def space_to_depth(operator: Operator) -> Steps:
    batch, height, width, channels = data_input(operator).shape
    block = operator.options(tflite.SpaceToDepthOptions).BlockSize()
    rows, columns = height // block, width // block
    return _rearranged(
        operator,
        (batch, rows, block, columns, block, channels),
        (0, 1, 3, 2, 4, 5),
        (batch, rows, columns, block**2 * channels),
    )


def _rearranged(operator: Operator, split: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]) -> Steps:
    """Dimensions split, transposed, and joined again."""
    steps = building(operator)
    parts = steps.step(Reshape, data_input(operator), shape=split)
    return steps.last(Reshape, steps.step(Transpose, parts, permutation=order), shape=shape)


def _pairs(operator: Operator, index: int, what: str) -> tuple[tuple[int, int], ...]:
    values = integers(operator, index, what)
    return tuple(zip(values[0::2], values[1::2], strict=True))


@converts(tflite.BuiltinOperator.SPACE_TO_BATCH_ND)
def space_to_batch(operator: Operator) -> Op:
    block, paddings = tuple(integers(operator, 1, "block")), _pairs(operator, 2, "paddings")
    return SpaceToBatch(**operator.common(keep_inputs=1), block=block, paddings=paddings)


@converts(tflite.BuiltinOperator.BATCH_TO_SPACE_ND)
def batch_to_space(operator: Operator) -> Op:
    block, crops = tuple(integers(operator, 1, "block")), _pairs(operator, 2, "crops")
    return BatchToSpace(**operator.common(keep_inputs=1), block=block, crops=crops)
