"""IF."""

from __future__ import annotations

import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.branch import Branch
from tinygen.ir.ops.base import Op


@converts(tflite.BuiltinOperator.IF)
def branch(operator: Operator) -> Op:
    """The condition as an index: 0 is else, 1 is then."""
    chosen = operator.options(tflite.IfOptions)
    numbers = (chosen.ElseSubgraphIndex(), chosen.ThenSubgraphIndex())
    return Branch(**operator.common(), branches=tuple(operator.subgraph(number) for number in numbers))
