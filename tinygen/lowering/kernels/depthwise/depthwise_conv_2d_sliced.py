"""Depthwise convolutions on packed codes of one or two bits: 32 channels at once, bit by bit (depthwise/lanes.py).

No product and no shift of a single code is left, so that cores without SIMD gain most.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_scalar import multiplier_of
from tinygen.lowering.kernels.depthwise.lanes import (
    Lanes,
    Products,
    Step,
    lanes_of,
    products_of,
    sum_steps,
    thresholds_of,
)
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_LARGEST = 7
"""Of weights: of larger ones, there are more bits than products."""
_MOST_TAPS = 32
_MOST_AREAS = 2**16

# Instructions of an operation on planes, of a word that is loaded, of a pixel that is copied, of one that is computed
# beside those, of a row, of a group.
_OPERATION = {"x": 1, "copy": 1, "and": 1, "full": 5, "half": 2, "last": 1}
_CARRY, _COPIED, _PIXEL, _ROW, _GROUP = 4, 20, 14, 40, 60


def _plan(node: Node, *, copied: bool, pace: float) -> KernelPlan | None:
    """
    Args:
        copied: constants are first copied to scratch, where flash is slow.
        pace: cycles an instruction.
    """
    op, x, y = node.op, node.input(0), node.output
    assert isinstance(op, Conv2D)
    bits = x.packed_bits
    if bits not in (1, 2) or y.packed_bits != bits or multiplier_of(node) != 1 or not node.input(1).is_constant:
        return None
    layer = integer_layer(node, reads="any")
    if layer is None or layer.sums is None or layer.sums.rising is None:
        return None
    weights = layer.weights[..., 0]
    taps = weights.shape[1] * weights.shape[2]
    if np.abs(weights).max() > _LARGEST or not weights.any() or taps > _MOST_TAPS:
        return None
    geometry = rows, columns = op.geometry(node)
    assert isinstance(x.encoding, IntegerEncoding)
    low, high = x.encoding.integers(np.arange(2)).tolist()
    lanes = lanes_of(x.shape[3], bits, columns.output)
    products = products_of(weights.reshape(len(weights), taps), lanes)
    ending = thresholds_of(layer.sums.rising, products, lanes, weights, geometry, (high - low, low))
    if ending.words.shape[1] * ending.words.shape[2] > _MOST_AREAS:
        return None
    steps, sums = sum_steps(products, taps, bits)
    words = np.concatenate(
        [part.reshape(lanes.groups, -1) for part in (products.words, ending.words)], axis=1, dtype=np.uint32
    )
    constants = [Constant("planes", words.reshape(-1), f"[groups, words] {list(words.shape)}: weights, thresholds")]
    if len(ending.rows):
        constants += [
            Constant("areas", ending.rows, "thresholds of each row"),
            Constant("sides", ending.columns, "and of each column"),
        ]
    reach = (rows.kernel - 1) * rows.dilation + 1
    line = (lanes.columns - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1
    return KernelPlan(
        template="depthwise/depthwise_conv_2d_sliced.c.j2",
        stem=window_stem(f"depthwise_conv_2d_{layer.kinds}_sliced", geometry),
        context=window_context(node, geometry)
        | {
            "bits": bits,
            "words": lanes.groups * lanes.words,
            "groups": lanes.groups,
            "group_words": lanes.words,
            "parts": lanes.parts,
            "columns": lanes.columns,
            "slots": [slot._asdict() for slot in lanes.slots],
            "whole": all(slot.mask == 2**32 - 1 for slot in lanes.slots),
            "line": line,
            "reach": reach,
            "kept": max(reach - rows.stride, 0),
            "constants": words.shape[1],
            "weights": products.words[0].size,
            "planes": ending.count,
            "areas": bool(len(ending.rows)),
            "steps": [_written(step, columns.kernel, (rows.dilation * line, columns.dilation), bits) for step in steps],
            "sums": sums,
            "copied": copied,
        },
        constants=tuple(constants),
        scratch_bytes=4 * (reach * line * bits + (words.shape[1] if copied else 0)),
        inplace=((0, 0),) if _in_place(node, geometry, lanes) else (),
        headers=("tinygen_bits.h",),
        cycles=pace * _instructions(geometry, lanes, steps, products, line, ending.count) * x.shape[0],
    )


def _written(step: Step, width: int, pitch: tuple[int, int], bits: int) -> dict[str, Any]:
    """A step, of a tap with its place in the rows that were copied."""
    if step.kind != "x":
        return step._asdict()
    tap, plane = divmod(int(step.a), bits)
    row, column = divmod(tap, width)
    return step._asdict() | {"a": (row * pitch[0] + column * pitch[1]) * bits + plane}


def _in_place(node: Node, geometry: tuple[Axis, Axis], lanes: Lanes) -> bool:
    """Whether each output is written behind what is still to be read: a row at a time, or a group of channels."""
    rows, columns = geometry
    if lanes.groups > 1:
        return node.input(0).shape == node.output.shape
    reach = (rows.kernel - 1) * rows.dilation + 1
    read = [min(y * rows.stride - rows.before + reach, rows.input) * columns.input for y in range(rows.output)]
    return all((y + 1) * columns.output <= end for y, end in enumerate(read))


def _instructions(
    geometry: tuple[Axis, Axis], lanes: Lanes, steps: list[Step], products: Products, line: int, count: int
) -> float:
    rows, _ = geometry
    operations = sum(_OPERATION[step.kind] for step in steps)
    loads = sum(step.kind == "x" for step in steps) + products.words[0].size
    compared = count * (_CARRY + 1) if lanes.bits == 1 else count * (2 * _CARRY + 5)
    moved = 3 * max(0, (rows.kernel - 1) * rows.dilation + 1 - rows.stride) * lanes.bits
    copied = _COPIED * rows.input * line
    pixel = operations + loads + compared + _PIXEL
    return lanes.groups * (_GROUP + rows.output * (_ROW + moved * line + pixel * lanes.columns) + copied)


_sliced = partial(kernel, Conv2D, of="codes", family="tinygen", unpacks=True, packs=True)


@_sliced(name="depthwise_conv_2d_sliced", isa="scalar")
def depthwise_conv_2d_sliced(node: Node) -> KernelPlan | None:
    """32 channels at once, bit by bit; weights of up to 7, thresholds."""
    return _plan(node, copied=False, pace=1.3)


@_sliced(name="depthwise_conv_2d_sliced_dsp", isa="dsp", unless="dual-issue")
def depthwise_conv_2d_sliced_dsp(node: Node) -> KernelPlan | None:
    """The same, with its constants copied from slow flash."""
    return _plan(node, copied=True, pace=1.2)


@_sliced(name="depthwise_conv_2d_sliced_dual", isa="dual-issue")
def depthwise_conv_2d_sliced_dual(node: Node) -> KernelPlan | None:
    """The same for a core that issues two instructions at once."""
    return _plan(node, copied=False, pace=0.55)
