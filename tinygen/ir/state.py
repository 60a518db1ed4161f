"""States: tensors that a network keeps from one invocation to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.ops.base import LATER
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class State:
    """A tensor that outlives an invocation.

    Attributes:
        tensor: what an invocation reads; no operator writes it.
        update: the tensor whose codes `tensor` has in the next invocation: an input, another state's tensor, or what
            an operator writes. All states change at once, when the last operator has finished.
        initial: codes before the first invocation, and after a reset; shaped and typed as the tensor.
        threshold: the name by which the caller sets it; "" for states that invocations change. A threshold is one
            integer code, its `update` is the tensor itself, and a reset does not change it.
    """

    tensor: str
    update: str
    initial: np.ndarray
    threshold: str = field(default="", metadata=LATER)


def check_thresholds(states: Iterable[State], tensors: Mapping[str, Tensor]) -> None:
    """
    Raises:
        ModelError: a threshold is not a single, constant integer code, or its name is invalid in C or taken.
    """
    taken: set[str] = set()
    for state in states:
        if not state.threshold:
            continue
        where, tensor = f"threshold '{state.threshold}'", tensors[state.tensor]
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", state.threshold):
            raise ModelError("has a name that C cannot have: letters, digits and underscores", where=where)
        if state.threshold.upper() in taken:
            raise ModelError("is there twice", where=where)
        taken.add(state.threshold.upper())
        if tensor.size != 1 or tensor.dtype.kind not in "iu" or tensor.packed_bits:
            raise ModelError(f"must be one integer code, not {tensor.describe()} of {tensor.encoding}", where=where)
        if state.update != state.tensor:
            raise ModelError(f"becomes '{state.update}': only the caller may change it", where=where)
        low, high = tensor.code_range
        if not low <= int(state.initial.reshape(())) <= high:
            raise ModelError(f"begins as {int(state.initial.reshape(()))}, outside {low} to {high}", where=where)
