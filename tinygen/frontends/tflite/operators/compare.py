"""GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, EQUAL and NOT_EQUAL."""

from __future__ import annotations

import numpy as np
import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.compare import Compare, Relation

_RELATIONS = {
    tflite.BuiltinOperator.GREATER: Relation.GREATER,
    tflite.BuiltinOperator.GREATER_EQUAL: Relation.GREATER_EQUAL,
    tflite.BuiltinOperator.LESS: Relation.LESS,
    tflite.BuiltinOperator.LESS_EQUAL: Relation.LESS_EQUAL,
    tflite.BuiltinOperator.EQUAL: Relation.EQUAL,
    tflite.BuiltinOperator.NOT_EQUAL: Relation.NOT_EQUAL,
}
_TURNED = {
    Relation.GREATER: Relation.LESS,
    Relation.LESS: Relation.GREATER,
    Relation.GREATER_EQUAL: Relation.LESS_EQUAL,
    Relation.LESS_EQUAL: Relation.GREATER_EQUAL,
}


@converts(*_RELATIONS)
def compare(operator: Operator) -> Op:
    relation, common = _RELATIONS[operator.code], operator.common()
    first, second = operator.inputs
    assert first is not None and second is not None
    if first.shape != operator.outputs[0].shape:
        # The IR's operator has the shape of its first input, so the operands are swapped.
        common["inputs"], first, second = common["inputs"][::-1], second, first
        relation = _TURNED.get(relation, relation)
    fits = first.shape == operator.outputs[0].shape and second.size in (1, first.size)
    operator.require(fits, "only operands of one shape, or one of a single element, are supported")
    return Compare(**common, relation=relation, scaled=first.dtype == np.int8)
