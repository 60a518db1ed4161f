"""Convolutions of all channels whose multipliers are scaled by gammas, for cores without SIMD: the dense loops.

See `boosted_conv_2d_dsp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.lowering.kernels.conv.conv_2d_scalar import Job, plans_of, window_of
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.reading import output_values
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.weights.gathered import HEADER, complete_weights, operands_of
from tinygen.lowering.plan import KernelPlan, kernel


@dataclass(frozen=True, eq=False)
class BoostedJob(Job):
    """A convolution of all channels; gammas are an operand."""

    @property
    def boosted(self) -> bool:
        return self.node.optional(4) is not None

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return operands_of(self.node)


@kernel(GatherConv2D, name="boosted_conv_2d_scalar", family="tinygen", isa="scalar")
def boosted_conv_2d_scalar(node: Node) -> Sequence[KernelPlan]:
    """Activations of up to 8 bits, weights in bytes."""
    x = node.input(0)
    copy = scalar.any_copy_of(x)
    found = complete_weights(node, copy.fill) if copy and copy.dtype == np.int8 else None
    if copy is None or found is None:
        return ()
    geometry, batch = window_of(node)
    job = BoostedJob(
        node,
        geometry,
        batch,
        found.ending,
        found.everything,
        {"source": "input" if x.dtype == np.int8 or x.packed_bits else "codes", **output_values(node.output)},
        copy,
        f"boosted_conv_2d_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_scalar",
        ("tinygen_codes.h", HEADER, *((scalar.HALVES_HEADER,) if copy.values else ()), *scalar.HEADERS),
    )
    return plans_of(job)
