"""Layers whose activations and weights are both single bits.

With w' the weights whose channel's codes rise, and their complement where codes fall, sign * accumulator =
2 * agreements - taps: agreements are the taps where the bits of x and w' are equal, and only taps inside the input are
counted. So taps outside are exactly 0, and all channels rise.

Without a population-count instruction there are these ways, in instructions per word of 32 products, counted on paper:

    a table of bytes                              2 loads, 1 xor, 12 for the four bytes                      15
    counting each word in fields (SWAR)           2 loads, 1 xor, 8 to 9                                     12
    three words to two (carry-save), then fields  2 loads, 1 xor, 5/3 for the adder, 17/3 for the fields     10
    carry-save over 18 words, then fields         2 loads, 1 xor, 2.6 for adders, 39/18 for the fields        8
    columns: one channel of 32 filters            1 load, 1 to extend a bit, 1 xor, 4 for adders              7

Columns need no fields, and no comparisons: what the planes start with makes the top one the packed output. But they
take filters in whole words. So two of these are implemented: columns, which with loops and the propagation of carries
through the upper planes take 8.1 instructions, 4.4 cycles on a Cortex-M7 and 9 on a Cortex-M4 that does not wait for
flash; and three words to two, for few filters. The carries of 32 channels are kept on the stack until those of a window
are complete; two at once are then added to the upper planes, so the loop over channels needs registers for five planes
only.

The bound of columns: seven instructions in two issue slots are 9.1 products per cycle; in one slot, with a cycle more
for each group of loads, 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import WORD_BITS, Binary, pack_bits
from tinygen.ir.epilogue import Epilogue, Threshold
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import Constant, KernelPlan

HEADERS = ("tinygen_bits.h", "tinygen_codes.h", "tinygen_math.h")
_EIGHT = 8
"""Channels that TG_ADD_8() takes at once."""
_FEWEST_PLANES = 6
"""The carries of 32 channels have a plane to go to."""
MOST_COUNT_PLANES = 16
"""tg_counts() gives halfwords."""
_MOST_HELD = 64
"""Words of carries on the stack."""
_FEWEST_READS = 3
"""Of a word of the input, from which on its parities are worth scratch."""

# Predicted Cortex-M7 cycles, of gcc's and clang's code. Of columns: eight channels of 32 filters, the carries of up to
# 32 channels, begin and end of a filter word at one pixel, counts from planes; the parities of a word. Of words: one
# word, one output, one row of the window behind the first. Of both: the window's place.
_OCTET, _CARRIES, _COLUMNS, _COUNTS = 29.0, 24.0, 30.0, 400.0
_PARITIES = 10.5
_COPIED, _PARTLY_COPIED = 0.87, 0.92
"""Of the cycles of columns, with weights of a window in scratch, all or half of them: those that flash makes a
Cortex-M4 wait (0.83 to 0.92 and 0.89 to 0.94 on an emulated STM32L4R5, of 32 to 128 channels)."""
_CACHED_BYTES = 256
"""Weights that an STM32L4 keeps beside its flash: copies of so few save nothing (RM0432, ART accelerator)."""
_WORD, _OUTPUT, _ROW, _PIXEL = 7.0, 6.0, 30.0, 20.0
_UNIT = 0.9
"""Of the cycles of columns in the plans' predictions: those of the multiplying kernels are as much too low."""


@dataclass(frozen=True, eq=False)
class BitLayer:
    """A convolution of bits; a dense layer is one whose window is its whole input.

    Attributes:
        batch: images.
        rows, columns: the window.
        weights: w', 0 and 1, [O, rows, columns, C].
        epilogue: for channels that all rise.
        output: context for what is stored.
        packed: the output is Binary too.
    """

    batch: int
    rows: Axis
    columns: Axis
    weights: np.ndarray
    epilogue: Epilogue | None
    output: dict[str, Any]
    packed: bool

    @property
    def filters(self) -> int:
        return int(self.weights.shape[0])

    @property
    def channels(self) -> int:
        return int(self.weights.shape[3])

    @property
    def pixel_words(self) -> int:
        return -(-self.channels // WORD_BITS)

    @property
    def window(self) -> int:
        """Pixels of a window."""
        return self.rows.kernel * self.columns.kernel

    @property
    def mean_taps(self) -> float:
        """Pixels of a window that lie inside the input, on average."""
        inside = [taps_inside(axis) for axis in (self.rows, self.columns)]
        return float(np.mean(inside[0]) * np.mean(inside[1]))

    @property
    def pixels(self) -> int:
        return self.batch * self.rows.output * self.columns.output

    @property
    def threshold(self) -> Threshold | None:
        """The epilogue, where it gives packed bits."""
        return self.epilogue if isinstance(self.epilogue, Threshold) and self.packed else None

    def context(self) -> dict[str, Any]:
        """Template values."""
        rows, columns = self.rows, self.columns
        return {
            "batch": self.batch,
            "in_h": rows.input,
            "in_w": columns.input,
            "in_c": self.channels,
            "out_h": rows.output,
            "out_w": columns.output,
            "out_c": self.filters,
            "k_h": rows.kernel,
            "k_w": columns.kernel,
            "stride_h": rows.stride,
            "stride_w": columns.stride,
            "dilation_h": rows.dilation,
            "dilation_w": columns.dilation,
            "pad_h": rows.before,
            "pad_w": columns.before,
            "padded_h": rows.padded,
            "padded_w": columns.padded,
            "pixel": self.pixel_words,
            **self.output,
        }


def bit_layer(node: Node) -> BitLayer | None:
    """None where a side is not binary, weights are not constant, or there are groups or kernel scales."""
    op, x, weights = node.op, node.input(0), node.input(1)
    both = isinstance(x.encoding, Binary) and isinstance(weights.encoding, Binary) and weights.is_constant
    if not both or integer_mac.kernel_scales(node) is not None:
        return None
    assert isinstance(op, Conv2D | FullyConnected)
    bits = node.constant(1).astype(np.uint8)
    if isinstance(op, Conv2D):
        if op.groups(node) != 1:
            return None
        batch, (rows, columns) = x.shape[0], op.geometry(node)
    else:
        depth, channels = weights.shape[1], x.shape[-1]
        if depth % channels:
            return None
        batch, rows, columns = x.size // depth, _whole(1), _whole(depth // channels)
        bits = bits.reshape(len(bits), 1, -1, channels)
    falling, epilogue = _rising(op.of_sums, len(bits))
    packed = isinstance(node.output.encoding, Binary)
    output = codes.output_context(node.output)
    return BitLayer(batch, rows, columns, bits ^ falling[:, None, None, None], epilogue, output, packed)


def _whole(size: int) -> Axis:
    return Axis(size, 1, size, 1, 1, 0)


def _rising(epilogue: Epilogue | None, channels: int) -> tuple[np.ndarray, Epilogue | None]:
    """Which channels fall (0 and 1), and the epilogue of -accumulator for those."""
    if not isinstance(epilogue, Threshold):
        return np.zeros(channels, np.uint8), epilogue
    falling = np.broadcast_to(np.array(epilogue.sign) < 0, channels).astype(np.uint8)
    return falling, replace(epilogue, sign=(1,))


def taps_inside(axis: Axis) -> list[int]:
    """Per output position, how many of the window's taps lie inside the input."""
    starts = np.arange(axis.output)[:, None] * axis.stride - axis.before
    taps = starts + np.arange(axis.kernel) * axis.dilation
    return [int(n) for n in ((taps >= 0) & (taps < axis.input)).sum(axis=1)]


# -- columns: a word holds one channel of 32 filters ------------------------------------------------------------------


def column_weights(layer: BitLayer) -> np.ndarray:
    """Words [filter words, window pixels, channels in eights] of complemented w' (so that agreements are ones).

    Within eight channels, word j is the exclusive or of channels 0 to j: see TG_ADD_8().
    """
    flat = 1 - layer.weights.reshape(layer.filters, layer.window, layer.channels)
    octets = -(-layer.channels // _EIGHT)
    bits = np.zeros((-(-layer.filters // WORD_BITS) * WORD_BITS, layer.window, octets, _EIGHT), np.uint8)
    bits.reshape(*bits.shape[:2], -1)[: layer.filters, :, : layer.channels] = flat
    parities = np.bitwise_xor.accumulate(bits, axis=-1)
    words = pack_bits(parities.reshape(len(bits), -1).T)
    return np.ascontiguousarray(words.T)


def column_starts(layer: BitLayer, threshold: Threshold, planes: int) -> tuple[np.ndarray, np.ndarray]:
    """Initial values of the planes, such that the top plane ends as the output.

    accumulator = 2 a - taps >= t means a >= k = ceil((taps + t) / 2), and the top plane's bit, 2**(planes - 1), is
    reached from 2**(planes - 1) - k on. Where channels are even, a tap outside is worth half of them, whatever t is:
    then the whole window's start does for all, and the kernel adds what is missing.

    Returns:
        words [filter words, numbers of taps, planes]; and which of these rows belongs to a window of as many (rows,
        columns) inside, [rows + 1, columns + 1].
    """
    rows, columns = layer.rows, layer.columns
    inside = set(taps_inside(rows)), set(taps_inside(columns))
    areas = [layer.window] if layer.channels % 2 == 0 else sorted({a * b for a in inside[0] for b in inside[1]})
    taps = np.array(areas, np.int64)[:, None] * layer.channels
    cuts = np.broadcast_to(np.array(threshold.thresholds, np.int64)[:, 0], layer.filters)
    needed = np.clip(-(-(taps + cuts) // 2), 0, taps + 1)
    starts = np.zeros((len(areas), -(-layer.filters // WORD_BITS) * WORD_BITS), np.int64)
    starts[:, : layer.filters] = 2 ** (planes - 1) - needed
    words = pack_bits(starts[:, None, :] >> np.arange(planes)[:, None] & 1)
    smallest = np.uint8 if len(areas) <= 256 else np.uint16
    which = np.zeros((rows.kernel + 1, columns.kernel + 1), smallest)
    if len(areas) > 1:
        for a in inside[0]:
            for b in inside[1]:
                which[a, b] = areas.index(a * b)
    return np.ascontiguousarray(np.moveaxis(words, -1, 0)), which


def _missing(layer: BitLayer) -> tuple[int, int]:
    """Lowest plane, and highest plane plus one, of the corrections for taps outside; equal if there are none."""
    least = min(taps_inside(layer.rows)) * min(taps_inside(layer.columns))
    most = (layer.window - least) * layer.channels // 2
    half = layer.channels // 2
    return (half & -half).bit_length() - 1 if most else 0, most.bit_length()


def columns_plans(layer: BitLayer, stem: str) -> tuple[KernelPlan, ...]:
    """32 filters at a time, counts in planes.

    Where words of the input are read several times, also with scratch for their parities.
    """
    plan = _columns_plan(layer, stem)
    if plan is None:
        return ()
    words = -(-layer.filters // WORD_BITS)
    image = layer.batch * layer.rows.input * layer.columns.input * layer.pixel_words
    reads = layer.pixels * layer.mean_taps * words * layer.pixel_words
    if reads < _FEWEST_READS * image:
        return (plan,)
    context = {**plan.context, "parities": "image"}
    cycles = plan.cycles - _UNIT * _PARITIES * (reads - image)
    return plan, replace(plan, context=context, scratch_bytes=4 * image, cycles=cycles)


def copied_columns_plans(layer: BitLayer, stem: str) -> tuple[KernelPlan, ...]:
    """The same with weights of 32 filters in scratch: those of the whole window, or of its upper rows.

    For cores that wait for flash whenever a line of it is read. Parities are those of the rows of a window.
    """
    plans = columns_plans(layer, stem)
    if not plans or layer.pixels < _FEWEST_READS:
        return ()
    rows = layer.rows.kernel
    line = layer.columns.input * layer.pixel_words
    kept = layer.columns.output * layer.columns.kernel >= _FEWEST_READS * layer.columns.input
    fastest = min(plan.cycles for plan in plans)
    row_words = layer.columns.kernel * -(-layer.channels // _EIGHT) * _EIGHT
    if 4 * rows * row_words <= _CACHED_BYTES:
        return ()
    found = []
    for copied in sorted({-(-rows // 2), rows}):
        words = copied * row_words
        found.append(
            replace(
                plans[0],
                context={**plans[0].context, "parities": "rows" if kept else "", "copied": copied},
                scratch_bytes=4 * (kept * rows * line + words),
                cycles=fastest * (_COPIED if copied == rows else _PARTLY_COPIED),
            )
        )
    return tuple(found)


def _held_carries(layer: BitLayer) -> int:
    """Words whose carries of 32 are kept on the stack: those of the window, or else of one of its rows, or none."""
    row = layer.columns.kernel * (-(-layer.channels // _EIGHT) * _EIGHT // WORD_BITS)
    sizes = (layer.rows.kernel * row, row)
    return next((size for size in sizes if 2 <= size <= _MOST_HELD), 0)


def _columns_plan(layer: BitLayer, stem: str) -> KernelPlan | None:
    planes = max((layer.window * layer.channels).bit_length() + 1, _FEWEST_PLANES)
    threshold = layer.threshold
    if threshold is None and planes > MOST_COUNT_PLANES:
        return None
    weights = column_weights(layer)
    constants = [Constant("weights", weights.reshape(-1), f"{list(weights.shape)}, parities of 32 filters' bits")]
    areas, missing = 1, (0, 0)
    if threshold is not None:
        starts, which = column_starts(layer, threshold, planes)
        areas = starts.shape[1]
        constants.append(Constant("starts", starts.reshape(-1), f"planes {list(starts.shape)}"))
        if areas > 1:
            constants.append(Constant("areas", which.reshape(-1), f"rows of starts by taps inside {list(which.shape)}"))
        missing = _missing(layer) if layer.channels % 2 == 0 else missing
        cycles = 0.0
    else:
        after = codes.ending(layer.epilogue)
        constants += after.constants
        cycles = _COUNTS + (after.cycles + 4) * min(layer.filters, WORD_BITS)
    octets = -(-layer.channels // _EIGHT)
    tap = octets * _OCTET + layer.pixel_words * _CARRIES
    place = layer.mean_taps * tap + _COLUMNS + cycles
    return KernelPlan(
        template="conv/xnor_columns.c.j2",
        stem=stem,
        context=layer.context()
        | {
            "planes": planes,
            "areas": areas,
            "missing": missing,
            "octets": octets,
            "parities": "",
            "copied": 0,
            "held": _held_carries(layer),
            "fused": threshold is not None,
            "words": -(-layer.filters // WORD_BITS),
            "after": {} if threshold is not None else after.context,
        },
        constants=tuple(constants),
        headers=HEADERS,
        cycles=_UNIT * layer.pixels * -(-layer.filters // WORD_BITS) * (place + _PIXEL),
    )


# -- words: 32 channels of one filter ---------------------------------------------------------------------------------


def words_plan(layer: BitLayer, stem: str) -> KernelPlan:
    """One filter at a time: for few filters."""
    weights = pack_bits(layer.weights)
    after = codes.ending(layer.epilogue)
    taps = layer.mean_taps * layer.pixel_words * _WORD + (layer.rows.kernel - 1) * _ROW
    return KernelPlan(
        template="conv/xnor_words.c.j2",
        stem=stem,
        context=layer.context() | {"after": after.context},
        constants=(Constant("weights", weights.reshape(-1), f"{list(weights.shape)}, 32 channels"), *after.constants),
        headers=HEADERS,
        cycles=layer.pixels * (layer.filters * (taps + _OUTPUT + after.cycles) + _PIXEL),
    )
