"""Elementwise operators of one and of two tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.floats.functions import softmax_axis
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.operators.functions import table_of
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.elementwise import BinarySource, SoftmaxSource, as_int8
from tinygen.frontends.onnx.steps import pending_of, per_channel, stepped
from tinygen.frontends.onnx.values import Coded, Constant, Pending, Value, from_order
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.binary import Add, Arithmetic, Mul, Sub
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.tensor import Tensor

_KINDS: dict[str, type[Arithmetic]] = {"Add": Add, "Sub": Sub, "Mul": Mul}


def _pending(operator: Operator, index: int = 0) -> Pending:
    pending = pending_of(operator.builder, operator.value(index))
    if pending is None:
        raise operator.unquantized(index)
    return pending


@converts("Relu")
def relu(operator: Operator) -> Value:
    return stepped(_pending(operator), Chain.relu)


@converts("Clip")
def clip(operator: Operator) -> Value:
    low = float(operator.attributes.get("min", -math.inf))
    high = float(operator.attributes.get("max", math.inf))
    low = operator.scalar(1, "minimum") if operator.has(1) else low
    high = operator.scalar(2, "maximum") if operator.has(2) else high
    value = operator.value(0)
    if isinstance(value, Coded) and value.raw:
        return _clipped_codes(operator, value, low, high)
    return stepped(_pending(operator), lambda chain: chain.clip(low, high))


def _clipped_codes(operator: Operator, value: Coded, low: float, high: float) -> Coded:
    """Codes clamped to fewer bits of a wider type; unchanged if the quantizer has clamped them already."""
    least, largest = operator.builder.code_range(value.tensor)
    lower = max(math.ceil(max(low, -(2**31))) - value.raw_shift, least)
    upper = min(math.floor(min(high, 2**31)) - value.raw_shift, largest)
    operator.damaged(lower > upper, f"no code lies between {low} and {high}")
    if (lower, upper) == (least, largest):
        return value
    epilogue = Rescale((1,), (value.tensor.zero_point,), (0,), lower, upper)
    return replace(
        value, tensor=operator.builder.emit(Requantize, [value.tensor], value.tensor.encoding, epilogue=epilogue)
    )


@converts("BatchNormalization")
def batch_normalization(operator: Operator) -> Value:
    operator.require(not operator.attribute("training_mode", 0), "it is in training mode", "Export with model.eval().")
    pending = _pending(operator)
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (operator.array(i + 1, name).astype(np.float64) for i, name in enumerate(names))
    channel = pending.channel_dim()
    first = len(pending.shape) > 1 and (pending.source.channels == 1 or channel == 1)
    operator.require(first, "its channels are not the tensor's last dimension")
    epsilon = float(operator.attribute("epsilon", 1e-5))
    return stepped(pending, lambda chain: chain.batch_norm(mean, variance, epsilon, gamma, beta))


@converts("Add", "Sub", "Mul", "Div")
def arithmetic(operator: Operator) -> Value:
    for index in (1, 0):
        value = operator.value(index)
        if isinstance(value, Constant) and (value.codes is None or value.array.size == 1):
            found = table_of(operator) if operator.kind == "Div" and index == 0 else None
            return found or _with_constant(operator, value.array, index)
    found = table_of(operator)
    if found is not None:
        return found
    operator.require(operator.kind in _KINDS, "it divides by a value that is computed at run time")
    return _of_tensors(operator)


def _with_constant(operator: Operator, array: np.ndarray, index: int) -> Pending:
    """The value with a constant operand added to its affine map."""
    pending = _pending(operator, 1 - index)
    values = per_channel(array, pending, "constant")
    shape = np.broadcast_shapes(pending.shape, array.shape)
    operator.require(shape == pending.shape, f"a constant of shape {list(array.shape)} makes the tensor larger")
    if operator.kind == "Add":
        return stepped(pending, lambda chain: chain.affine(1.0, values))
    if operator.kind == "Mul":
        return stepped(pending, lambda chain: chain.affine(values))
    if operator.kind == "Sub":
        sign = 1.0 if index == 1 else -1.0
        return stepped(pending, lambda chain: chain.affine(sign, -sign * values))
    operator.require(index == 1, "it divides by a value that is computed at run time")
    return stepped(pending, lambda chain: chain.divide(values))


def _of_tensors(operator: Operator) -> Value:
    """Both operands get the layout of the one with the result's shape, or ONNX's order if neither has that shape."""
    values = [operator.value(0), operator.value(1)]
    shape = np.broadcast_shapes(values[0].shape, values[1].shape)
    model = next((v for v in values if isinstance(v, Coded) and v.shape == shape), None)
    operator.require(model is not None, f"operands {list(values[0].shape)} and {list(values[1].shape)} that both grow")
    assert model is not None
    alike = all(v.shape == shape for v in values if isinstance(v, Coded))
    order = model.layout.dim_order()
    if not alike or order is None:
        tensor, order = operator.builder.as_plain(model)
        model = from_order(tensor, order)
    else:
        model = replace(model, tensor=operator.builder.reshape(model.tensor, tuple(shape[dim] for dim in order)))
    a, b = (_operand(operator, index, model, order) for index in (0, 1))
    if operator.kind in ("Add", "Sub"):
        exact = _exact_sum(operator, a, b)
        if exact is not None:
            return Coded(exact, model.layout)
    channels = model.tensor.shape[-1]
    source = BinarySource(operator.builder, _KINDS[operator.kind], a, b, channels)
    return Pending(source, Chain.start(channels), model.layout)


def _operand(operator: Operator, index: int, model: Coded, order: Sequence[int]) -> Tensor:
    """An operand with its dimensions in an order, that of the model's tensor."""
    value = operator.value(index)
    rank = len(model.shape)
    shape = (1,) * (rank - len(value.shape)) + value.shape
    if isinstance(value, Constant):
        assert value.codes is not None
        codes = value.codes
        operator.require(not codes.encoding.per_channel, f"its {operator.label(index)} has a scale per channel")
        array = codes.codes.reshape(shape).transpose(order)
        return operator.builder.constant_tensor(operator.input_names[index], array, codes.encoding)
    coded = operator.coded(index)
    if coded.shape == model.shape:
        return operator.builder.in_layout(coded, model.layout, model.tensor.shape)
    return operator.builder.in_dims(coded.viewed(shape), order)


def _exact_sum(operator: Operator, a: Tensor, b: Tensor) -> Tensor | None:
    """The sum of tensors with equal scales, without rounding; None if scales differ or 8 bits cannot hold it."""
    if a.integer.scale != b.integer.scale:
        return None
    (low_a, high_a), (low_b, high_b) = operator.builder.integer_range(a), operator.builder.integer_range(b)
    low, high = (low_a + low_b, high_a + high_b) if operator.kind == "Add" else (low_a - high_b, high_a - low_b)
    zero = -128 - low if high > 127 else 0
    if not -128 <= low + zero <= high + zero <= 127:
        return None
    operands = [as_int8(operator.builder, tensor, "a sum") for tensor in (a, b)]
    encoding = Affine("int8", a.integer.scale, (zero,))
    return operator.builder.emit(_KINDS[operator.kind], operands, encoding)


@converts("Softmax")
def softmax(operator: Operator) -> Value:
    value = operator.coded(0)
    axis = softmax_axis(operator, value.shape)
    operator.require(axis is not None, f"softmax over several dimensions of {list(value.shape)}", "Flatten it first.")
    assert axis is not None
    _, order = operator.builder.as_plain(value)
    if order[-1] != axis:
        order = (*(dim for dim in order if dim != axis), axis)
    value = from_order(operator.builder.in_dims(value, order), order)
    source = SoftmaxSource(operator.builder, value.tensor)
    return Pending(source, Chain.start(source.channels), value.layout)
