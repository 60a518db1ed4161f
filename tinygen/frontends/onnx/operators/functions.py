"""Elementwise operators on one tensor of codes: a table, which holds ONNX's own floats, quantized."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.node import MICROSOFT, Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.table import Function, TableSource, function_of
from tinygen.frontends.onnx.values import Constant, Pending, Value

_KINDS = (
    *("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Reciprocal", "Sqrt", "Pow", "Exp", "Log"),
    *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
    *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Swish", "Mish", "Softplus", "Softsign", "Erf", "Gelu"),
    *("Elu", "Selu", "Celu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Shrink", "Max", "Min"),
)


@converts("Gelu", domains=MICROSOFT)
@converts(*_KINDS)
def function(operator: Operator) -> Value:
    found = table_of(operator)
    if found is None:
        error = operator.unquantized(0)
        error.fix = "It is read as a table of codes: with a quantizer in front of it, and one behind it."
        raise error
    return found


def table_of(operator: Operator) -> Pending | None:
    """The output as a function of one tensor; None if operands are constants that vary, or other tensors."""
    undo = operator.builder.mark()
    found = _operands(operator)
    if found is None:
        undo()
        return None
    base, arrays = found
    with np.errstate(all="ignore"):
        reals = operator.evaluate(arrays).astype(np.float32)
    source = TableSource(operator.builder, base.x, reals.reshape(-1), operator.kind)
    return Pending(source, Chain.start(source.channels), base.like.layout)


def _operands(operator: Operator) -> tuple[Function, dict[int, np.ndarray]] | None:
    """(one of the operands, values of all for each code of its tensor)."""
    arrays: dict[int, np.ndarray] = {}
    base: Function | None = None
    for index, value in enumerate(operator.inputs):
        if isinstance(value, Constant) and value.array.size == 1:
            arrays[index] = value.array.reshape(1)
        elif value is not None:
            found = function_of(operator.builder, value)
            if found is None or (base and (found.x, found.like.layout) != (base.x, base.like.layout)):
                return None
            base, arrays[index] = base or found, found.reals
    return None if base is None else (base, arrays)
