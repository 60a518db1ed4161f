"""Operators that move data or change shapes."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite import targets
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.frontends.tflite.steps import building
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.concatenation import Concatenation, Pack
from tinygen.ir.ops.movement import Split, Transpose, Unpack
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor


def integers(operator: Operator, index: int, what: str) -> list[int]:
    """The elements of a constant input."""
    return [int(v) for v in operator.constant(index, what).reshape(-1)]


def data_input(operator: Operator, index: int = 0) -> Tensor:
    """A required input."""
    tensor = operator.inputs[index] if index < len(operator.inputs) else None
    operator.require(tensor is not None, f"input {index} is missing")
    assert tensor is not None
    return tensor


def axis_of(operator: Operator, axis: int, rank: int) -> int:
    """A non-negative axis."""
    operator.require(-rank <= axis < rank, f"axis {axis} of {rank} dimensions")
    return axis % rank


_TARGETS = {
    tflite.BuiltinOperator.RESHAPE: targets.reshaped,
    tflite.BuiltinOperator.SQUEEZE: targets.squeezed,
    tflite.BuiltinOperator.EXPAND_DIMS: targets.expanded,
}


@converts(*_TARGETS)
def reshape(operator: Operator) -> Op:
    # Parameters computed at run time can give only the shape that the file declares.
    shape = _TARGETS[operator.code](operator) or operator.outputs[0].shape
    assert not isinstance(shape, str), "its contract has been checked"
    return Reshape(**operator.common(keep_inputs=1), shape=shape)


@converts(tflite.BuiltinOperator.CONCATENATION)
def concatenation(operator: Operator) -> Op | Steps:
    options = operator.options(tflite.ConcatenationOptions)
    operator.require(options.FusedActivationFunction() == 0, "a fused activation is not supported")
    axis = axis_of(operator, options.Axis(), len(data_input(operator).shape))
    if all(part is not None and operator.kind(part) != "uint8" for part in operator.inputs):
        return Concatenation(**operator.common(), axis=axis)
    steps, wanted = building(operator), operator.outputs[0].encoding
    parts = [data_input(operator, index) for index in range(len(operator.inputs))]
    scaled = [
        part if part.encoding == wanted else steps.step(Quantize, part, encoding=wanted, in_float=True)
        for part in parts
    ]
    return steps.last(Concatenation, *scaled, axis=axis)


@converts(tflite.BuiltinOperator.PACK)
def pack(operator: Operator) -> Op:
    axis = operator.options(tflite.PackOptions).Axis()
    return Pack(**operator.common(), axis=axis_of(operator, axis, len(data_input(operator).shape) + 1))


@converts(tflite.BuiltinOperator.UNPACK)
def unpack(operator: Operator) -> Op:
    axis = operator.options(tflite.UnpackOptions).Axis()
    return Unpack(**operator.common(), axis=axis_of(operator, axis, len(data_input(operator).shape)))


def _common_of(operator: Operator, index: int) -> dict[str, object]:
    """Common arguments of an operator whose only data input is input `index`."""
    return operator.common() | {"inputs": (data_input(operator, index).name,)}


@converts(tflite.BuiltinOperator.SPLIT)
def split(operator: Operator) -> Op:
    shape = data_input(operator, 1).shape
    axis = axis_of(operator, integers(operator, 0, "axis")[0], len(shape))
    parts = len(operator.outputs)
    operator.require(parts > 0 and shape[axis] % parts == 0, f"{shape[axis]} elements in {parts} parts")
    return Split(**_common_of(operator, 1), axis=axis, sizes=(shape[axis] // parts,) * parts)  # type: ignore[arg-type]


@converts(tflite.BuiltinOperator.SPLIT_V)
def split_v(operator: Operator) -> Op:
    shape = data_input(operator).shape
    axis = axis_of(operator, integers(operator, 2, "axis")[0], len(shape))
    sizes = integers(operator, 1, "sizes")
    operator.require(sizes.count(-1) <= 1, f"sizes {sizes}")
    rest = shape[axis] - sum(size for size in sizes if size != -1)
    final = tuple(rest if size == -1 else size for size in sizes)
    operator.require(all(size > 0 for size in final), f"sizes {sizes} of {shape[axis]} elements")
    return Split(**operator.common(keep_inputs=1), axis=axis, sizes=final)


def _paddings(operator: Operator) -> tuple[tuple[int, int], ...]:
    values = integers(operator, 1, "paddings")
    operator.require(len(values) == 2 * len(data_input(operator).shape), f"paddings {values}")
    return tuple(zip(values[0::2], values[1::2], strict=True))


@converts(tflite.BuiltinOperator.PAD)
def pad(operator: Operator) -> Op:
    # LiteRT pads tensors that are not quantized with 0, regardless of the output's zero point.
    before, after = data_input(operator).encoding, operator.outputs[0].encoding
    value = after.zero_point[0] if isinstance(before, Affine) and isinstance(after, Affine) else 0
    return Pad(**operator.common(keep_inputs=1), paddings=_paddings(operator), value=value)


@converts(tflite.BuiltinOperator.PADV2)
def pad_v2(operator: Operator) -> Op:
    values = operator.constant(2, "pad value").reshape(-1)
    operator.require(len(values) == 1, f"{len(values)} pad values")
    operator.require(values.dtype == data_input(operator).dtype, "a pad value of another type")
    value = values[0].item()
    return Pad(**operator.common(keep_inputs=1), paddings=_paddings(operator), value=value)


@converts(tflite.BuiltinOperator.MIRROR_PAD)
def mirror_pad(operator: Operator) -> Op:
    mode = operator.options(tflite.MirrorPadOptions).Mode()
    operator.require(mode in (0, 1), f"mode {mode} is not supported")
    symmetric = mode == tflite.MirrorPadMode.SYMMETRIC
    return MirrorPad(**operator.common(keep_inputs=1), paddings=_paddings(operator), value=0, symmetric=symmetric)


@converts(tflite.BuiltinOperator.TRANSPOSE)
def transpose(operator: Operator) -> Op:
    rank = len(data_input(operator).shape)
    order = tuple(axis_of(operator, v, rank) for v in integers(operator, 1, "permutation"))
    return Transpose(**operator.common(keep_inputs=1), permutation=order)
