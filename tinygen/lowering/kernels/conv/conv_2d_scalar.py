"""Tuned kernels of convolutions and dense layers for cores without SIMD: four pixels times four filters.

Predicted cycles are those of the ESP32-C3's core: a load takes two cycles, a multiplication with its addition two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import largest_magnitude, pixel_elements, smallest_integers
from tinygen.lowering.kernels.support.activations.window import window_sizes, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.loops.block_sums import sums_by_blocks
from tinygen.lowering.kernels.support.loops.scalar import Copy, Interleaved
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.kernels.support.loops.unpacked import HEADERS, ON_ARMV6M_UNPACKED, Unpacking, unpacking
from tinygen.lowering.plan import ON_ARMV6M, Constant, KernelPlan, kernel

_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)

# A code copied; what each piece of a copy begins with; a weight that comes from flash anew, as most of them do when the
# layer's are more than this many bytes (the ESP32-C3 has a cache of 16 Kbytes, which costs 304 cycles per 32 bytes).
_COPIED, _BEGUN, _FETCHED, _CACHED = 0.8, 30.0, 8.0, 12288
# A weight that is gathered.
_GATHERED = 7.0
_OFFSET = 128
_OF_HALVES = {(1, 1): "", (2, 1): "_codes", (1, 2): "_weights", (2, 2): "_both"}
"""The functions of tinygen_halves.h, by bytes of codes and of weights."""


@dataclass(frozen=True)
class _Rates:
    """Cycles of a core.

    Attributes:
        tap, rest: of four pixels and four filters, in eights and beyond them.
        piece: of a window.
        tile: with its codes.
        tap_of_one, one: the same of one pixel.
        totalled: a code that is added to a window's sum.
        other: what anything else takes of an ESP32-C3's.
        unpacked: what unpacking takes of it.
        called: wait cycles of a dense layer for code in flash that only it calls.
    """

    tap: float
    rest: float
    piece: float
    tile: float
    tap_of_one: float
    one: float
    totalled: float
    other: float = 1.0
    unpacked: float = 1.0
    called: float = 0.0


_RV32 = _Rates(49.0, 56.0, 24.0, 330.0, 18.6, 90.0, 1.8, called=1900.0)
_ARMV6M = _Rates(83.3, 95.2, 40.8, 561.0, 19.8, 280.0, 4.8, other=ON_ARMV6M, unpacked=ON_ARMV6M_UNPACKED)
_OFFSET_RATES = _Rates(71.6, 81.9, 40.8, 561.0, 17.8, 280.0, 4.8, other=ON_ARMV6M)
"""A Cortex-M0+ with signed weights, and with those stored plus 128."""


class Grid(NamedTuple):
    """Stored weights w stand for step * w + middle."""

    step: int
    middle: int


AS_THEY_ARE = Grid(1, 0)


@dataclass(frozen=True, eq=False)
class Job:
    """A convolution prepared for these kernels; a dense layer is one with 1x1 windows over its rows.

    Attributes:
        node: the layer.
        geometry: of its window.
        batch: images.
        ending: the epilogue that finishes sums.
        weights: int8 or int16 [O, KH, KW, I].
        context: template values of how codes are read and written.
        copy: how codes are copied to scratch.
        stem: of the C function's name.
        headers: that the C function needs.
        grid: what weights stand for.
        unpacked: how they are packed; None for bytes and halves as they are.
        offset_weights: weights are stored plus 128, as uint8 (tinygen_offset.h).
    """

    node: Node
    geometry: tuple[Axis, Axis]
    batch: int
    ending: Epilogue
    weights: np.ndarray
    context: dict[str, Any]
    copy: Copy
    stem: str
    headers: tuple[str, ...] = scalar.HEADERS
    grid: Grid = AS_THEY_ARE
    unpacked: Unpacking | None = None
    offset_weights: bool = False

    @property
    def depth(self) -> int:
        """Channels of the input that a filter has."""
        return int(self.weights.shape[3])

    @property
    def dense(self) -> bool:
        """Whether it is a dense layer."""
        return isinstance(self.node.op, FullyConnected)

    @property
    def groups(self) -> int:
        """Of channels; weights are those of one group after the other."""
        op = self.node.op
        return op.groups(self.node) if isinstance(op, Conv2D | GatherConv2D) else 1

    @property
    def filters(self) -> int:
        return len(self.weights)

    @property
    def live(self) -> dict[str, Any] | None:
        """Template values of weights that are gathered (kernels/support/gathered.j2)."""
        return None

    @property
    def gathered_cycles(self) -> float:
        """Cycles of a weight that is gathered."""
        return _GATHERED

    @property
    def boosted(self) -> bool:
        """Whether gammas, an operand, scale the multipliers."""
        return False

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return (("input", 0),)

    def constants(self, weights: Interleaved) -> tuple[Constant, ...]:
        stored = self.unpacked.constants if self.unpacked else (weights.constant,)
        return (*stored, self.ending.constant(), *((self.copy.values,) if self.copy.values else ()))

    @property
    def added(self) -> int:
        """What the stored weights lack: this many times the sum of their window's codes is added to outputs."""
        return self.grid.middle - (_OFFSET if self.offset_weights else 0)

    def by_four(self) -> Interleaved:
        """Weights, four filters of a group at a time."""
        stored = (self.weights.astype(np.int16) + _OFFSET).astype(np.uint8) if self.offset_weights else self.weights
        parts = [scalar.by_four(part) for part in np.split(stored.reshape(self.filters, -1), self.groups)]
        rows, data = (np.concatenate(arrays) for arrays in zip(*((one.rows, one.data) for one in parts), strict=True))
        return Interleaved(rows, data)


def window_of(node: Node) -> tuple[tuple[Axis, Axis], int]:
    """Geometry and images."""
    op = node.op
    if isinstance(op, Conv2D | GatherConv2D):
        return op.geometry(node), node.input(0).shape[0]
    rows = node.input(0).size // node.input(1).shape[1]
    return (Axis(1, 1, 1, 1, 1, 0), Axis(rows, rows, 1, 1, 1, 0)), 1


def _as_windows(weights: np.ndarray) -> np.ndarray:
    """Weights of a dense layer as those of a convolution."""
    return weights if weights.ndim == 4 else weights[:, None, None, :]


def job_of(node: Node, stem: str, *, on_grid: bool = True) -> Job | None:
    """
    Args:
        stem: of the C function's name: the kind of layer.
        on_grid: weights of more than 8 bits may become bytes on a grid.
    """
    x = node.input(0)
    # Packed bits begin a new word with each pixel.
    broken = isinstance(node.op, FullyConnected) and node.input(1).shape[-1] % x.shape[-1] and x.packed_bits
    copy = None if broken else scalar.any_copy_of(x)
    reads: Literal["halves", "any"] = "halves" if copy and copy.wide else "any"
    layer = None if copy is None else integer_layer(node, wide=True, reads=reads)
    if copy is None or layer is None:
        return None
    grid = find_grid(layer.weights, largest_magnitude(x)) if on_grid else AS_THEY_ARE
    stored = smallest_integers((layer.weights - grid.middle) // grid.step)
    if stored.dtype == np.int32:
        return None
    in_halves = np.int16 in (stored.dtype, copy.dtype) or copy.bits or copy.values
    headers = (*layer.headers, *((scalar.HALVES_HEADER,) if in_halves else ()), *scalar.HEADERS)
    weights = _as_windows(stored)
    ending = scalar.moved(layer.epilogue, layer.weights, copy)
    name = f"{stem}_{layer.kinds}_scalar"
    return Job(node, *window_of(node), ending, weights, layer.context, copy, name, headers, grid)


def _packed(job: Job | None) -> Job | None:
    """The job with weights that are unpacked block by block; None where they take all of their bits."""
    found = unpacking(job.weights, job.groups) if job else None
    if job is None or found is None:
        return None
    return replace(job, unpacked=found, stem=f"{job.stem}_{found.code.name}", headers=(*HEADERS, *job.headers))


def _in_halves(node: Node, stem: str) -> Job | None:
    """The job with weights in halves; None where `job_of` has them, too."""
    job = job_of(node, stem)
    return job_of(node, stem, on_grid=False) if job and job.grid != AS_THEY_ARE else None


def _is_int8(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= -128 and values.max(initial=0) <= 127)


def find_grid(weights: np.ndarray, largest: int) -> Grid:
    """The grid of weights of more than 8 bits that become bytes on it; as they are where there is none, or where parts
    of a sum may leave 32 bits.

    Args:
        weights: integers [O, ..., I].
        largest: magnitude of an activation.
    """
    if _is_int8(weights):
        return AS_THEY_ARE
    low, high = int(weights.min()), int(weights.max())
    step = int(np.gcd.reduce(weights.reshape(-1) - low))
    if step == 0 or (high - low) // step >= 2 * _OFFSET:
        return AS_THEY_ARE
    grid = Grid(step, low + _OFFSET * step)
    places = np.abs((weights - grid.middle) // step).reshape(len(weights), -1)
    together = step * int(places.sum(axis=1).max()) + abs(grid.middle) * places.shape[1]
    return grid if together * largest < 2**31 else AS_THEY_ARE


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_scalar", family="tinygen", isa="scalar", packs=True)
@sums_by_blocks
def conv_2d_scalar(node: Node) -> Sequence[KernelPlan]:
    """Windows in place, or in padded rows, or copied one by one: any shape; codes and weights of up to 16 bits."""
    job = job_of(node, "conv_2d")
    return plans_of(job) if job else ()


@kernel(Conv2D, Conv2DAdd, name="conv_2d_halves_scalar", family="tinygen", isa="scalar", packs=True)
@sums_by_blocks
def conv_2d_halves_scalar(node: Node) -> Sequence[KernelPlan]:
    """The same with weights as halves that might be bytes on a grid: for few filters."""
    job = _in_halves(node, "conv_2d")
    return plans_of(job) if job else ()


@also_16x8(Conv2D)
@kernel(Conv2D, Conv2DAdd, name="conv_2d_packed_scalar", family="tinygen", isa="scalar", packs=True)
@sums_by_blocks
def conv_2d_packed_scalar(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    job = _packed(job_of(node, "conv_2d", on_grid=False))
    return plans_of(job) if job else ()


@also_16x8(FullyConnected)
@kernel(FullyConnected, name="fully_connected_scalar", family="tinygen", isa="scalar")
def fully_connected_scalar(node: Node) -> Sequence[KernelPlan]:
    """Four outputs at a time, of four rows where there are so many; codes and weights of up to 16 bits."""
    job = job_of(node, "fully_connected")
    return plans_of(job) if job else ()


@also_16x8(FullyConnected)
@kernel(FullyConnected, name="fully_connected_packed_scalar", family="tinygen", isa="scalar")
def fully_connected_packed_scalar(node: Node) -> Sequence[KernelPlan]:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits: slower, so only where flash is
    limited.
    """
    job = _packed(job_of(node, "fully_connected", on_grid=False))
    return plans_of(job) if job else ()


def plans_of(job: Job) -> Sequence[KernelPlan]:
    rows, columns = job.geometry
    whole_rows = columns.dilation == 1
    together = job.groups == 1 or rows.kernel == columns.kernel == 1
    if whole_rows and together and not (rows.padded or columns.padded) and not job.copy.changes:
        return [_plan(job, "direct", rows.output)]
    sizes = sorted({min(size, rows.output) for size in _BLOCKS})
    forms = ("rows", "windows") if whole_rows else ("windows",)
    plans = [_plan(job, form, size) for form in forms for size in sizes]
    best = min(plans, key=lambda plan: plan.cycles)
    # A plan with more scratch and more cycles than another is useless.
    return [plan for plan in plans if plan is best or plan.scratch_bytes < best.scratch_bytes]


@dataclass(frozen=True)
class _Place:
    """The addresses of windows.

    Attributes:
        pieces, piece, skip: see tg_tile.
        step, jump: codes from a pixel to the next, and more from the last of a row.
        pitch: codes of a row in scratch.
        scratch_codes: of a block.
        cycles: of copying a block.
    """

    pieces: int
    piece: int
    skip: int
    step: int
    jump: int
    pitch: int = 0
    scratch_codes: int = 0
    cycles: float = 0.0


def _place(job: Job, form: str, size: int) -> _Place:
    """The addresses of the windows of `size` output rows."""
    (rows, columns), depth = job.geometry, job.depth
    width, taps = columns.kernel * depth, rows.kernel * columns.kernel * depth
    if form == "windows":
        pixels = size * columns.output
        begun = rows.kernel * (1 if columns.dilation == 1 and job.groups == 1 else columns.kernel)
        cycles = pixels * (taps * _COPIED * job.copy.cost + (begun + 1) * _BEGUN)
        return _Place(1, taps, 0, taps, 0, 0, pixels * taps, cycles)
    span = (rows.kernel - 1) * rows.dilation + 1
    pixels_w = columns.input if form == "direct" else (columns.output - 1) * columns.stride + columns.kernel
    apart = depth * job.groups if form == "direct" else depth
    pitch = pixels_w * apart
    step = columns.stride * apart
    jump = rows.stride * pitch - columns.output * step if size > 1 else 0
    if columns.output == 1:
        step, jump = step + jump, 0
    skip = rows.dilation * pitch - width
    # Adjacent pieces are merged.
    pieces = (rows.kernel, width, skip) if skip and rows.kernel > 1 else (1, taps, 0)
    if form == "direct":
        return _Place(*pieces, step, jump)
    buffered = (size - 1) * rows.stride + span
    begun = 2 if job.groups == 1 else 2 + pixels_w
    cycles = buffered * (pitch * _COPIED * job.copy.cost + begun * _BEGUN)
    return _Place(*pieces, step, jump, pitch, buffered * pitch, cycles)


def _input_steps(job: Job) -> dict[str, Any]:
    """Elements from a pixel to the next; with bits several of the tensor's pixels form one, each starting at a word."""
    x = job.node.input(0)
    if not job.copy.bits or job.groups > 1:
        return {"in_step": pixel_elements(x) if job.copy.bits else job.groups * job.depth, "bit_pixels": 0}
    pixels = job.depth // x.shape[-1]
    return {"in_step": pixels * pixel_elements(x), "bit_pixels": pixels, "bit_channels": x.shape[-1]}


def _plan(job: Job, form: str, size: int) -> KernelPlan:
    rows, columns = geometry = job.geometry
    place = _place(job, form, size)
    weights = job.by_four()
    blocks = -(-rows.output // size)
    last = rows.output - (blocks - 1) * size
    size_x, size_w = job.copy.dtype.itemsize, weights.data.itemsize
    code = job.unpacked
    return KernelPlan(
        template="conv/conv_2d_scalar.c.j2",
        stem=job.stem if job.dense else window_stem(job.stem, geometry),
        context={
            **window_sizes(geometry, job.batch, job.depth, job.filters),
            "groups": job.groups,
            "bits": job.copy.bits,
            **job.ending.context,
            **job.context,
            **job.copy.context,
            "input_zero": job.copy.fill if rows.padded or columns.padded else 0,
            "padded_h": rows.padded,
            "padded_w": columns.padded,
            "whole_rows": columns.dilation == 1 and columns.input >= columns.kernel,
            "dense": job.dense,
            "weight_step": job.grid.step,
            "added": job.added,
            "window_total": "tg_total" if job.copy.dtype == np.int8 else "tg_total_of_halves",
            "offset_weights": job.offset_weights,
            "live": job.live,
            "code": code.context() if code else None,
            "boosted": job.boosted,
            "form_of_input": form,
            "span_h": (rows.kernel - 1) * rows.dilation + 1,
            "rows": size,
            "block": size * columns.output,
            "blocks": blocks,
            "last_rows": last,
            "taps": weights.rows.shape[1],
            **_input_steps(job),
            "x_type": ctype(job.copy.dtype),
            "x_size": size_x,
            "w_type": ctype(weights.data.dtype),
            "of_halves": "_offset" if job.offset_weights else _OF_HALVES[size_x, size_w],
            "copied": min(columns.input, (columns.output - 1) * columns.stride + columns.kernel - columns.before),
            **{name: getattr(place, name) for name in ("pieces", "piece", "skip", "step", "jump", "pitch")},
        },
        constants=job.constants(weights),
        operands=job.operands,
        scratch_bytes=size_x * place.scratch_codes
        + (4 * size * columns.output if job.added else 0)
        + (4 * weights.rows.shape[1] if job.live else code.scratch_bytes if code else 0),
        headers=(*job.headers, *(("tinygen_sums.h",) if job.added else ())),
        cycles=_cycles(job, place, weights, size, _RV32),
        armv6m_cycles=_cycles(job, place, weights, size, _OFFSET_RATES if job.offset_weights else _ARMV6M),
    )


def _cycles(job: Job, place: _Place, weights: Interleaved, size: int, rates: _Rates) -> float:
    """Predicted cycles, `size` output rows in a block."""
    rows, columns = job.geometry
    blocks = -(-rows.output // size)
    counts = (*[size] * (blocks - 1), rows.output - (blocks - 1) * size)
    tiles = [divmod(count * columns.output, 4) for count in counts]
    fours, ones = (sum(column) for column in zip(*tiles, strict=True))
    whole, rest = divmod(place.piece, 8)
    tile = place.pieces * (8 * whole * rates.tap + rest * rates.rest + rates.piece) + rates.tile
    one = place.pieces * (place.piece * rates.tap_of_one + rates.piece) + rates.one
    code = job.unpacked
    stored = code.blocks.nbytes if code else weights.data.nbytes
    passes = blocks - 1 if stored > _CACHED else 0
    total = rows.output * columns.output * (rates.totalled * weights.rows.shape[1] + _BEGUN) if job.added else 0.0
    cycles = job.groups * (total + rates.other * blocks * place.cycles) + rates.other * passes * _FETCHED * stored
    cycles += len(weights.rows) // 4 * (fours * tile + ones * one)
    each = rates.other * job.gathered_cycles if job.live else rates.unpacked * code.each if code else 0.0
    cycles += blocks * weights.data.size * each + (rates.unpacked * code.begin if code else 0.0)
    return job.batch * cycles + (rates.called if job.dense else 0.0)
