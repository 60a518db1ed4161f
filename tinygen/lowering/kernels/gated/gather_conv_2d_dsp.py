"""Convolutions of live channels for Armv7E-M: the inner loops of dense convolutions, on weights gathered four filters
at a time.

The number of live channels is fixed, so shapes are those of a small dense convolution. Only four filters' live weights
are in RAM at once, widened; layers whose input fits scratch gather each weight once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinygen.ir.encodings import Levels
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mixed_conv_2d import MixedConv2D
from tinygen.lowering.kernels.conv.conv_2d_dsp import rows_plans, windows_plans
from tinygen.lowering.kernels.conv.jobs import rows_job, windows_job
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.reading import output_values, read_values
from tinygen.lowering.kernels.support.activations.widening import whole_words
from tinygen.lowering.kernels.support.loops.dot_job import Job, Packed
from tinygen.lowering.kernels.support.weights.gathered import HEADER, LiveWeights, live_weights, operands_of
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", HEADER, "tinygen_math.h", "tinygen_simd.h")
# Beside what dense loops take, measured: per weight that is gathered (a load of its own, far from the last), or summed
# for the zero point; per output, whose multiplier and shift are no constants.
_GATHER, _UNPACK, _SUM, _OUTPUT = 4.0, 8.0, 0.8, 8.0


@dataclass(frozen=True, eq=False)
class LiveJob(Job):
    """A convolution of live channels; `weights` only have their shape.

    Attributes:
        live: the weights.
    """

    live: LiveWeights | None = None

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return operands_of(self.node)

    def packed(self) -> Packed:
        assert self.live is not None
        filters, kernel_h, kernel_w, _ = self.live.shape
        taps = kernel_h * kernel_w * self.depth
        return Packed(
            (*self.live.constants, *(self.widen.constants if self.widen else ())),
            {"code": None, "live": self.live.context, "extend_words": 2 * taps, "clear": False},
            whole_words(filters),
            taps,
            2 * taps,
            self._cycles_each() + (_SUM if self.live.context["zero"] else 0.0),
            _OUTPUT,
        )

    def _cycles_each(self) -> float:
        """Of a weight that is gathered."""
        assert self.live is not None
        if self.live.experts is not None:
            return self.live.experts.cycles
        return _UNPACK if self.live.packed else _GATHER


def _job(node: Node) -> LiveJob | None:
    """None for encodings that the loops do not read."""
    x = read_values(node.input(0))
    live = live_weights(node, x["zero"], as_bytes=False) if x else None
    if x is None or live is None:
        return None
    return LiveJob(
        node=node,
        ending=live.ending,
        weights=live.placeholder,
        context={"residual": None, **output_values(node.output), **{key: x[key] for key in x if key != "zero"}},
        stem=f"{node.op.KIND}_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_dsp",
        headers=_HEADERS,
        live=live,
    )


def _takes_codes(node: Node) -> bool:
    """Whether windows may be copied as codes: channels in whole words, and a code of zero where there is padding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, GatherConv2D)
    rows, columns = op.geometry(node)
    odd = isinstance(x.encoding, Levels) and x.encoding.signed and (rows.padded or columns.padded)
    return not odd and x.shape[3] % 4 == 0


@kernel(MixedConv2D, name="mixed_conv_2d_dsp_rows", family="tinygen", isa="dsp")
@kernel(GatherConv2D, name="gather_conv_2d_dsp_rows", family="tinygen", isa="dsp")
def gather_conv_2d_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows."""
    job = rows_job(_job(node))
    return _marked(rows_plans(job)) if job else ()


@kernel(MixedConv2D, name="mixed_conv_2d_dsp", family="tinygen", isa="dsp")
@kernel(GatherConv2D, name="gather_conv_2d_dsp", family="tinygen", isa="dsp")
def gather_conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch; pointwise ones straight from the activations."""
    job = windows_job(_job(node), codes=_takes_codes(node))
    return _marked(windows_plans(job)) if job else ()


def _marked(plans: Sequence[KernelPlan]) -> list[KernelPlan]:
    """With the bytes of four mixed filters."""
    mixes = [bool(plan.context["live"]["experts"]) for plan in plans]
    each = [4 * plan.context["extend_words"] for plan in plans]
    return [replace(plan, mixed_bytes=mixed * size) for plan, mixed, size in zip(plans, mixes, each, strict=True)]
