"""Which kernel computes which layer: the cheapest that matches, within the family asked for."""

from __future__ import annotations

from collections.abc import Collection

import tinygen.lowering.kernels  # noqa: F401  (registers every kernel)
from tinygen.errors import UnsupportedError
from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import Kernel, KernelPlan, registered_kernels

FAMILIES = ("tinygen", "reference")


def choose(node: Node, family: str, isa: Collection[str]) -> tuple[Kernel, KernelPlan]:
    """The cheapest kernel for `node`.

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
    plans = [(kernel, plan) for kernel in allowed if (plan := kernel.plan(node)) is not None]
    if not plans:
        tried = ", ".join(kernel.name for kernel in allowed) or "none"
        raise UnsupportedError(
            f"no kernel of family '{family}' computes {node.op.KIND} with these encodings (tried: {tried})",
            where=node.describe(),
        )
    return min(plans, key=lambda pair: pair[1].cycles)
