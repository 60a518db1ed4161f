"""Kernels of the measures that early exits compare with thresholds."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.confidence import (
    BITS,
    LN_2,
    LOGARITHM_BITS,
    Margin,
    MaxProbability,
    NegativeEntropy,
    exponentials,
    logarithms,
    weighted,
)
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(Margin, name="margin")
def margin(node: Node) -> KernelPlan:
    """One pass that tracks the two largest."""
    classes = node.input(0).shape[-1]
    return KernelPlan(
        template="gated/margin.c.j2",
        stem="margin_s8",
        context={"rows": node.output.size, "classes": classes},
        cycles=7.0 * node.input(0).size,
    )


def _probability(node: Node) -> KernelPlan:
    x = node.input(0)
    entropy = isinstance(node.op, NegativeEntropy)
    powers = exponentials(x.scale)
    known = max(int(np.flatnonzero(table)[-1]) + 1 for table in (powers, weighted(x.scale) if entropy else powers))
    constants = [Constant("powers", powers[:known].astype(np.uint16), "exp(-scale * d) with 15 fractional bits")]
    if entropy:
        about = "scale * d * exp(-scale * d) with 15 fractional bits"
        constants.append(Constant("weighted", weighted(x.scale)[:known].astype(np.uint16), about))
        about = "ln(1 + i / 256) with 15 fractional bits"
        constants.append(Constant("logarithms", logarithms().astype(np.uint16), about))
    return KernelPlan(
        template="gated/probability.c.j2",
        stem=f"{node.op.KIND}_s8",
        context={
            "rows": node.output.size,
            "classes": x.shape[-1],
            "known": known,
            "entropy": entropy,
            "bits": BITS,
            "ln_2": LN_2,
            "logarithm_bits": LOGARITHM_BITS,
        },
        constants=tuple(constants),
        cycles=(20.0 if entropy else 14.0) * x.size + (120.0 if entropy else 30.0),
    )


for _op in (MaxProbability, NegativeEntropy):
    kernel(_op, name=_op.KIND)(_probability)
