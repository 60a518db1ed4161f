"""Convolutions of live channels for Armv7E-M: inner loops of dense ones, on weights gathered four filters at a time.

How many channels live is fixed, so that shapes are those of a small dense convolution. Only four filters' live weights
are in RAM at once, widened; layers whose input fits scratch gather each weight once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Levels
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.lowering.kernels.conv_2d_dsp import (
    rows_job,
    rows_plans,
    windows_job,
    windows_plans,
)
from tinygen.lowering.kernels.support.codes import kind_of
from tinygen.lowering.kernels.support.dot_job import Job, Packed
from tinygen.lowering.kernels.support.integer_layer import output_values, read_values, rescaled
from tinygen.lowering.kernels.support.requantize import Epilogue
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_dot.h", "tinygen_gather.h", "tinygen_math.h", "tinygen_simd.h")
_LARGEST = 2**31 - 1
# Instructions per weight, measured: gathered; summed, for the zero point.
_GATHER, _SUM = 2.6, 0.8


@dataclass(frozen=True, eq=False)
class LiveJob(Job):
    """A convolution of live channels; `weights` are an empty view of the shape of the live ones.

    Attributes:
        live: template values (kernels/gathered.j2).
        everything: weights [O, KH, KW, I], int8; None where they are computed.
    """

    live: dict[str, Any] | None = None
    everything: np.ndarray | None = None

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        named = {"input": 0, "weights": 1, "live_in": 2, "live_out": 3, "gamma": 4}
        tensors = {name: self.node.optional(index) for name, index in named.items()}
        return tuple((name, named[name]) for name, one in tensors.items() if one is not None and one.data is None)

    def packed(self) -> Packed:
        assert self.live is not None
        filters, kernel_h, kernel_w, _ = self.weights.shape
        taps = kernel_h * kernel_w * self.depth
        constants = (self.ending.constant(), *(self.widen.constants if self.widen else ()))
        if self.everything is not None:
            layout = f"{list(self.everything.shape)}"
            constants = (Constant("weights", self.everything.reshape(-1), layout), *constants)
        return Packed(
            constants,
            {"code": None, "live": self.live, "spread_words": 2 * taps, "clear": False},
            -(-filters // 4) * 4,
            taps,
            2 * taps,
            _GATHER + (_SUM if self.live["zero"] else 0.0),
        )


def _job(node: Node) -> LiveJob | None:
    """None for other encodings, weights that are no bytes, and sums that might wrap on their way."""
    op, weights = node.op, node.input(1)
    assert isinstance(op, GatherConv2D)
    x = read_values(node.input(0))
    everything = _bytes(node)
    if x is None or (weights.is_constant and everything is None):
        return None
    shape = (node.output.shape[3], *weights.shape[1:3], node.input(0).shape[3])
    # Codes and zero points are multiplied on their own.
    if max(map(abs, op.bias), default=0) + 256 * 128 * int(np.prod(shape[1:])) > _LARGEST:
        return None
    live = {
        "computed": everything is None,
        "listed_in": node.optional(2) is not None,
        "listed_out": node.optional(3) is not None,
        "gamma": node.optional(4) is not None,
        "row_bytes": int(np.prod(weights.shape[1:])),
        "all_in": weights.shape[3],
        "zero": x["zero"],
    }
    return LiveJob(
        node=node,
        ending=_ending(node, op),
        weights=np.broadcast_to(np.int8(0), shape),
        context={key: value for key, value in (x | output_values(node.output)).items() if key != "zero"}
        | {"residual": None},
        stem=f"gather_conv_2d_{kind_of(node.input(0).integer)}_{kind_of(weights.integer)}_dsp",
        headers=_HEADERS,
        live=live,
        everything=everything,
    )


def _bytes(node: Node) -> np.ndarray | None:
    """Constant weights as int8."""
    weights = node.input(1)
    if weights.data is None:
        return None
    integers = weights.integer.integers(weights.data)
    fits = integers.min(initial=0) >= -128 and integers.max(initial=0) <= 127
    return integers.astype(np.int8) if fits else None


def _ending(node: Node, op: GatherConv2D) -> Epilogue:
    """Of all channels; gammas want a word for the multiplier."""
    filters = op.filters(node)
    bias = np.array(op.bias, np.int64) if op.bias else np.zeros(filters, np.int64)
    apart = ("multiplier",) if node.optional(4) is not None else ()
    return rescaled(op.epilogue, bias, apart=apart)


def _takes_codes(node: Node) -> bool:
    """Whether windows may be copied as codes: channels in whole words, and a code of zero where there is padding."""
    op, x = node.op, node.input(0)
    assert isinstance(op, GatherConv2D)
    rows, columns = op.geometry(node)
    odd = isinstance(x.encoding, Levels) and x.encoding.signed and (rows.padded or columns.padded)
    return not odd and x.shape[3] % 4 == 0


@kernel(GatherConv2D, name="gather_conv_2d_dsp_rows", family="tinygen", isa="dsp")
def gather_conv_2d_dsp_rows(node: Node) -> Sequence[KernelPlan]:
    """Windows taken straight from widened rows."""
    job = rows_job(_job(node))
    return rows_plans(job) if job else ()


@kernel(GatherConv2D, name="gather_conv_2d_dsp", family="tinygen", isa="dsp")
def gather_conv_2d_dsp(node: Node) -> Sequence[KernelPlan]:
    """Windows copied one by one into scratch; pointwise ones straight from the activations."""
    job = windows_job(_job(node), codes=_takes_codes(node))
    return windows_plans(job) if job else ()
