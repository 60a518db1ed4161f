"""If."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.frontends.onnx.branches import ReadBranch
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.values import Coded, Constant, GraphInput, Value, in_order
from tinygen.ir.encodings import Plain
from tinygen.ir.tensor import Tensor

_FIX = "End every branch with a QuantizeLinear of the same scale and zero point."


@converts("If")
def branch(operator: Operator) -> list[Value]:
    """The condition as an index: 0 is else, 1 is then."""
    graphs = [operator.attribute("else_branch"), operator.attribute("then_branch")]
    index = _condition(operator)
    captured, branches = operator.read_branches(graphs)
    counts = {len(one.outputs) for one in branches} | {len(operator.output_names)}
    operator.damaged(len(counts) > 1, "its branches do not give as many values as it has outputs")
    outputs = [_alike(operator, [one.outputs[i] for one in branches], branches) for i in range(counts.pop())]
    for values in outputs:
        same = {(value.tensor.shape, value.tensor.encoding, value.raw, value.raw_shift) for value in values}
        operator.require(len(same) == 1, "its branches give other shapes or quantization", _FIX)
    made = operator.builder.emit_branch(
        [index, *captured],
        [one.graph([pair[i].tensor for pair in outputs]) for i, one in enumerate(branches)],
        [name or f"{operator.name}_{i}" for i, name in enumerate(operator.output_names)],
    )
    return [
        Coded(tensor, pair[0].layout, pair[0].raw, pair[0].raw_shift)
        for tensor, pair in zip(made, outputs, strict=True)
    ]


def _condition(operator: Operator) -> Tensor:
    value = operator.value(0)
    if isinstance(value, Constant):
        operator.damaged(value.array.size != 1, "its condition is not one value")
        flag = np.asarray(value.array, np.bool_).reshape(1)
        return operator.builder.constant_tensor(f"{operator.name}_condition", flag, Plain("bool"))
    if isinstance(value, GraphInput) and value.dtype == np.bool_:
        return operator.builder.encode_input(value, Plain("bool"))
    is_flag = isinstance(value, Coded) and value.tensor.encoding == Plain("bool")
    operator.require(is_flag, "its condition is no bool", "Compare, or let it be a bool input of the model.")
    assert isinstance(value, Coded)
    return value.tensor


def _alike(operator: Operator, values: Sequence[Value], branches: Sequence[ReadBranch]) -> list[Coded]:
    """One output of every branch, all with the same order of dimensions."""
    coded = [value for value in values if isinstance(value, Coded)]
    operator.require(len(coded) == len(values), "a branch gives a float that nothing quantizes, or a constant", _FIX)
    first = coded[0]
    if all((value.layout, value.tensor.shape) == (first.layout, first.tensor.shape) for value in coded):
        return coded
    found = []
    for value, one in zip(coded, branches, strict=True):
        one.builder.label = f"{operator.name}_in_order"
        moved = in_order(one.builder.in_order(value))
        found.append(replace(value, tensor=moved.tensor, layout=moved.layout))
    return found
