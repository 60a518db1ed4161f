"""ATen operators, on values of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.frontends.aten import builder as aten
from tinygen.frontends.aten.registry import CONVERTERS, Call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.values import Coded, Constant
from tinygen.ir.encodings import Plain
from tinygen.ir.tensor import Shape


def call(operator: Operator, target: str, *, shapes: Sequence[Shape] = (), **arguments: Any) -> Coded:
    """The first output of an ATen operator.

    Args:
        operator: it becomes part of this one.
        target: "conv2d".
        shapes: of the outputs, where its converter reads them.
        arguments: as in the operator's schema; values of ONNX for tensors, arrays for constant ones.
    """
    return calls(operator, target, shapes=shapes, **arguments)[0]


def calls(operator: Operator, target: str, *, shapes: Sequence[Shape] = (), **arguments: Any) -> list[Coded]:
    """All outputs of an ATen operator; see `call`."""
    given = {name: _argument(value) for name, value in arguments.items()}
    name = f"aten.{target}"
    made = CONVERTERS[name](
        Call(name, operator.describe(), given, tuple(shapes), operator.sole_reader, operator.builder)
    )
    values = made if isinstance(made, list) else [made]
    tensors = [operator.builder.tensors[value.tensor] for value in values]
    return [
        Coded(tensor, value.layout, raw=isinstance(tensor.encoding, Plain))
        for tensor, value in zip(tensors, values, strict=True)
    ]


def _argument(value: Any) -> Any:
    if isinstance(value, Coded):
        return value.placed
    if isinstance(value, Constant):
        return _argument(value.array)
    if isinstance(value, np.ndarray):
        return aten.Constant(np.asarray(value, np.float32) if value.dtype.kind == "f" else value)
    return [_argument(item) for item in value] if isinstance(value, list) else value
