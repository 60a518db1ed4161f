"""BRANCH: a switch around calls of a function for each branch."""

from __future__ import annotations

from tinygen.ir.branch import Branch
from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Branch, name="branch")
def branch(node: Node) -> KernelPlan:
    """Scratch and cycles are those of the branches: `lowering.branches` adds them when it lowers them."""
    assert isinstance(node.op, Branch)
    return KernelPlan(
        template="gated/branch.c.j2",
        stem="branch",
        # Each operator gets its own function, since the context does not describe the branches.
        context={"layer": node.op.name},
        operands=(("index", 0), *numbered("input", len(node.inputs) - 1, first=1)),
        results=numbered("output", len(node.outputs)),
        headers=("tinygen_branch.h", "tinygen_math.h"),
    )


def numbered(kind: str, count: int, first: int = 0) -> tuple[tuple[str, int], ...]:
    """(parameter, position) of inputs or outputs, as the C calls those of a whole model."""
    return tuple((kind if count == 1 else f"{kind}_{i}", first + i) for i in range(count))
