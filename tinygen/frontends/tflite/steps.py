"""Operators of the file that become several of the IR, or constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.frontends.tflite.registry import Operator
from tinygen.ir.steps import Building, Steps

MOST_STATIC = 1 << 24
"""Elements of a constant that an operator becomes."""


def building(operator: Operator) -> Building:
    """The operators that one of the file becomes."""
    return Building(operator.name, operator.outputs, operator.declared)


def constants(operator: Operator, *values: np.ndarray) -> Steps:
    """The outputs of an operator that computes nothing at run time."""
    found = []
    for tensor, value in zip(operator.outputs, values, strict=True):
        what = f"gives {list(value.shape)}, its output '{tensor.name}' has shape {list(tensor.shape)}"
        operator.require(operator.has_shape(tensor, value.shape), what)
        operator.require(value.size <= MOST_STATIC, f"{value.size} elements are too many for a constant")
        found.append(replace(tensor, shape=value.shape, data=value.astype(tensor.dtype)))
    return Steps((), tuple(found))
