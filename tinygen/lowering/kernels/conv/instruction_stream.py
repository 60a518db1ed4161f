"""Kernels of convolutions without weights: every weight is an addition in the code (conv/stream_order.py).

The code of a block of filters runs over all pixels of a few rows before that of the next block, in pieces that fit an
instruction cache. Two pixels at once: those of the upper and of the lower half of the output (or left and right, of one
row), so that one pair of activations can be used by every tap of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.window import Axis
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.conv.stream_order import (
    Costs,
    Phase,
    Tap,
    digit_count,
    plan_phases,
    signed_digits,
    split_taps,
)
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h", "tinygen_stream.h")
_BLOCKS = (1, 2, 4, 8, 16, 32)
_OFFSETS = (0, 1, -1)
_MOST_BYTES = 192 * 1024
"""Of code, for one layer; more is not tried."""


@dataclass(frozen=True)
class Form:
    """The stream's parameters for one kind of core.

    Attributes:
        filters: per block; their sums stay in registers.
        reach: largest offset of one load from a pointer, in words.
        piece_bytes: of code that runs over the pixels at once: with its loop it fits the instruction cache.
        ahead: taps whose activations are loaded together; 0: one load before the additions of the tap before.
        inline_shifts: an addition includes a shift at no cost; else activations are shifted between additions.
        load, end: see `Costs`.
        term, plain_term: cycles of an addition with and without a shift.
        bytes_load, bytes_term, bytes_plain, bytes_shift: of code; the last between additions, where they do not shift.
        output: cycles to finish one.
        fetch: cycles that a byte of code takes from flash each time that all of it runs.
        kept: bytes of code that the cache keeps from one time to the next.
        unit: factor from these cycles to the plans' predictions, to compare them with the multiplying kernels, whose
            cycles are a Cortex-M7's; measured on single layers with 0 to 90 % of zeros. A core that issues one
            instruction at a time takes 2.1 times as long for those.
    """

    filters: int
    reach: int
    piece_bytes: int
    ahead: int
    inline_shifts: bool
    load: float
    end: float
    term: float
    plain_term: float
    bytes_load: int
    bytes_term: int
    bytes_plain: int
    bytes_shift: int = 0
    output: float = 14.0
    unit: float = 1.0
    fetch: float = 0.0
    kept: int = 0


# Cortex-M4: two loads in a row take three cycles. STM32L4's instruction cache has 1 KB, STM32F7's 4 KB.
# What code takes from flash is fitted to layers of 4x4 to 16x16 pixels.
_SINGLE = Form(8, 1023, 880, 2, True, 1.5, 10.0, 1.0, 1.0, 4, 4, 3, output=18.0, unit=0.48, fetch=0.4)
_DUAL = Form(8, 1023, 3000, 0, True, 0.5, 6.0, 1.0, 0.5, 4, 4, 3, output=12.0, unit=0.65, fetch=0.8)
# Armv6-M: eight registers for arithmetic, 16-bit instructions.
_SMALL = Form(5, 31, 100_000, 1, False, 2.0, 16.0, 1.3, 1.0, 2, 3, 2)
# RV32: registers enough. Of the ESP32-C3's 16 KB of cache, which constants share, a piece takes 10; a line of 32 bytes
# takes about 300 cycles from its flash.
_RV32 = Form(16, 511, 10_000, 2, False, 2.0, 16.0, 1.3, 1.0, 4, 3, 3, 2, output=24.0, fetch=9.5, kept=12_000)


@kernel(Conv2D, of="codes", name="conv_2d_stream", family="tinygen", unless="rv32")
def conv_2d_stream(node: Node) -> Sequence[KernelPlan]:
    """For any core: few sums, short reach."""
    return _plans(node, _SMALL)


@kernel(Conv2D, of="codes", name="conv_2d_stream_dsp", family="tinygen", isa="dsp")
def conv_2d_stream_dsp(node: Node) -> Sequence[KernelPlan]:
    """For Armv7-M cores that issue one instruction at a time."""
    return _plans(node, _SINGLE)


@kernel(Conv2D, of="codes", name="conv_2d_stream_dual", family="tinygen", isa="dual-issue")
def conv_2d_stream_dual(node: Node) -> Sequence[KernelPlan]:
    """For Cortex-M7: loads between additions."""
    return _plans(node, _DUAL)


@kernel(Conv2D, of="codes", name="conv_2d_stream_rv32", family="tinygen", isa="rv32")
def conv_2d_stream_rv32(node: Node) -> Sequence[KernelPlan]:
    """For RV32: many sums, and code that comes from slow flash as seldom as scratch allows."""
    return _plans(node, _RV32)


@dataclass(frozen=True)
class _Block:
    """The code of a few filters: `first` is that of the first of them, -1 for the sum of all activations before it."""

    first: int
    filters: int
    phases: tuple[Phase, ...]


@dataclass(frozen=True)
class _Stream:
    """All blocks of a layer. `offset` is added to every weight; the sum of the activations corrects it."""

    blocks: tuple[_Block, ...]
    offset: int


def _stream(layer: IntegerLayer, low: int, high: int, form: Form) -> _Stream | None:
    """The blocks of a layer whose activations are from `low` to `high`; None when it is too long."""
    weights = layer.weights.reshape(len(layer.weights), -1)
    offset = min(_OFFSETS, key=lambda o: _additions_cost(weights + o, form) + (2 * weights.shape[1] if o else 0))
    rows = weights + offset
    if offset:
        rows = np.concatenate([np.ones((1, rows.shape[1]), np.int64), rows])
    if _bytes(digit_count(rows), rows.shape[1] * -(-len(rows) // form.filters), form) > _MOST_BYTES:
        return None
    blocks, shift = [], 1 if offset else 0
    for first in range(0, len(rows), form.filters):
        part = rows[first : first + form.filters]
        phases = plan_phases(part, low, high, Costs(form.load, form.end))
        if phases is None:
            return None
        blocks.append(_Block(first - shift, len(part), phases))
    return _Stream(tuple(blocks), offset)


def _additions_cost(weights: np.ndarray, form: Form) -> float:
    """Cycles of all additions, if every exponent but the lowest needs a shift; a subtraction takes more flash."""
    digits = signed_digits(weights)
    used = [int(np.count_nonzero(plane)) for plane in digits if plane.any()]
    subtractions = int(np.count_nonzero(digits < 0))
    return form.plain_term * sum(used[:1]) + form.term * sum(used[1:]) + 0.01 * subtractions


def _read(x: Tensor) -> dict[str, Any]:
    """How support/codes.j2 reads an activation: without the zero point, which the biases and the padding contain."""
    context = codes.activation_context(x)
    assert context is not None
    return context if context["kind"] == "signed_levels" else context | {"kind": "plain", "offset": 0}


def _range(x: Tensor) -> tuple[int, int]:
    """The smallest and the largest value that is read."""
    low, high = x.integer.code_range
    return (-high, high) if _read(x)["kind"] == "signed_levels" else (low, high)


def _bytes(terms: int, loads: int, form: Form) -> int:
    return terms * form.bytes_term + loads * form.bytes_load


def _plans(node: Node, form: Form) -> Sequence[KernelPlan]:
    op = node.op
    assert isinstance(op, Conv2D)
    bits = isinstance(node.input(0).encoding, Binary)  # they are not widened here
    layer = integer_layer(node) if op.groups(node) == 1 and not bits else None
    if layer is None:
        return ()
    stream = _stream(layer, *_range(node.input(0)), form)
    if stream is None:
        return ()
    layout = _Layout(op.geometry(node), node.input(0).shape[3])
    code = _Code(form, layout, stream, [_pieces(block, layout, form) for block in stream.blocks])
    return [_plan(node, layer, code, size) for size in sorted({min(b, layout.rows) for b in _BLOCKS})]


@dataclass(frozen=True)
class _Layout:
    """Where pairs of activations lie: rows of `width` pixels, `lane_rows` and `lane_columns` of the output apart."""

    geometry: tuple[Axis, Axis]
    depth: int

    @property
    def rows(self) -> int:
        """Rows of pairs."""
        return -(-self.geometry[0].output // 2)

    @property
    def columns(self) -> int:
        columns = self.geometry[1].output
        return -(-columns // 2) if self.geometry[0].output == 1 else columns

    @property
    def lane_rows(self) -> int:
        return self.rows if self.geometry[0].output > 1 else 0

    @property
    def lane_columns(self) -> int:
        return 0 if self.geometry[0].output > 1 else self.columns

    @property
    def span_h(self) -> int:
        return (self.geometry[0].kernel - 1) * self.geometry[0].dilation + 1

    @property
    def width(self) -> int:
        columns = self.geometry[1]
        return (self.columns - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1

    @property
    def pitch(self) -> int:
        """Words per row."""
        return self.width * self.depth

    def word(self, tap: int) -> int:
        """Words from a window's first activation to one of its taps."""
        rows, columns = self.geometry
        window, channel = divmod(tap, self.depth)
        row, column = divmod(window, columns.kernel)
        return row * rows.dilation * self.pitch + column * columns.dilation * self.depth + channel


def _pieces(block: _Block, layout: _Layout, form: Form) -> list[dict[str, Any]]:
    """Template values of a block's pieces, phase by phase."""
    found = []
    for phase in block.phases:
        parts = split_taps(phase.taps, [_tap_bytes(tap, form) for tap in phase.taps], form.piece_bytes)
        for number, taps in enumerate(parts):
            last = number == len(parts) - 1
            found.append(
                {
                    "filters": block.filters,
                    "fresh": number == 0,
                    "widens": last and phase is not block.phases[-1],
                    "shift": phase.shift,
                    **_statements(taps, layout, form),
                }
            )
    return found


def _tap_bytes(tap: Tap, form: Form) -> int:
    plain = sum(term.shift == 0 and not term.minus for term in tap.terms)
    shifts = len({term.shift for term in tap.terms if term.shift}) if form.bytes_shift else 0
    additions = plain * form.bytes_plain + (len(tap.terms) - plain) * form.bytes_term
    return form.bytes_load + shifts * form.bytes_shift + additions


def _statements(taps: Sequence[Tap], layout: _Layout, form: Form) -> dict[str, Any]:
    """Lines of C for one pair of pixels, and how far the pointer has moved at their end."""
    lines: list[str] = []
    base = 0
    loads, sums = [], []
    for number, tap in enumerate(taps):
        word = layout.word(tap.index)
        name = "uv"[number % 2]
        move = word - base if word - base > form.reach else 0
        base += move
        loads.append((move, f"TG_GET({name}, x, {word - base});"))
        sums.append(_additions(tap, name, form))
    together = max(form.ahead, 1)
    for first in range(0, len(taps), together):
        group = range(first, min(first + together, len(taps)))
        if form.ahead:
            lines += [line for n in group for line in _load(*loads[n])] + [sums[n] for n in group]
        else:
            lines += _load(*loads[first]) if first == 0 else []
            lines += _load(*loads[first + 1]) if first + 1 < len(taps) else []
            lines.append(sums[first])
    return {"lines": lines, "two": len(taps) > 1, "moved": base}


def _load(move: int, text: str) -> list[str]:
    return [f"x = tg_moved(x, {move});", text] if move else [text]


def _additions(tap: Tap, name: str, form: Form) -> str:
    """The terms of a tap on one line."""
    texts = []
    if form.inline_shifts:
        for term in tap.terms:
            kind = f"TG_{'MINUS' if term.minus else 'PLUS'}{'_SHIFTED' if term.shift else ''}"
            texts.append(f"{kind}(a{term.accumulator}, {name}{f', {term.shift}' if term.shift else ''});")
        return " ".join(texts)
    shifted = 0
    for shift, terms in groupby(tap.terms, key=lambda term: term.shift):
        if shift > shifted:
            texts.append(f"TG_SHIFT({name}, {shift - shifted});")
            shifted = shift
        texts += [f"TG_{'MINUS' if t.minus else 'PLUS'}(a{t.accumulator}, {name});" for t in terms]
    return " ".join(texts)


@dataclass(frozen=True, eq=False)
class _Code:
    """The code that implements a layer's weights.

    Attributes:
        form: of the core that runs it.
        layout: of the activations that it reads.
        stream: what it adds.
        pieces: template values of the pieces of each block.
    """

    form: Form
    layout: _Layout
    stream: _Stream
    pieces: Sequence[Sequence[dict[str, Any]]]

    @cached_property
    def bytes(self) -> int:
        taps = (tap for block in self.stream.blocks for phase in block.phases for tap in phase.taps)
        return sum(_tap_bytes(tap, self.form) for tap in taps)


def _plan(node: Node, layer: IntegerLayer, code: _Code, size: int) -> KernelPlan:
    """For `size` rows of pairs at a time."""
    form, layout, stream = code.form, code.layout, code.stream
    rows = layout.geometry[0]
    filters = min(form.filters, node.output.shape[3] + (1 if stream.offset else 0))
    buffer_rows = (size - 1) * rows.stride + layout.span_h
    pairs = size * layout.columns
    several = any(len(block.phases) > 1 for block in stream.blocks)
    words = buffer_rows * layout.pitch + pairs * filters * (3 if several else 1) + (2 * pairs if stream.offset else 0)
    return KernelPlan(
        template="conv/instruction_stream.c.j2",
        stem=window_stem(f"conv_2d_stream_{codes.kind_of(node.input(0).integer)}", layout.geometry),
        context={
            **window_context(node, layout.geometry),
            "input_type": ctype(node.input(0).memory_dtype),
            "activations": _read(node.input(0)),
            "rows": size,
            "pair_rows": layout.rows,
            "pair_columns": layout.columns,
            "lane_rows": layout.lane_rows,
            "lane_columns": layout.lane_columns,
            "span_h": layout.span_h,
            "width": layout.width,
            "pitch": layout.pitch,
            "buffer_words": buffer_rows * layout.pitch,
            "block": filters,
            "several": several,
            "added": stream.offset,
            "blocks": [
                {"first": block.first, "filters": block.filters, "pieces": parts, "shift": _last_shift(block)}
                for block, parts in zip(stream.blocks, code.pieces, strict=True)
            ],
            **layer.context,
            **layer.epilogue.context,
        },
        constants=(layer.epilogue.constant(),),
        scratch_bytes=4 * words,
        headers=_HEADERS,
        cycles=_cycles(node, code, size),
        code_bytes=code.bytes,
    )


def _last_shift(block: _Block) -> int:
    return block.phases[-1].shift if block.phases else 0


def _cycles(node: Node, code: _Code, size: int) -> float:
    """Predicted: pairs times additions and loads, what pieces and phases cost per pair, and spreading and finishing."""
    form, layout = code.form, code.layout
    pairs = layout.rows * layout.columns
    blocks = -(-layout.rows // size)
    per_pair = 0.0
    for block in code.stream.blocks:
        for phase in block.phases:
            plain = sum(term.shift == 0 for tap in phase.taps for term in tap.terms)
            per_pair += plain * form.plain_term + (phase.terms - plain) * form.term + len(phase.taps) * form.load
            per_pair += form.end * block.filters
    per_pair += sum(2.5 * part["filters"] + 5 for parts in code.pieces for part in parts)
    buffer_rows = (size - 1) * layout.geometry[0].stride + layout.span_h
    extend = 5.0 * blocks * buffer_rows * layout.pitch
    fetch = form.fetch * code.bytes * (1 if code.bytes <= form.kept else blocks)
    return form.unit * node.output.shape[0] * (pairs * per_pair + extend + fetch + node.output.size * form.output)
