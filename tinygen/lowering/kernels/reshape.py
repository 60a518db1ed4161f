"""RESHAPE computes nothing: its output lies where its input lies."""

from __future__ import annotations

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reshape import Reshape
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Reshape, name="alias")
def alias(node: Node) -> KernelPlan | None:
    return KernelPlan(template="", inplace=((0, 0),))
