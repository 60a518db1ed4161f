"""GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, EQUAL and NOT_EQUAL."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.operators.shape import data_input
from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.encodings import Affine
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
_SCALED_16 = (Relation.EQUAL, Relation.NOT_EQUAL)
"""LiteRT compares 16-bit codes as they are for any other relation."""
_TURNED = {
    Relation.GREATER: Relation.LESS,
    Relation.LESS: Relation.GREATER,
    Relation.GREATER_EQUAL: Relation.LESS_EQUAL,
    Relation.LESS_EQUAL: Relation.GREATER_EQUAL,
}


@converts(*_RELATIONS)
def compare(operator: Operator) -> Op:
    relation, common = _RELATIONS[operator.code], operator.common()
    first, second = data_input(operator, 0), data_input(operator, 1)
    if second.size == 1 and len(second.shape) > len(first.shape):
        # The IR's operator drops the shape of a single second element, so the operands are swapped.
        common["inputs"], relation = common["inputs"][::-1], _TURNED.get(relation, relation)
    scaled = isinstance(first.encoding, Affine) and (first.dtype.itemsize == 1 or relation in _SCALED_16)
    return Compare(**common, relation=relation, scaled=scaled and first.dtype.itemsize <= 2)
