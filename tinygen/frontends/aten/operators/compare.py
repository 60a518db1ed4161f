"""Comparisons, which compute conditions of torch.cond."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Plain
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


@converts(*_RELATIONS)
def compare(call: Call) -> Value:
    first, second, relation = call["self"], call["other"], _RELATIONS[call.target]
    if not isinstance(first, Value):
        first, second, relation = second, first, _TURNED.get(relation, relation)
    call.require(isinstance(first, Value), "neither operand depends on the input")
    if isinstance(second, Value):
        call.require(first.shape == second.shape, f"it compares {list(first.shape)} with {list(second.shape)}")
        other = call.build.like(second, first.layout)
        if call.build.tensors[other].shape != call.build.tensors[first.tensor].shape:
            other = call.build.shaped(other, call.build.tensors[first.tensor].shape)
    else:
        array = np.asarray(second.array if isinstance(second, Constant) else second, np.float32)
        call.require(array.size == 1, f"it compares with a constant of {array.size} elements", "Compare with a number.")
        other = call.build.constant(array.reshape(1), "threshold")
    made = call.build.add(Compare, [first.tensor, other], encoding=Plain("bool"), relation=relation)
    return Value(made, first.layout)
