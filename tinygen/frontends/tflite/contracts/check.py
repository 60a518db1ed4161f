"""Checks the operators of a file against their contracts."""

from __future__ import annotations

from collections.abc import Iterator

from tinygen.errors import ModelError
from tinygen.frontends.tflite.contracts.contract import Contract, Types
from tinygen.frontends.tflite.contracts.table import CONTRACTS
from tinygen.frontends.tflite.registry import OPERATOR_NAMES, Operator
from tinygen.ir.tensor import Tensor


def check_version(code: int, version: int) -> None:
    """Checks the version of an entry in the file's operator list: LiteRT refuses unknown ones, used or not.

    Raises:
        ModelError: the version is unknown.
    """
    name, contract = OPERATOR_NAMES.get(code), CONTRACTS.get(code)
    if name is None:
        raise ModelError(f"operator {code} is in no version of TensorFlow Lite", where="operator codes")
    if contract is not None and not contract.oldest <= version <= contract.versions:
        raise ModelError(
            f"version {version} of {name} is unknown: versions {contract.oldest} to {contract.versions} are",
            where="operator codes",
            fix="Convert the model with another version of the converter, or check that the file is whole.",
        )


def check_operator(operator: Operator) -> None:
    """Checks an operator against its contract; operators without one are left to `convert`.

    Raises:
        ModelError: LiteRT refuses it, for the reason given.
    """
    contract = CONTRACTS.get(operator.code)
    if contract is None:
        return
    for reason in _broken(contract, operator):
        raise ModelError(reason, where=operator.describe())


def _broken(contract: Contract, operator: Operator) -> Iterator[str]:
    """Violations in the order of the checks; later checks rely on earlier ones."""
    yield from _counts(contract, operator)
    yield from _presence(contract, operator)
    yield from _overlap(operator)
    yield from _ranks(contract, operator)
    yield from _types(contract, operator)
    for rule in contract.rules:
        reason = rule(operator)
        if reason:
            yield reason


def _counts(contract: Contract, operator: Operator) -> Iterator[str]:
    name, count = OPERATOR_NAMES[operator.code], len(operator.inputs)
    most = len(contract.inputs)
    least = most if contract.needed is None else contract.needed
    if count < least or (count > most and not contract.endless):
        wanted = f"at least {least}" if contract.endless else f"{least}" if least == most else f"{least} to {most}"
        listed = f" ({', '.join(contract.inputs)})" if contract.inputs else ""
        yield f"it has {count} inputs, {name} takes {wanted}{listed}"
    if contract.outputs is not None and len(operator.outputs) != contract.outputs:
        yield f"it has {len(operator.outputs)} outputs, {name} gives {contract.outputs}"


def _presence(contract: Contract, operator: Operator) -> Iterator[str]:
    for index, tensor in enumerate(operator.inputs):
        if tensor is None and contract.role(index) not in contract.absent:
            yield f"its {contract.role(index)} (input {index}) is missing"


def _overlap(operator: Operator) -> Iterator[str]:
    for tensor in operator.outputs:
        if any(tensor is other for other in operator.inputs):
            yield f"'{tensor.name}' is both an input and an output of it"


def _named(contract: Contract, operator: Operator) -> Iterator[tuple[int, str, Tensor]]:
    for index, tensor in enumerate(operator.inputs):
        if tensor is not None:
            yield index, contract.role(index), tensor


def _ranks(contract: Contract, operator: Operator) -> Iterator[str]:
    for _, role, tensor in _named(contract, operator):
        wanted = contract.ranks.get(role)
        if wanted is not None and len(tensor.shape) not in wanted:
            numbers = " or ".join(map(str, wanted))
            yield f"its {role} '{tensor.name}' has {len(tensor.shape)} dimensions, {numbers} wanted"


def _types(contract: Contract, operator: Operator) -> Iterator[str]:
    """The first mismatch with the closest combination: that with the fewest mismatches, and the latest first one."""
    complaints = [list(_mismatches(contract, row, operator)) for row in contract.types]
    if complaints and all(complaints):
        yield min(complaints, key=lambda found: (len(found), -found[0][0]))[0][1]


def _mismatches(contract: Contract, row: Types, operator: Operator) -> Iterator[tuple[int, str]]:
    """(index among all tensors of the operator, problem)."""
    for index, role, tensor in _named(contract, operator):
        allowed = row.inputs[min(index, len(row.inputs) - 1)]
        if operator.kind(tensor) not in allowed:
            yield index, f"its {role} '{tensor.name}' is {operator.kind(tensor)}, not {_either(allowed)}"
    for index, tensor in enumerate(operator.outputs):
        allowed = row.outputs[min(index, len(row.outputs) - 1)]
        if operator.kind(tensor) not in allowed:
            what = f"its output '{tensor.name}' is {operator.kind(tensor)}, not {_either(allowed)}"
            yield len(operator.inputs) + index, what


def _either(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))
