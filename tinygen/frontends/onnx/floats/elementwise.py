"""Arithmetic and comparisons of floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Constant, Value

_OF_TWO = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "maximum", "Min": "minimum", "Sum": "add"}
_COMPARED = {"Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "Equal": "eq"}


@computes(*_OF_TWO)
def arithmetic(operator: Operator) -> Value:
    return _folded(operator, _OF_TWO[operator.kind])


@computes("Mean")
def mean(operator: Operator) -> Value:
    total = _folded(operator, "add")
    return call(operator, "mul", shapes=[total.shape], self=total, other=1 / len(operator.inputs))


def _folded(operator: Operator, target: str) -> Value:
    """An operator of two operands, from the first operand on."""
    return reduce(
        lambda a, b: _of_two(operator, target, a, b), [operator.value(i) for i in range(len(operator.inputs))]
    )


def _of_two(operator: Operator, target: str, a: Value, b: Value) -> Value:
    shape = _broadcast(operator, [a.shape, b.shape])
    whole = target == "div" and any(isinstance(value, Coded) and value.raw for value in (a, b))
    operator.require(not whole, "a quotient of integers", "Cast to float in front of it.")
    if isinstance(a, Constant) and isinstance(b, Constant):
        # Of more than two: the others are computed at run time.
        functions = {"add": np.add, "maximum": np.maximum, "minimum": np.minimum}
        return Constant(functions[target](a.array, b.array))
    return call(operator, target, shapes=[shape], self=a, other=b)


def _broadcast(operator: Operator, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        operator.damaged(True, f"operands {' and '.join(str(list(shape)) for shape in shapes)} do not fit together")
        raise AssertionError from error


@computes("Pow")
def power(operator: Operator) -> Value:
    base, exponent = _number(operator.value(0)), _number(operator.value(1))
    shape = next(value.shape for value in (operator.value(0), operator.value(1)) if isinstance(value, Coded))
    return call(operator, "pow", shapes=[shape], self=base, exponent=exponent)


def _number(value: Value) -> Value | float:
    """A constant of one element as a number."""
    return value.array.item() if isinstance(value, Constant) and value.array.size == 1 else value


@computes(*_COMPARED)
def compare(operator: Operator) -> Value:
    return call(operator, _COMPARED[operator.kind], self=operator.value(0), other=operator.value(1))


@computes("And", "Or", "Xor")
def logical(operator: Operator) -> Value:
    return call(operator, f"logical_{operator.kind.lower()}", self=operator.value(0), other=operator.value(1))


@computes("Not")
def negation(operator: Operator) -> Value:
    return call(operator, "logical_not", self=operator.value(0))


@computes("Trilu")
def triangle(operator: Operator) -> Value:
    """Zeros above or below a diagonal of the last two dimensions."""
    x, shift = operator.real(0), int(operator.scalar(1, "diagonal")) if operator.has(1) else 0
    upper = bool(operator.attribute("upper", 1))
    ones = np.ones(x.shape[-2:], np.bool_)
    kept = np.triu(ones, shift) if upper else np.tril(ones, shift)
    return call(operator, "where", shapes=[x.shape], condition=kept, self=x, other=0.0)


@computes("Where")
def where(operator: Operator) -> Value:
    condition, first, second = (operator.value(i) for i in range(3))
    shape = _broadcast(operator, [condition.shape, first.shape, second.shape])
    return call(operator, "where", shapes=[shape], condition=condition, self=first, other=second)
