"""Convolutions prepared for tg_dot_2x4(): two pixels times four filters, int16 in scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.activations.widening import Widening, whole_words
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.epilogues.sums import LinearSum, fit_sum
from tinygen.lowering.kernels.support.weights.coded_weights import AnyCode, ByteCode, pack_blocks
from tinygen.lowering.kernels.support.weights.nested_weights import NestedCode
from tinygen.lowering.kernels.support.weights.packing import pack_dot_blocks
from tinygen.lowering.plan import Constant

_HEADERS = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")
AHEAD = 8
"""Bytes that tg_dot_2x4() reads behind its last pair."""
EXTEND = 1.35
"""Instructions per element that is widened after a copy of whole rows, measured."""

Convolution = Conv2D | GatherConv2D


@dataclass(frozen=True, eq=False)
class Job:
    """A convolution prepared for these kernels.

    Attributes:
        node: the layer; its operator has geometry and groups.
        ending: the epilogue that finishes sums.
        weights: [O, KH, KW, I], int8 but with a code.
        context: template values of how codes are read and written.
        stem: of the C function's name.
        code: what the weights are packed in; None for bytes.
        kernel_scales: [O, I], the factor of each kernel, applied while it is unpacked; only with a GridCode.
        widen: how activations are widened pixel by pixel; None if whole rows of bytes are widened at once.
    """

    node: Node
    ending: Epilogue
    weights: np.ndarray
    context: dict[str, Any]
    stem: str
    headers: tuple[str, ...] = _HEADERS
    code: AnyCode | ByteCode | NestedCode | None = None
    kernel_scales: np.ndarray | None = None
    widen: Widening | None = None

    @property
    def op(self) -> Convolution:
        assert isinstance(self.node.op, Convolution)
        return self.node.op

    @property
    def groups(self) -> int:
        return self.op.groups(self.node)

    @property
    def filters(self) -> int:
        """Of all groups."""
        return len(self.weights)

    @property
    def depth(self) -> int:
        """Channels of a widened pixel of one group."""
        return self.widen.depth if self.widen else self.weights.shape[3]

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return operands(self.node)

    def packed(self) -> Packed:
        """Its constants."""
        return _packed(self)

    @property
    def spare_words(self) -> int:
        """Words of scratch behind the activations, for reading ahead and for writes of a missing second pixel."""
        y = self.node.output
        return max(AHEAD // 4, y.memory_dtype.itemsize, pixel_elements(y) if y.packed_bits else 0)


@dataclass(frozen=True, eq=False)
class Packed:
    """Constants of a job, its weights packed four filters at a time.

    Attributes:
        constants: arrays.
        context: template values.
        filters, taps: after padding; filters of all groups.
        scratch_words: of one block widened, and of a table for that.
        extend: instructions per weight that is widened.
        ending: cycles per output that its epilogue takes more than a dense layer's.
    """

    constants: tuple[Constant, ...]
    context: dict[str, Any]
    filters: int
    taps: int
    scratch_words: int
    extend: float = EXTEND
    ending: float = 0.0


def _packed(job: Job) -> Packed:
    code = job.code
    linear = added_sum(job.node)
    more = (*(linear.constants() if linear else ()), *(job.widen.constants if job.widen else ()))
    if isinstance(code, NestedCode):
        return _packed_nested(job, code, (job.ending.constant(), *more))
    rows = _rows_of_groups(job, job.weights if code is None else code.codes(job.weights))
    ordered = pack_dot_blocks(rows)
    filters, taps = ordered.shape
    if code is None:
        layout = f"{list(ordered.shape)}, four filters pair by pair of taps"
        context = {"code": None, "extend_words": 2 * taps, "clear": False}
        constants = (Constant("weights", ordered.reshape(-1), layout), job.ending.constant(), *more)
        return Packed(constants, context, filters, taps, 2 * taps)
    blocks = pack_blocks(code, ordered.reshape(filters // 4, -1).view(np.uint8))
    layout = f"{list(ordered.shape)} codes of {code.bits} bits, four filters pair by pair of taps"
    scales, scaling, cycles = _kernel_scales(job)
    padding = 0 if scales else (rows.shape[1] - job.weights[0].size) * code.of_zero if job.widen else 0
    return Packed(
        (
            Constant("weights", blocks.words.reshape(-1), layout),
            *code.constants(),
            *scales,
            _ending(job, padding).constant(),
            *more,
        ),
        # Padding weights need no code for zero: they are multiplied with activations that are zero.
        {"code": blocks.context(code) | scaling, "extend_words": blocks.extend_words, "clear": taps > rows.shape[1]},
        filters,
        taps,
        blocks.extend_words + code.table_bytes // 4,
        code.extend_cycles + cycles,
    )


def _rows_of_groups(job: Job, weights: np.ndarray) -> np.ndarray:
    """Weights or codes [O, KH, KW, I] as rows; groups have whole blocks of four, channels fill the depth."""
    filters, *window, channels = weights.shape
    each = filters // job.groups
    wanted = filters if job.groups == 1 else job.groups * whole_words(each)
    padded = np.zeros((job.groups, wanted // job.groups, *window, job.depth), weights.dtype)
    padded[:, :each, ..., :channels] = weights.reshape(job.groups, each, *window, channels)
    # The bytes may hold any codes: pack_dot_blocks() only moves them.
    return padded.reshape(wanted, -1).astype(np.uint8 if weights.dtype == np.uint8 else np.int8)


def _packed_nested(job: Job, code: NestedCode, others: tuple[Constant, ...]) -> Packed:
    """With all codes of the widest layer that shares them, so that all of these layers have equal arrays."""
    parent = code.parent.reshape(len(code.parent), -1)
    ordered = pack_dot_blocks(parent.view(np.int8))
    filters, size = len(job.weights), job.weights[0].size
    taps = whole_words(size)
    layout = f"{list(parent.shape)} codes of 8 bits, four filters pair by pair of taps"
    words = np.ascontiguousarray(ordered).reshape(-1).view("<u4").astype(np.uint32)
    return Packed(
        (Constant("weights", words, layout), *code.constants(), *others),
        {"code": code.context(job.weights.shape), "extend_words": 2 * taps, "clear": taps > size},
        whole_words(filters),
        taps,
        2 * taps,
        code.extend_cycles,
    )


_SCALING = 2.8
"""Instructions per weight that is multiplied with its kernel's scale."""


def _kernel_scales(job: Job) -> tuple[tuple[Constant, ...], dict[str, Any], float]:
    """(scales in the order of unpacked weights, template values, instructions per weight)."""
    if job.kernel_scales is None:
        return (), {"scale_type": ""}, 0.0
    groups, channels = job.groups, job.depth
    dtype = np.uint8 if job.kernel_scales.max() <= 255 else np.uint16
    filters = len(job.kernel_scales) // groups
    apart = np.zeros((groups, whole_words(filters), channels), dtype)
    apart[:, :filters, : job.weights.shape[3]] = job.kernel_scales.reshape(groups, filters, -1)
    padded = apart.reshape(-1, channels)
    # Pairs are channels 0 and 2, then 1 and 3 of each four, of one filter after the other.
    ordered = padded.reshape(-1, 4, channels // 4, 2, 2).transpose(0, 2, 4, 1, 3)
    window = job.weights.shape[1] * job.weights.shape[2]
    context = {"scale_type": ctype(np.dtype(dtype)), "scaled_words": 2 * channels, "window": window}
    layout = f"{list(padded.shape)} per kernel, in the order of the weights"
    return (Constant("scales", ordered.reshape(-1), layout),), context, _SCALING


def _ending(job: Job, padding: int) -> Epilogue:
    """The job's epilogue. Activations that pad the channels of codes with a zero point are multiplied with padding
    weights.

    Args:
        padding: the sum of those weights, of each filter.
    """
    if not padding or not job.context["fill"]:
        return job.ending
    rows = job.ending.rows.copy()
    rows[:, 0] -= job.context["fill"] * padding * job.ending.context["unit"]
    return job.ending.with_rows(rows)


def added_sum(node: Node) -> LinearSum | None:
    if not isinstance(node.op, Conv2DAdd) or not isinstance(node.op.sum, Add):
        return None
    linear = fit_sum(node.op.addition(node))
    assert linear is not None
    return linear


def operands(node: Node) -> tuple[tuple[str, int], ...]:
    """The input, and the operand that is added to sums."""
    return (("input", 0), ("residual", 3)) if isinstance(node.op, Conv2DAdd) else (("input", 0),)
