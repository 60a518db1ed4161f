"""Convolutions of live channels for cores without SIMD: four pixels times four filters, whose weights are gathered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D
from tinygen.lowering.kernels.conv.conv_2d_scalar import Job, plans_of, window_of
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.reading import output_values
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.loops.scalar import Interleaved
from tinygen.lowering.kernels.support.weights.gathered import HEADER, LiveWeights, live_weights, operands_of
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@dataclass(frozen=True, eq=False)
class LiveJob(Job):
    """A convolution of live channels; `weights` only have their shape.

    Attributes:
        gathered: the weights.
    """

    gathered: LiveWeights | None = None

    @property
    def live(self) -> dict[str, Any] | None:
        return self.gathered.context if self.gathered else None

    @property
    def gathered_cycles(self) -> float:
        if self.gathered is not None and self.gathered.experts is not None:
            return self.gathered.experts.cycles
        return super().gathered_cycles

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return operands_of(self.node)

    def constants(self, weights: Interleaved) -> tuple[Constant, ...]:
        assert self.gathered is not None
        return (*self.gathered.constants, *((self.copy.values,) if self.copy.values else ()))


@kernel(MixedConv2D, name="mixed_conv_2d_scalar", family="tinygen", isa="scalar")
@kernel(GatherConv2D, name="gather_conv_2d_scalar", family="tinygen", isa="scalar")
def gather_conv_2d_scalar(node: Node) -> Sequence[KernelPlan]:
    """Activations of up to 8 bits, weights in bytes."""
    x = node.input(0)
    copy = scalar.any_copy_of(x)
    if copy is None or copy.dtype != np.int8:
        return ()
    live = live_weights(node, copy.fill, as_bytes=True)
    if live is None:
        return ()
    geometry, batch = window_of(node)
    job = LiveJob(
        node,
        geometry,
        batch,
        live.ending,
        live.placeholder,
        {"source": "input" if x.dtype == np.int8 or x.packed_bits else "codes", **output_values(node.output)},
        copy,
        f"{node.op.KIND}_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_scalar",
        ("tinygen_codes.h", HEADER, *((scalar.HALVES_HEADER,) if copy.values else ()), *scalar.HEADERS),
        gathered=live,
    )
    mixed = 4 * math.prod(live.shape[1:]) if live.experts is not None else 0
    return [replace(plan, mixed_bytes=mixed) for plan in plans_of(job)]
