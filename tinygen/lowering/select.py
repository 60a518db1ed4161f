"""Which kernel computes which layer: the cheapest that matches, within the family asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import tinygen.lowering.kernels  # noqa: F401  (registers every kernel)
from tinygen.errors import UnsupportedError
from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import Kernel, KernelPlan, registered_kernels

FAMILIES = ("tinygen", "reference")


@dataclass(frozen=True, eq=False)
class Choice:
    """A kernel and its plans for one layer, least scratch first."""

    kernel: Kernel
    variants: tuple[KernelPlan, ...]


def choose(node: Node, family: str, isa: Collection[str]) -> Choice:
    """The kernel that is fastest for `node`.

    Args:
        node: the layer.
        family: "tinygen" allows every kernel, "reference" only the portable plain ones.
        isa: what the board's core offers, e.g. {"c99", "dsp"}.

    Raises:
        UnsupportedError: no kernel matches.
    """
    allowed = [
        kernel
        for kernel in registered_kernels()
        if kernel.op is type(node.op) and kernel.isa in isa and (family == "tinygen" or kernel.family == family)
    ]
    choices = [Choice(kernel, variants) for kernel in allowed if (variants := kernel.variants(node))]
    if not choices:
        tried = ", ".join(kernel.name for kernel in allowed) or "none"
        raise UnsupportedError(
            f"no kernel of family '{family}' computes {node.op.KIND} with these encodings (tried: {tried})",
            where=node.describe(),
        )
    return min(choices, key=lambda choice: min(plan.cycles for plan in choice.variants))
