"""Dense layers whose activations or weights do not fit a byte, for Armv7E-M: products of pairs of int16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.dense.fully_connected import blocks_of
from tinygen.lowering.kernels.support.activations.codes import kind_of, largest_magnitude, smallest_integers
from tinygen.lowering.kernels.support.activations.widening import Widening, widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = (
    "tinygen_codes.h",
    "tinygen_dot.h",
    "tinygen_eight.h",
    "tinygen_math.h",
    "tinygen_simd.h",
    "tinygen_widen.h",
)
_BLOCK, _EIGHT = 4, 8
# Cycles per multiply-accumulate with weights of 16 bits, of 8 bits; scale as those of the int8 kernel.
_WIDE, _BYTES, _OUTPUTS = 1.33, 1.18, 8.0
_BY_FOUR = 1.08
"""How much longer products take where activations are loaded for four outputs, instead of eight."""
_SUMMED = 4.0
"""Cycles to add up four activations."""


@also_16x8(FullyConnected)
@kernel(FullyConnected, name="fully_connected_pairs_dsp", family="tinygen", isa="dsp")
def fully_connected_pairs_dsp(node: Node) -> KernelPlan | None:
    """Eight or four outputs at a time, any encodings whose integers fit int16."""
    return pairs_plan(node)


def pairs_plan(node: Node, *, by_four: bool = False) -> KernelPlan | None:
    """The plan of `fully_connected_pairs_dsp`.

    Args:
        by_four: no more than four outputs at a time.
    """
    op, x = node.op, node.input(0)
    assert isinstance(op, FullyConnected)
    outputs, depth = node.input(1).shape
    if depth % x.shape[-1]:
        return None
    scaled = not op.is_tflite and integer_mac.kernel_scales(node) is not None
    layer = integer_layer(node, scaled=scaled, wide=True, reads="any")
    if layer is None:
        return None
    epilogue = layer.by_lengths.epilogue
    integers = integer_mac.scaled_weights(node, layer.weights) if scaled else layer.weights
    grid = _grid(integers, x)
    weights = smallest_integers(integers) if grid is None else grid.places
    if weights.dtype == np.int32 or (op.is_tflite and grid is None and weights.dtype == np.int8):
        return None  # bytes times bytes are `fully_connected_dsp`'s
    is_wide = weights.dtype == np.int16
    # Packed bits begin a new word with each pixel; other codes follow each other.
    pixels = depth // x.shape[-1] if isinstance(x.encoding, Binary) else 1
    widen = widening(x, 1, 0, depth // pixels)
    blocks = _blocks(outputs, by_four, layer.context["packed_output"])
    words = _packed_blocks(weights, blocks, pixels, widen)
    fours = pixels * widen.depth // _BLOCK
    ahead = int(is_wide and (fours % 4 == 0 or blocks[0]["width"] == _EIGHT))
    rows = x.size // depth
    turns = "eight" if blocks[0]["width"] == _EIGHT else "four"
    layout = f"{[outputs, depth]} {'pairs' if is_wide else 'fours'} of taps, {turns} outputs in turn"
    each = (_WIDE if is_wide else _BYTES) * (1.0 if blocks[0]["width"] == _EIGHT else _BY_FOUR)
    return KernelPlan(
        template="dense/fully_connected_pairs_dsp.c.j2",
        stem=f"fully_connected_{kind_of(x.integer)}_{kind_of(node.input(1).integer)}_dsp_{depth}x{outputs}",
        context={
            "rows": rows,
            "outputs": outputs,
            "pixels": pixels,
            "fours": fours,
            "blocks": blocks,
            "block_words": words.shape[1],
            "wide_weights": is_wide,
            "grid": None if grid is None else {"step": grid.step, "middle": grid.middle},
            "widen": widen.context,
            "code": None,
            **epilogue.context,
            **layer.context,
        },
        constants=(
            # Loops read ahead: up to four words of weights, two of activations.
            Constant("weights", np.append(words.reshape(-1), np.zeros(4 * ahead, np.uint32)), layout),
            epilogue.constant(),
            *widen.constants,
        ),
        scratch_bytes=8 * (fours + ahead),
        headers=_HEADERS,
        cycles=rows
        * (
            pixels * widen.cycles
            + (_SUMMED * fours if grid else 0.0)
            + len(words) * (_BLOCK * _BLOCK * fours * each + _OUTPUTS)
        ),
    )


def _blocks(outputs: int, by_four: bool, in_bits: bool) -> list[dict[str, int]]:
    """`blocks_of`; outputs in bits are joined block by block, so that all blocks are of one width."""
    blocks = blocks_of(outputs, by_four=by_four)
    if not in_bits or len(blocks) == 1:
        return blocks
    return [{"width": _EIGHT, "whole": outputs // _EIGHT, "rest": outputs % _EIGHT}]


class _Grid(NamedTuple):
    """Weights that are `middle` plus a multiple of `step`: one byte each, where the weights themselves take two."""

    places: np.ndarray
    step: int
    middle: int


def _grid(weights: np.ndarray, x: Tensor) -> _Grid | None:
    """The grid of weights that do not fit a byte, such as signed levels of 8 bits, which are odd; or None.

    sum of x * weight is step * sum of x * place, plus middle times the sum of x. All of them fit 32 bits.
    """
    low, high = int(weights.min()), int(weights.max())
    if low >= -(2**7) and high < 2**7:
        return None
    step = int(np.gcd.reduce(weights.reshape(-1) - low))
    if step == 0 or (high - low) // step >= 2**8:
        return None
    # Near the middle: 128 steps above the lowest weight, or fewer if there are fewer.
    middle = low + step * min(2**7, -(-(high - low) // (2 * step)))
    places = (weights - middle) // step
    summed = step * int(np.abs(places).sum(axis=1).max()) + abs(middle) * weights.shape[1]
    if largest_magnitude(x) * summed >= 2**31:
        return None
    return _Grid(places.astype(np.int8), step, middle)


def _packed_blocks(
    weights: np.ndarray, blocks: Sequence[Mapping[str, int]], pixels: int, widen: Widening
) -> np.ndarray:
    """uint32 words [outputs / 4, words] of weights [O, I], block by block."""
    found, first = [], 0
    for block in blocks:
        last = first + block["width"] * block["whole"] + block["rest"]
        found.append(_packed(weights[first:last], block["width"], pixels, widen))
        first = last
    return np.concatenate(found)


def _packed(weights: np.ndarray, width: int, pixels: int, widen: Widening) -> np.ndarray:
    """The words of blocks of `width` outputs, channels of pixels filled up to whole words."""
    taps = filled(weights, width, pixels, widen)
    in_bytes = weights.dtype == np.int8
    if in_bytes and width == _BLOCK:
        fours = taps.reshape(-1, width, taps.shape[1] // _BLOCK, _BLOCK)
        return (
            np.ascontiguousarray(fours.transpose(0, 2, 1, 3)).view("<u4").reshape(-1, taps.shape[1]).astype(np.uint32)
        )
    pairs = pairs_of_taps(taps).reshape(-1, width, taps.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    if in_bytes:
        # A word has a pair of two outputs, which take turns.
        pairs = pairs.reshape(*pairs.shape[:2], width // 2, 2, 2).transpose(0, 1, 2, 4, 3)
    return _words(pairs, len(taps))


def _words(taps: np.ndarray, outputs: int) -> np.ndarray:
    """Bytes or halves in order, as uint32 words [outputs / 4, words]."""
    return np.frombuffer(taps.tobytes(), "<u4").reshape(outputs // _BLOCK, -1).astype(np.uint32)


def filled(weights: np.ndarray, width: int, pixels: int, widen: Widening) -> np.ndarray:
    """Weights [O, I] with whole blocks of `width` outputs, and channels of pixels filled up to whole words."""
    outputs = len(weights)
    padded = np.zeros((-(-outputs // width) * width, pixels, widen.depth), weights.dtype)
    padded[:outputs, :, : widen.channels] = weights.reshape(outputs, pixels, -1)
    return padded.reshape(len(padded), -1)


def pairs_of_taps(taps: np.ndarray) -> np.ndarray:
    """Taps [O, I] in the order of widened activations, [O, pairs, 2]: of each four 0 and 2, then 1 and 3."""
    return taps.reshape(len(taps), -1, _BLOCK)[..., [0, 2, 1, 3]].reshape(len(taps), -1, 2)
