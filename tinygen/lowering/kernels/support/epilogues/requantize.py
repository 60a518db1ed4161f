"""How a tuned int8 kernel turns accumulators into codes: constants per channel, and the form of the C code."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import Activation, Rounding, quantized_activation_range
from tinygen.ir.ops import mac as semantics
from tinygen.ir.ops.base import Node
from tinygen.lowering.kernels.support.epilogues.mac import folded_bias
from tinygen.lowering.kernels.support.epilogues.staircase import Staircase, fit
from tinygen.lowering.plan import Constant, Field

_SMALL = 2**30
_SEARCHES = ("steps", "octaves", "cells")
_KEPT = 64
"""Epilogues that are remembered: kernels and stripes of one layer ask for the same one again and again."""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """Values with which a kernel's template finishes a sum of products.

    Attributes:
        context: template values for kernels/support/requantize.j2.
        rows: int64 [channels, words], taken modulo 2^32: the bias, then the form's values for each channel.
        fields: names of the words.
        bias: one phrase that describes the first word, if it is more than the bias.
    """

    context: dict[str, Any]
    rows: np.ndarray
    fields: tuple[Field, ...]
    bias: str = "bias"

    @property
    def words(self) -> list[str]:
        """The names of a channel's words; [] where sums are searched for in some of them, which stay where they are."""
        alone = self.context["form"] not in _SEARCHES and all(field.count is None for field in self.fields)
        return [field.name for field in self.fields] if alone else []

    def constant(self) -> Constant:
        """The rows as one array of structs, one per output channel."""
        words = (self.bias, *(field.name for field in self.fields[1:]))
        rows = self.rows.astype(np.int64).astype(np.uint32).view(np.int32)
        return Constant("channels", rows, f"per output channel: {', '.join(words)}", self.fields)

    def with_rows(self, rows: np.ndarray) -> Epilogue:
        """The same form with other numbers."""
        return replace(self, rows=rows)


def write_columns(
    context: dict[str, Any],
    start: np.ndarray,
    columns: Mapping[str, np.ndarray | int],
    bias: str = "bias",
    *,
    apart: Collection[str] = (),
) -> Epilogue:
    """Rows of one bias and further words. Columns with one value for all channels become literals of the template.

    Args:
        context: the rest of the template's values.
        start: per channel what sums begin with.
        columns: by field name; None in the context says that a channel has its own.
        bias: one phrase on `start`.
        apart: columns that never become literals.
    """
    words, fields, literals = [start], [Field("bias")], []
    values: dict[str, int | None] = {}
    for name, column in columns.items():
        one = np.ravel(column)
        same = name not in apart and bool(np.all(one == one[0]))
        values[name] = int(one[0]) if same else None
        if same:
            literals.append(name)
        else:
            words.append(np.broadcast_to(column, start.shape))
            fields.append(Field(name))
    rows = np.stack([np.asarray(word, np.int64) for word in words], axis=1)
    return Epilogue(context | values | {"literals": literals}, rows, tuple(fields), bias)


@dataclass(frozen=True, eq=False)
class _Layer:
    """What the forms are made from; arrays per channel."""

    node: Node
    activation: Activation
    rounding: Rounding
    upward: int
    bias: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    low: int
    high: int
    unit: int

    @property
    def largest(self) -> int:
        return int(max(np.abs(self.lows).max(), np.abs(self.highs).max()))

    @property
    def live(self) -> np.ndarray:
        """Channels that have more than one accumulator; all of them where one scale serves all channels."""
        live = self.lows < self.highs
        return live if live.any() and len(semantics.real_multipliers(self.node)) > 1 else np.ones_like(live)

    @property
    def largest_live(self) -> int:
        return int(max(np.abs(self.lows[self.live]).max(), np.abs(self.highs[self.live]).max()))

    @property
    def mixed(self) -> bool:
        """Whether some channels round halves upwards, others away from zero."""
        return 0 < self.upward < len(self.bias)

    def write(self, form: str, start: np.ndarray, **columns: np.ndarray | int) -> Epilogue:
        """Columns with one value for all channels become literals."""
        context: dict[str, Any] = {
            "form": form,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "clamped": self.low > -128 or self.high < 127,
            # Elsewhere it is part of the offset; named here, it would keep layers from sharing a function.
            "output_zero": self.node.output.zero_point if form == "plain" else 0,
        }
        return write_columns(context, start, columns)


def epilogue(node: Node, *, axis: int, unit: int = 1) -> Epilogue | None:
    """The cheapest form that equals the semantics on every accumulator this layer can reach.

    `fused`: multiply-add and saturate (see `staircase`). `stepwise`: the two roundings one after the other, without
    branches; `mixed`: the same where channels round halves upwards, some or all. `plain`: the function the portable
    kernels call, for layers that round no halves upwards.

    Args:
        node: an int8 layer with constant weights.
        axis: the output-channel axis of the weights.
        unit: the kernel's accumulators are this many times the sums.

    Returns:
        None when no form fits; with unit 1 and two roundings, halves away from zero, there always is one.
    """
    weights, bias = node.input(1), node.optional(2)
    encodings = tuple(tensor and tensor.encoding for tensor in (node.input(0), weights, bias, node.output))
    arrays = (weights.data, bias and bias.data)
    activation: Activation = getattr(node.op, "activation", Activation.NONE)
    rounding = semantics.rounding_of(node)
    key = (type(node.op), activation, rounding, encodings, *map(id, arrays), weights.shape, axis, unit)
    if key not in _known:
        # The cache keeps the arrays alive, so that no other array gets their id().
        _known[key] = (arrays, _epilogue(node, axis, unit))
    _known.move_to_end(key)
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return _known[key][1]


_known: OrderedDict[Any, tuple[Any, Epilogue | None]] = OrderedDict()


def _layer_of(node: Node, axis: int, unit: int) -> _Layer:
    bias = folded_bias(node, axis=axis).data.astype(np.int64)
    lows, highs = reachable(node, bias, axis=axis)
    activation: Activation = getattr(node.op, "activation", Activation.NONE)
    low, high = quantized_activation_range(activation, node.output)
    return _Layer(node, activation, *semantics.rounding_of(node), bias, lows, highs, low, high, unit)


def _epilogue(node: Node, axis: int, unit: int) -> Epilogue | None:
    layer = _layer_of(node, axis, unit)
    found = _fused(layer) or (_stepwise(layer) if layer.largest_live * unit < 2**31 else None)
    if found is None and unit > 1 and layer.largest * unit >= 2**31:
        return None
    return found or _plain(layer)


def staircase_of(node: Node, *, axis: int) -> tuple[Staircase | None, np.ndarray]:
    """The staircase of an int8 layer for each channel, None where codes may fall as sums rise; and its biases.

    Args:
        node: with constant weights.
        axis: the output-channel axis of the weights.
    """
    layer = _layer_of(node, axis, 1)

    def codes(accumulators: np.ndarray) -> np.ndarray:
        return semantics.requantize(node, accumulators, layer.activation)

    if layer.largest_live >= _SMALL or not _rises(layer):
        return None, layer.bias
    real = np.broadcast_to(np.array(semantics.real_multipliers(node)), layer.lows.shape)
    return Staircase(codes, real, layer.lows, layer.highs, layer.low, layer.high), layer.bias


def reachable(node: Node, bias: np.ndarray, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest accumulator per channel, over all input codes; `bias` has the zero point folded in."""
    weights = np.moveaxis(semantics.centred_weights(node), axis, 0).reshape(len(bias), -1)
    positive, negative = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative


def _fused(layer: _Layer) -> Epilogue | None:
    def codes(accumulators: np.ndarray) -> np.ndarray:
        return semantics.requantize(layer.node, accumulators, layer.activation)

    if layer.largest_live >= _SMALL or not _rises(layer):
        return None
    real = np.array(semantics.real_multipliers(layer.node))
    lows, highs = layer.lows, layer.highs
    if len(real) == 1 and layer.mixed:
        real = np.repeat(real, len(lows))
    elif len(real) == 1:
        # One scale, one staircase: its constants need not be repeated.
        lows, highs = lows.min(keepdims=True), highs.max(keepdims=True)
    found = fit(Staircase(codes, real, lows, highs, layer.low, layer.high, layer.unit))
    if found is None:
        return None
    return layer.write(
        "fused",
        layer.bias * layer.unit + found.moved,
        multiplier=found.multiplier,
        offset=found.offset,
        shift=found.shift,
    )


def _stepwise(layer: _Layer) -> Epilogue | None:
    if layer.rounding is not Rounding.TWICE:
        return None
    multiplier, shift = semantics.multipliers(layer.node)
    live = layer.live
    if not live.all():
        # One accumulator, one code: it begins from 0, and the code is the offset.
        some = int(np.argmax(live))
        multiplier, shift = np.where(live, multiplier, multiplier[some]), np.where(live, shift, shift[some])
    if shift.max() >= 0 or shift.min() < -24 or layer.largest_live >= _SMALL:
        return None
    offset = (np.int64(1) << (-shift - 1)) + (layer.node.output.zero_point << -shift)
    if not live.all():
        codes = semantics.requantize(layer.node, layer.lows[None, :], layer.activation)[0].astype(np.int64)
        offset = np.where(live, offset, codes << -shift)
    scaled = (layer.largest_live * multiplier) >> 31
    if np.any(scaled + np.abs(offset) + 2 >= 2**31):
        return None
    start = np.where(live, layer.bias * layer.unit, 0)
    if not layer.upward:
        return layer.write("stepwise", start, multiplier=multiplier, offset=offset, shift=-shift)
    away = -(np.arange(len(layer.bias)) >= layer.upward).astype(np.int64)
    return layer.write("mixed", start, multiplier=multiplier, offset=offset, shift=-shift, away=away)


def _plain(layer: _Layer) -> Epilogue | None:
    if layer.rounding is not Rounding.TWICE or layer.upward:
        return None
    multiplier, shift = semantics.multipliers(layer.node)
    return layer.write("plain", layer.bias * layer.unit, multiplier=multiplier, shift=shift)


def _rises(layer: _Layer) -> bool:
    """Whether no accumulator overflows on its way, so that codes never fall as it rises."""
    _, shift = semantics.multipliers(layer.node)
    shift = np.broadcast_to(shift, layer.lows.shape)[layer.live]
    return bool(layer.largest_live << max(int(shift.max()), 0) < _SMALL)
