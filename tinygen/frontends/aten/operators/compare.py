"""Comparisons, which compute conditions of torch.cond, and conditions of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.operators.elementwise import as_number, elementwise, is_whole
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.binary import Maximum, Minimum
from tinygen.ir.ops.compare import Compare, Relation

_RELATIONS = {
    "aten.gt": Relation.GREATER,
    "aten.ge": Relation.GREATER_EQUAL,
    "aten.lt": Relation.LESS,
    "aten.le": Relation.LESS_EQUAL,
    "aten.eq": Relation.EQUAL,
    "aten.ne": Relation.NOT_EQUAL,
}
_TURNED = {
    Relation.GREATER: Relation.LESS,
    Relation.LESS: Relation.GREATER,
    Relation.GREATER_EQUAL: Relation.LESS_EQUAL,
    Relation.LESS_EQUAL: Relation.GREATER_EQUAL,
}


_BOOL = Plain("bool")


@converts(*_RELATIONS)
def compare(call: Call) -> Value:
    """A constant operand is the second one."""
    first, second, relation = call["self"], call["other"], _RELATIONS[call.target]
    if not isinstance(first, Value):
        first, second, relation = second, first, _TURNED.get(relation, relation)
    call.require(isinstance(first, Value), "neither operand depends on the input")
    numbers = (
        [first, second]
        if is_whole(call, first) and is_whole(call, second)
        else [as_number(call, value) for value in (first, second)]
    )
    return elementwise(call, Compare, *numbers, encoding=_BOOL, relation=relation)


@converts(*(f"aten.{form}_{name}" for form in ("logical", "bitwise") for name in ("and", "or", "xor")))
@converts("aten.__and__", "aten.__or__", "aten.__xor__")
def logical(call: Call) -> Value:
    """Of conditions: the lesser and the greater of false and true, and whether they differ."""
    operands = [_condition(call, call[name]) for name in ("self", "other")]
    if "xor" in call.target:
        return elementwise(call, Compare, *operands, encoding=_BOOL, relation=Relation.NOT_EQUAL)
    return elementwise(call, Minimum if "and" in call.target else Maximum, *operands, encoding=_BOOL)


@converts("aten.logical_not", "aten.bitwise_not")
def negation(call: Call) -> Value:
    false = Constant(np.zeros(1, bool))
    return elementwise(call, Compare, _condition(call, call["self"]), false, encoding=_BOOL, relation=Relation.EQUAL)


def _condition(call: Call, value: Any) -> Any:
    if isinstance(value, Value):
        encoding = call.build.tensors[value.tensor].encoding
        call.require(encoding == _BOOL, f"of {encoding} is not supported", "Compare first: conditions are combined.")
        return value
    return Constant(np.asarray(value.array if isinstance(value, Constant) else value, bool))
