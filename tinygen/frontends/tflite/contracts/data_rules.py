"""Demands of operators that copy, choose and rearrange. Each names LiteRT's source (tflite/kernels/...)."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.contracts.rules import one_encoding_between
from tinygen.frontends.tflite.registry import Operator
from tinygen.frontends.tflite.targets import integers_of
from tinygen.ir.tensor import Tensor


def _operand(operator: Operator, index: int) -> Tensor:
    tensor = operator.inputs[index]
    assert tensor is not None, "contracts check that operands are there"
    return tensor


def filled_as_it_is(operator: Operator) -> str:
    """The value and the output share scale and zero point (fill.cc)."""
    return one_encoding_between(operator, [_operand(operator, 1), *operator.outputs])


def named_types(operator: Operator) -> str:
    """The options of CAST name types, though not necessarily those of its tensors (flatbuffer_conversions.cc)."""
    options = operator.options(tflite.CastOptions)
    unknown = {options.InDataType(), options.OutDataType()} - set(vars(tflite.TensorType).values())
    return f"its options name types {sorted(unknown)}, which do not exist" if unknown else ""


def one_hot_axis(operator: Operator) -> str:
    """-1, or a dimension of the output (one_hot.cc)."""
    axis, rank = operator.options(tflite.OneHotOptions).Axis(), len(_operand(operator, 0).shape) + 1
    return "" if -1 <= axis < rank else f"axis {axis} of {rank} dimensions"


def selected_whole(operator: Operator) -> str:
    """Operands have one shape; the condition has it too, or one element, or one per row (select.cc)."""
    condition, first, second = (_operand(operator, index).shape for index in range(3))
    if all(_operand(operator, index).size == 1 for index in range(3)):
        return ""
    if first != second:
        return f"its operands have shapes {list(first)} and {list(second)}"
    fits = condition in ((), first) or (len(condition) == 1 and condition == first[:1])
    return "" if fits else f"its condition has shape {list(condition)}, its operands {list(first)}"


def neighbouring_axes(operator: Operator) -> str:
    """Axes lie side by side (reverse.cc)."""
    listed, rank = integers_of(operator.inputs[1]), len(_operand(operator, 0).shape)
    if listed is None:
        return ""
    axes = sorted(axis + rank if axis < 0 else axis for axis in listed)
    inside = all(0 <= axis < rank for axis in axes)
    side_by_side = axes == list(range(axes[0], axes[0] + len(axes))) if axes else True
    return "" if inside and side_by_side else f"its axes are {listed} of {rank} dimensions: they must be neighbours"


def depth_of_blocks(operator: Operator) -> str:
    """Channels are those of whole blocks (depth_to_space.cc)."""
    block, channels = operator.options(tflite.DepthToSpaceOptions).BlockSize(), _operand(operator, 0).shape[3]
    fits = block > 0 and channels % block**2 == 0
    return "" if fits else f"{channels} channels do not fill blocks of {block} x {block}"


def whole_blocks(operator: Operator) -> str:
    """Rows and columns are those of whole blocks (space_to_depth.cc)."""
    block, (_, height, width, _) = operator.options(tflite.SpaceToDepthOptions).BlockSize(), _operand(operator, 0).shape
    fits = block > 0 and height % block == 0 == width % block
    return "" if fits else f"{height} rows and {width} columns do not fill blocks of {block} x {block}"


def blocks(operator: Operator) -> str:
    """A step, and a pair of margins, for each dimension between batch and channels (space_to_batch_nd.cc)."""
    spatial = len(_operand(operator, 0).shape) - 2
    steps, margins = _operand(operator, 1).shape, _operand(operator, 2).shape
    if steps == (spatial,) and margins == (spatial, 2):
        return ""
    return f"its parameters have shapes {list(steps)} and {list(margins)}, [{spatial}] and [{spatial}, 2] wanted"
