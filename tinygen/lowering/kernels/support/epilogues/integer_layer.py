"""Layers on integer codes for the multiplying kernels: int8 weights, codes as stored, an epilogue.

Layers with TFLite's epilogue have that of `requantize.epilogue`. Of others, channels whose codes fall as the
accumulator rises get their weights negated, so that all rise. Epilogues become the forms of support/requantize.j2:
`sign` for a bit, `fused` (multiply-add and saturate) where that is proven to equal the epilogue on every accumulator
that can occur, else `octaves` (thresholds that lie as powers do: a guess and a comparison), `cells` (the guess from a
table), `steps` or `rescale`, which are the epilogues as they are written. Kernels for cores that count leading zeros
ask for `powers` instead of `octaves` (`by_lengths`): no thresholds at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tinygen.ir.encodings import Binary, LookedUp
from tinygen.ir.epilogue import Epilogue as Ending
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.mac import accumulator_range, centred_weights
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.reading import output_values, read_values, stored_values
from tinygen.lowering.kernels.support.epilogues.cells import fit_cells
from tinygen.lowering.kernels.support.epilogues.octaves import fit_octaves
from tinygen.lowering.kernels.support.epilogues.powers import fit_powers
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, epilogue, staircase_of, write_columns
from tinygen.lowering.kernels.support.epilogues.staircase import Fit, Staircase, fit
from tinygen.lowering.plan import Field

_NEVER = 2**31 - 1
_LARGEST = 2**31 - 2**16
_SUBTRACTED = 2**30
_WORD = 32
_COMPARED = 3
"""Thresholds up to which each is compared with."""
_FEW = 255
"""Codes of an output up to which a fit is tried."""
_KEPT = 64
"""Epilogues that are remembered: kernels of one layer ask for the same one again and again."""


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A layer with prepared weights and epilogue.

    Attributes:
        node: the layer.
        weights: integers [O, ..., I], int64, of depthwise layers too; those of falling channels negated.
        falling: bool [O].
        epilogue: its biases include the contribution of the codes' zero point.
        context: template values of input and output.
        sums: what the epilogue was made of; None for TFLite's.
    """

    node: Node

    weights: np.ndarray
    falling: np.ndarray
    epilogue: Epilogue
    context: dict[str, Any]
    sums: FinishedSums | None

    @property
    def kinds(self) -> str:
        """Of activations and weights, for names of C functions."""
        x, weights = self.node.input(0), self.node.input(1)
        return "s8" if self.sums is None else f"{kind_of(x.integer)}_{kind_of(weights.integer)}"

    @property
    def headers(self) -> tuple[str, ...]:
        """Needed to read and write its codes."""
        return () if self.sums is None else ("tinygen_codes.h",)

    @property
    def by_lengths(self) -> IntegerLayer:
        """The layer for cores that count leading zeros in an instruction."""
        sums, form = self.sums, self.epilogue.context["form"]
        if sums is None or not isinstance(sums.rising, Threshold) or form not in ("octaves", "cells", "steps"):
            return self
        found = _powers(sums.rising, sums)
        return self if found is None else replace(self, epilogue=found)

    def staircase(self) -> tuple[Staircase | None, np.ndarray]:
        """The staircase of codes that are nearly linear in the sums, without clamps of channels; and biases."""
        sums = self.sums
        if sums is None:
            return staircase_of(self.node, axis=channel_axis(self.node))
        rising, forms = sums.rising, ("fused", "rescale", "rescale_high")
        if self.epilogue.context["form"] not in forms or rising is None or _clamps(rising):
            return None, sums.bias
        return _staircase(rising, sums.lows, sums.highs, sums.unit), sums.bias


@dataclass(frozen=True, eq=False)
class FinishedSums:
    """The arguments of an epilogue's form.

    Attributes:
        rising: the epilogue of sums that are negated where codes fall.
        lows, highs: least and largest accumulator per channel.
        bias: per channel.
        unit: the kernel's sums are this many times the accumulators.
    """

    rising: Ending | None
    lows: np.ndarray
    highs: np.ndarray
    bias: np.ndarray
    unit: int

    @property
    def key(self) -> tuple[Any, ...]:
        return self.rising, self.unit, *((a.dtype.char, a.tobytes()) for a in (self.lows, self.highs, self.bias))


def integer_layer(
    node: Node,
    unit: int = 1,
    *,
    scaled: bool = False,
    wide: bool = False,
    reads: Literal["bytes", "halves", "any"] = "bytes",
) -> IntegerLayer | None:
    """None for layers that the multiplying kernels do not support: floats, other encodings of activations, wide
    weights, kernel scales, a multiplier of -2**31, scales that no form of TFLite's epilogue has.

    Args:
        node: a layer of multiply-accumulates.
        unit: the kernel's sums are this many times the accumulators.
        scaled: the kernel is one for kernel scales, and none without; `weights` are then not yet scaled.
        wide: weights may be int16.
        reads: which codes the kernel takes: bytes, also those of 16 bits, or of any encoding whose integers fit int16.
    """
    op, tensor = node.op, node.input(0)
    assert isinstance(op, MacLayer)
    if op.is_tflite:
        return None if scaled else _tflite_layer(node, unit, wide=wide)
    ending = op.of_sums
    x = read_values(tensor) if reads == "any" else stored_values(tensor, halves=reads == "halves")
    if x is None or not node.input(1).is_constant or (integer_mac.kernel_scales(node) is not None) != scaled:
        return None
    if isinstance(ending, Rescale) and min(ending.multiplier) < -_NEVER:
        return None  # which cannot be negated in int32
    weights = integer_mac.weight_integers(node)
    falling = falling_channels(ending, len(weights))
    weights = np.where(falling.reshape(-1, *[1] * (weights.ndim - 1)), -weights, weights)
    if not _holds(weights, wide=wide):
        return None
    flat = (integer_mac.scaled_weights(node, weights) if scaled else weights).reshape(len(weights), -1)
    lows, highs = _reachable(node.input(0), flat)
    rising = rising_epilogue(ending, len(weights))
    if int(max(np.abs(lows).max(), np.abs(highs).max())) * unit >= _LARGEST:
        return None
    sums = FinishedSums(rising, lows, highs, -x["zero"] * flat.sum(axis=1), unit)
    context = {key: value for key, value in x.items() if key != "zero"} | output_values(node.output)
    return IntegerLayer(node, weights, falling, _epilogue(sums, node.output), context, sums)


def _holds(weights: np.ndarray, *, wide: bool) -> bool:
    """Whether weights fit int8, or int16 if `wide`."""
    largest = 2**15 - 1 if wide else 127
    return bool(weights.min(initial=0) >= -largest - 1 and weights.max(initial=0) <= largest)


def _tflite_layer(node: Node, unit: int, *, wide: bool) -> IntegerLayer | None:
    """An int8 layer of TFLite, or a convolution with a sum; None where no form of its epilogue fits."""
    op, x, y = node.op, node.input(0), node.output
    alone = op.convolution(node) if isinstance(op, Conv2DAdd) else node
    if y.dtype != np.int8 or not node.input(1).is_constant:
        return None
    weights = np.swapaxes(centred_weights(node), 0, channel_axis(node))
    ending = epilogue(alone, axis=channel_axis(node), unit=unit) if _holds(weights, wide=wide) else None
    if ending is None:
        return None
    read = {"extend": "tg_extend", "extend_extra": "", "fill": x.zero_point, "source": "input"}
    context = read | output_values(y) | {"unsigned_bits": 0}
    return IntegerLayer(node, weights, np.zeros(len(weights), bool), ending, context, None)


def channel_axis(node: Node) -> int:
    """The axis of output channels in the weights of a layer of multiply-accumulates."""
    assert isinstance(node.op, MacLayer)
    return node.op.CHANNEL_AXIS


def finished_sums(epilogue: Ending | None, y: Tensor, lows: np.ndarray, highs: np.ndarray) -> Epilogue:
    """The epilogue of sums between `lows` and `highs`, which are negated where codes fall."""
    rising = rising_epilogue(epilogue, len(lows))
    return _epilogue(FinishedSums(rising, lows, highs, np.zeros(len(lows), np.int64), 1), y)


def _reachable(x: Tensor, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest accumulator per channel; taps outside the input are 0, which may be neither end."""
    low, high = x.integer.code_range
    # Tables need not rise.
    codes = np.arange(low, high + 1) if isinstance(x.encoding, LookedUp) else np.array([low, high])
    integers = x.integer.integers(codes.astype(x.dtype))
    return accumulator_range(weights, min(int(integers.min()), 0), max(int(integers.max()), 0), 0)


def falling_channels(epilogue: Ending | None, channels: int) -> np.ndarray:
    """Whether codes fall as the accumulator rises: bool [channels]."""
    match epilogue:
        case Rescale():
            return np.broadcast_to(np.array(epilogue.multiplier) < 0, channels)
        case Threshold():
            return np.broadcast_to(np.array(epilogue.sign) < 0, channels)
        case None:
            return np.zeros(channels, bool)


def rising_epilogue(epilogue: Ending | None, channels: int) -> Ending | None:
    """The epilogue of negated accumulators where they fall; one entry per channel."""
    match epilogue:
        case Rescale():
            multiplier, offset, shift = (
                tuple(np.broadcast_to(np.array(v, np.int64), channels).tolist())
                for v in (epilogue.multiplier, epilogue.offset, epilogue.shift)
            )
            return replace(epilogue, multiplier=tuple(abs(m) for m in multiplier), offset=offset, shift=shift)
        case Threshold():
            rows = epilogue.thresholds * (channels if len(epilogue.thresholds) == 1 else 1)
            return Threshold(rows)
        case None:
            return None


_known: OrderedDict[Any, Epilogue | None] = OrderedDict()


def _remembered(key: Any, make: Callable[[], Epilogue | None]) -> Epilogue | None:
    """What `make` gives, cached for recent keys."""
    if key not in _known:
        _known[key] = make()
    _known.move_to_end(key)
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return _known[key]


def _epilogue(sums: FinishedSums, y: Tensor) -> Epilogue:
    """The epilogue of `_new_epilogue`."""
    found = _remembered((*sums.key, y.encoding), lambda: _new_epilogue(sums, y))
    assert found is not None
    return found


def _powers(rising: Threshold, sums: FinishedSums) -> Epilogue | None:
    """Thresholds as powers of 2; None where they are none."""
    return _remembered((*sums.key, "powers"), lambda: _new_powers(rising, sums))


def _new_epilogue(sums: FinishedSums, y: Tensor) -> Epilogue:
    rising, lows, highs, bias, unit = sums.rising, sums.lows, sums.highs, sums.bias, sums.unit
    match rising:
        case None:
            return _write({"form": "none"}, bias * unit, unit, {})
        case Threshold() if (
            isinstance(y.encoding, Binary) and max(np.abs(lows).max(), np.abs(highs).max()) < _SUBTRACTED
        ):
            # Thresholds for never and always lie at the ends of the sums' range, so that a bias can be added to them.
            cuts = np.clip(np.array(rising.thresholds, np.int64)[:, 0], lows - 1, highs + 1)
            return _write({"form": "sign"}, (bias - cuts) * unit, unit, {}, "bias less threshold")
        case Threshold():
            # A bit of sums so large that nothing may be subtracted is compared with its threshold.
            return _fused(rising, lows, highs, bias, unit) or _searched(rising, lows, highs, bias, unit)
        case Rescale():
            fitted = _fused(rising, lows, highs, bias, unit) or _halved(rising, lows, highs, bias, unit)
            return fitted or rescaled(rising, bias, unit)


def _write(
    context: dict[str, Any], start: np.ndarray, unit: int, columns: Mapping[str, np.ndarray], bias: str = "bias"
) -> Epilogue:
    return write_columns(context | {"unit": unit, "output_zero": 0}, start, columns, bias)


def _saturation(low: int, high: int) -> dict[str, Any]:
    bits = (high + 1).bit_length() - 1
    unsigned = low == 0 and high + 1 == 2**bits
    halves = low < -128 or high > 255
    clamped = (low, high) != ((-(2**15), 2**15 - 1) if halves else (-128, 127))
    context = {"low": low, "high": high, "clamped": clamped, "unsigned_bits": bits if unsigned else 0}
    return context | ({"halves": True} if halves else {})


def _fused(
    rising: Rescale | Threshold, lows: np.ndarray, highs: np.ndarray, bias: np.ndarray, unit: int
) -> Epilogue | None:
    staircase = _staircase(rising, lows, highs, unit)
    found = None if staircase is None else fit(staircase, level=unit > 1)
    return None if found is None else fused(rising, found, bias * unit, unit)


def _staircase(rising: Rescale | Threshold, lows: np.ndarray, highs: np.ndarray, unit: int) -> Staircase | None:
    """Codes by sums without clamps of channels, which are applied afterwards; None for more codes than a line fits."""
    low, high = rising.code_range
    real = _scales(rising, lows, highs) if high - low <= _FEW else None
    if real is None:
        return None
    unclamped = replace(rising, floor=(), ceiling=()) if isinstance(rising, Rescale) else rising
    return Staircase(unclamped.apply, real, lows, highs, low, high, unit)


def _halved(rising: Rescale, lows: np.ndarray, highs: np.ndarray, bias: np.ndarray, unit: int) -> Epilogue | None:
    """A rescale that rounds halves upwards, in the form `fused`: the offset is half a code and a multiple of the
    multiplier, which becomes part of the bias. With the multiplier as large as a register allows, the half is a whole
    number of upper words, so nothing of the product's lower word is needed.
    """
    multiplier, shift, offset = (np.array(v, np.int64) for v in (rising.multiplier, rising.shift, rising.offset))
    if unit > 1 or rising.high >= 2**15 or min(rising.multiplier) <= 0 or min(rising.shift) < 1:
        return None
    started, rest = np.divmod(offset - (1 << (shift - 1)), multiplier)
    up = np.array([31 - m.bit_length() for m in rising.multiplier])
    total = int(min(min(shift + up) - _WORD, _WORD - 2))
    up = total + _WORD - shift
    if any(rest) or total < 1 or min(up) < 0:
        return None
    if min(lows + started) < -_NEVER or max(highs + started) > _NEVER:
        return None
    found = Fit(multiplier << up, np.full(len(started), 1 << (total - 1)), started, total)
    return fused(rising, found, bias)


def fused(rising: Rescale | Threshold, found: Fit, bias: np.ndarray, unit: int = 1) -> Epilogue:
    """The epilogue for a multiplication that was proven to equal it.

    Args:
        rising: the epilogue; its clamps of channels remain.
        found: for sums that are `unit` times the accumulators, as `bias` is.
    """
    return _write(
        {"form": "fused", **_saturation(*rising.code_range)},
        bias + found.moved,
        unit,
        {
            "multiplier": found.multiplier,
            "offset": found.offset,
            "shift": np.array([found.shift]),
            **_clamps(rising),
        },
    )


def _clamps(rising: Rescale | Threshold) -> dict[str, np.ndarray]:
    """Columns for clamps of channels."""
    if not isinstance(rising, Rescale):
        return {}
    return {name: np.array(v) for name, v in (("floor", rising.floor), ("ceiling", rising.ceiling)) if v}


def _scales(rising: Rescale | Threshold, lows: np.ndarray, highs: np.ndarray) -> np.ndarray | None:
    """Codes per accumulator and channel, about; None where steps are too uneven for a line."""
    if isinstance(rising, Rescale):
        pairs = zip(rising.multiplier, rising.shift, strict=True)
        return np.array([max(multiplier, 1) / 2.0**shift for multiplier, shift in pairs])
    rows = np.array(rising.thresholds, np.int64)
    if rows.shape[1] < 3:
        return None
    # A line through the steps that can be reached; where there are less than two, any that misses them.
    slopes = []
    for row, low, high in zip(rows, lows, highs, strict=True):
        met = row[(row > low) & (row <= high)]
        span = int(met[-1] - met[0]) if len(met) > 1 else 0
        slopes.append((len(met) - 1) / span if span else 1.0 / max(int(high - low), 4))
    return np.array(slopes)


def _searched(rising: Threshold, lows: np.ndarray, highs: np.ndarray, bias: np.ndarray, unit: int) -> Epilogue:
    """The first form that fits: a guess by octaves, a guess by cells, a comparison with each step."""
    rows = np.clip(np.array(rising.thresholds, np.int64) * unit, -_NEVER - 1, _NEVER)
    count, bits = rows.shape[1], rows.shape[1].bit_length()
    ends = lows.astype(np.int64) * unit, highs.astype(np.int64) * unit
    # From the first threshold on, so that a sum's sign says whether it reaches any.
    first = np.clip(rows[:, 0], ends[0], ends[1] + 1)
    moved, moved_ends = np.minimum(rows - first[:, None], _NEVER), (ends[0] - first, ends[1] - first)
    near = count > _COMPARED and max(int(np.abs(end).max()) for end in moved_ends) < _NEVER
    start = {"bias": bias * unit - first if near else bias * unit}
    octaves = fit_octaves(moved, *moved_ends) if near else None
    if octaves is not None:
        context = {
            "octave_least": octaves.least,
            "octave_bits": octaves.bits,
            "each_octave": octaves.each,
            "octave_up": octaves.up,
            "step_bits": bits,
        }
        guess = {"multiplier": octaves.multiplier, "offset": octaves.offset}
        return _with_table("octaves", context, unit, start | guess, {"steps": octaves.thresholds})
    cells = fit_cells(rows, *ends)
    if cells is not None:
        context = {"cell_bits": cells.bits, "cell_shift": cells.shift, "cell_radix": cells.radix}
        guess = {"bias": bias * unit, "multiplier": cells.multiplier, "offset": cells.offset}
        return _with_table("cells", context, unit, guess, {"cells": cells.cells})
    table = moved if near else rows
    if count > _COMPARED:
        # The binary search needs 2^n - 1 thresholds: ones that are never reached fill the rest.
        table = np.pad(table, ((0, 0), (0, 2**bits - 1 - count)), constant_values=_NEVER)
    context = {"steps": count, "step_bits": bits, "search_signed": near}
    return _with_table("steps", context, unit, start, {"steps": table})


def _new_powers(rising: Threshold, sums: FinishedSums) -> Epilogue | None:
    unit = sums.unit
    rows = np.clip(np.array(rising.thresholds, np.int64) * unit, -_NEVER - 1, _NEVER)
    found = fit_powers(rows, sums.lows.astype(np.int64) * unit, sums.highs.astype(np.int64) * unit)
    if found is None:
        return None
    context: dict[str, Any] = {"power_lines": len(found.lines), "power_bits": found.bits, "power_up": found.up}
    start, top = sums.bias * unit + found.moved, len(found.lines) * (_WORD - found.first)
    if len(found.lines) == 1:
        return _write({"form": "powers", **context}, start, unit, {"power_top": top, **found.lines[0]._asdict()})
    lines = np.column_stack([column for line in found.lines for column in line])
    same = bool(np.all(top == top[0]))
    context |= {"power_top": int(top[0]) if same else None, "literals": ["power_top"] if same else []}
    columns = {"bias": start} if same else {"bias": start, "power_top": top}
    return _with_table("powers", context, unit, columns, {"lines": lines})


def _with_table(
    form: str, context: dict[str, Any], unit: int, columns: Mapping[str, np.ndarray], table: Mapping[str, np.ndarray]
) -> Epilogue:
    """Words [O] of each of the columns, then those of the table [O, words]."""
    words = np.column_stack([*columns.values(), *table.values()])
    fields = (*map(Field, columns), *(Field(name, rows.shape[1]) for name, rows in table.items()))
    return Epilogue({"form": form, "literals": [], "unit": unit, "output_zero": 0, **context}, words, fields)


def rescaled(rising: Rescale, bias: np.ndarray, unit: int = 1, *, apart: Collection[str] = ()) -> Epilogue:
    """The epilogue in its original form.

    Args:
        rising: of as many channels as there are biases, or one for all of them.
        bias: int64 [channels].
        unit: sums are this many times the accumulators.
        apart: columns that always have a word for each channel.
    """
    offset = np.array(rising.offset, np.int64)
    low_words = (offset & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    # Most shifts are by 32 bits or more: then only the upper word is shifted.
    high = min(rising.shift) >= _WORD
    context = {"form": "rescale_high" if high else "rescale", "low": rising.low, "high": rising.high}
    columns = {
        "multiplier": np.array(rising.multiplier),
        "offset_low": low_words,
        "offset_high": offset >> 32,
        "shift": np.array(rising.shift) - (_WORD if high else 0),
        **_clamps(rising),
    }
    return write_columns(context | {"unit": unit, "output_zero": 0}, bias * unit, columns, apart=apart)
