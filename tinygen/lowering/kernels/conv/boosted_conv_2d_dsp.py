"""Convolutions of all channels whose multipliers are scaled by gammas, for Armv7E-M: dense loops, packed weights.

They take the place of gathered ones where a gate keeps so many channels that to gather weights costs more than it saves
(`tinygen.lowering.dense_gates`). Four filters' constants are copied and multiplied at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.lowering.kernels.conv.conv_2d_dsp import rows_plans, windows_plans
from tinygen.lowering.kernels.conv.jobs import fills_with_codes, packed_job, pads_with_codes, rows_job, windows_job
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.reading import output_values, read_values
from tinygen.lowering.kernels.support.loops.dot_job import Job, Packed
from tinygen.lowering.kernels.support.weights.gathered import HEADER, complete_weights, operands_of
from tinygen.lowering.plan import KernelPlan, kernel

_OUTPUT = 4.5
"""Cycles per output beside what dense loops take, measured: its product with the multiplier has 64 bits."""
_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", HEADER, "tinygen_math.h", "tinygen_simd.h")


@dataclass(frozen=True, eq=False)
class BoostedJob(Job):
    """A convolution of all channels; gammas are an operand."""

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return operands_of(self.node)

    def packed(self) -> Packed:
        return replace(super().packed(), ending=_OUTPUT)


def _job(node: Node) -> BoostedJob | None:
    """None where a list chooses channels, and for encodings that the loops do not read."""
    x = read_values(node.input(0))
    found = complete_weights(node, x["zero"]) if x else None
    if x is None or found is None:
        return None
    return BoostedJob(
        node=node,
        ending=found.ending,
        weights=found.everything,
        context={
            "residual": None,
            "boosted": node.optional(4) is not None,
            **output_values(node.output),
            **{key: x[key] for key in x if key != "zero"},
        },
        stem=f"boosted_conv_2d_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_dsp",
        headers=_HEADERS,
    )


@kernel(GatherConv2D, name="boosted_conv_2d_dsp_rows", family="tinygen", isa="dsp")
def boosted_conv_2d_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows."""
    job = rows_job(_job(node))
    return rows_plans(job) if job else ()


@kernel(GatherConv2D, name="boosted_conv_2d_packed_dsp_rows", family="tinygen", isa="dsp")
def boosted_conv_2d_packed_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits."""
    job = rows_job(packed_job(_job(node)))
    return rows_plans(job) if job else ()


@kernel(GatherConv2D, name="boosted_conv_2d_dsp", family="tinygen", isa="dsp")
def boosted_conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch; pointwise ones straight from the activations."""
    job = windows_job(_job(node), codes=pads_with_codes(node))
    return windows_plans(job) if job else ()


@kernel(GatherConv2D, name="boosted_conv_2d_packed_dsp", family="tinygen", isa="dsp")
def boosted_conv_2d_packed_dsp(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits."""
    job = windows_job(packed_job(_job(node)), codes=pads_with_codes(node) and not fills_with_codes(node))
    return windows_plans(job) if job else ()
