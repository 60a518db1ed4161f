"""QOperator format: operators on codes, each operand with a scale and a zero point, each output, too.

Each is read as the operator on floats between a DequantizeLinear and a QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.frontends.onnx.node import MICROSOFT, STANDARD, Operator
from tinygen.frontends.onnx.operators.quantize import (
    activation_target,
    dequantized,
    dequantized_constant,
    quantized,
)
from tinygen.frontends.onnx.registry import convert, converts
from tinygen.frontends.onnx.values import Coded, Constant, Value

_OPERANDS = {
    "QLinearAdd": ("Add", 2),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearSoftmax": ("Softmax", 1),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
    "QLinearReduceMean": ("ReduceMean", 1),
}
"""The operator on floats, and its operands: codes, scale and zero point of each; those of the output follow."""


@converts(*_OPERANDS, domains=MICROSOFT)
def of_codes(operator: Operator) -> Value:
    kind, count = _OPERANDS[operator.kind]
    operator.require(not operator.attributes.get("channels_last", 0), "channels_last", "Export channels first.")
    return _between(operator, kind, range(0, 3 * count, 3), 3 * count)


@converts("QLinearConcat", domains=MICROSOFT)
def concat(operator: Operator) -> Value:
    """Scale and zero point of the output come first."""
    return _between(operator, "Concat", range(2, len(operator.inputs), 3), 0)


@converts("QLinearMatMul", domains=(*STANDARD, *MICROSOFT), strict=True)
def matmul(operator: Operator) -> Value:
    return _between(operator, "MatMul", (0, 3), 6, weights_axis=1)


@converts("QLinearConv", domains=(*STANDARD, *MICROSOFT), strict=True)
def conv(operator: Operator) -> Value:
    """x, its scale and zero point; weights, the same; scale and zero point of the output; bias in accumulator steps."""
    operator.require(not operator.attributes.get("channels_last", 0), "channels_last", "Export channels first.")
    return _between(operator, "Conv", (0, 3), 6, bias=8, weights_axis=0)


@converts("QGemm", domains=MICROSOFT, strict=True)
def gemm(operator: Operator) -> Value:
    """A, B, bias, then scale and zero point of the output, if it is codes."""
    axis = 0 if operator.attribute("transB", 0) else 1
    return _between(operator, "Gemm", (0, 3), 7, bias=6, weights_axis=axis)


def _between(
    operator: Operator, kind: str, places: Sequence[int], output: int, bias: int | None = None, weights_axis: int = 1
) -> Value:
    """The operator on what codes stand for, and its result as codes.

    Args:
        places: indices of the operands.
        output: index of the output's scale.
        bias: index of a bias in steps of the accumulator.
        weights_axis: of scales per channel, in constant operands.
    """
    values = [_real(operator, place, weights_axis) for place in places]
    names = [operator.input_names[place] for place in places]
    if bias is not None and operator.has(bias):
        values.append(_bias(operator, bias, values))
        names.append(operator.input_names[bias])
    inner = replace(operator, domain="", kind=kind, inputs=tuple(values), input_names=tuple(names))
    found = convert(inner)[0]
    if not operator.has(output):
        return found
    return replace(quantized(operator, found, activation_target(operator, output, output + 1)), raw=True)


def _real(operator: Operator, place: int, axis: int) -> Value:
    if isinstance(operator.value(place), Constant):
        array = operator.array(place, "codes")
        return dequantized_constant(operator, array, place + 1, place + 2, axis)
    return dequantized(operator, place, place + 1, place + 2)


def _bias(operator: Operator, place: int, values: Sequence[Value]) -> Constant:
    x, weights = values
    fits = isinstance(x, Coded) and isinstance(weights, Constant) and weights.codes is not None
    operator.require(fits, "a bias of two computed operands", "Add it behind the operator.")
    assert isinstance(x, Coded)
    assert isinstance(weights, Constant)
    assert weights.codes is not None
    steps = operator.array(place, "bias").astype(np.float64).reshape(-1)
    return Constant(steps * x.tensor.integer.scale[0] * np.array(weights.codes.encoding.scale))
