"""Tuned kernel of DEPTHWISE_CONV_2D for Armv7E-M: pairs of rows, two products per multiply-accumulate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.support.requantize import epilogue
from tinygen.lowering.kernels.support.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_REACH = 1024
"""Words that a load with a constant offset reaches (LDR, 12 bits)."""


@dataclass(frozen=True)
class ColumnProducts:
    """How one column of a window is multiplied with pairs of rows.

    Attributes:
        pairs: pairs of rows that a step looks at.
        words: taps (low half, high half) that make each word of weights; -1 for none.
        products: (sum, instruction, pair, word) in order; sum 1 is the output row below.
    """

    pairs: int
    words: tuple[tuple[int, int], ...]
    products: tuple[tuple[int, str, int, int], ...]


def column_products(taps: int, both: bool) -> ColumnProducts:
    """The products of `taps` rows, for one output row or for two that follow each other.

    Pair i holds rows 2i and 2i + 1 of the window of the first output row. That row multiplies pair i with taps
    (2i, 2i + 1), the row below with taps (2i - 1, 2i); where only one tap of a pair is meant, half a word is taken.
    """
    whole = taps // 2
    words = [(2 * i, 2 * i + 1) for i in range(whole)]
    products = [(0, "tg_mac", i, i) for i in range(whole)]
    if not both:
        if taps % 2:
            words.append((taps - 1, -1))
            products.append((0, "tg_mac_bb", whole, whole))
        return ColumnProducts(-(-taps // 2), tuple(words), tuple(products))
    if taps == 1:
        return ColumnProducts(1, ((0, -1),), ((0, "tg_mac_bb", 0, 0), (1, "tg_mac_tb", 0, 0)))
    products.append((1, "tg_mac_tb", 0, 0))
    for i in range(1, (taps + 1) // 2):
        words.append((2 * i - 1, 2 * i))
        products.append((1, "tg_mac", i, len(words) - 1))
    if taps % 2:
        products.append((0, "tg_mac_bt", whole, len(words) - 1))
    else:
        products.append((1, "tg_mac_bt", whole, whole - 1))
    return ColumnProducts(whole + 1, tuple(words), tuple(products))


def column_schedule(column: ColumnProducts, taps: int, stride: int, count: int, *, dual_issue: bool) -> list[list[str]]:
    """Loads and products of `count` neighbouring output columns, in an order that the core likes.

    Every word of activations is loaded once and serves all windows that touch it.

    Args:
        taps, stride: of the window, along the row.
        dual_issue: what a column of the input needs is loaded while the one before is multiplied, as soon as a register
            is free for it; else just before it is needed, all together, which is cheaper where loads are pipelined with
            loads only.

    Returns:
        ["load_x", column, pair], ["load_w", column, word] and [instruction, sum, x, w] in order.
    """
    stages = taps + (count - 1) * stride
    # A stride beyond the window leaves columns that no window touches.
    touched = {output * stride + tap for output in range(count) for tap in range(taps)}
    steps: list[list[str]] = []
    for stage in range(stages):
        if stage == 0 or not dual_issue:
            steps += _loads_x(column, stage, touched) + _loads_w(column, stage, taps)
        weights = _loads_w(column, stage + 1, taps) if dual_issue else []
        for pair in range(column.pairs):
            for product in _products(column, stage, pair, taps, stride, count):
                steps.append(product)
                if weights and pair >= column.pairs - 1:
                    steps.append(weights.pop(0))
            if dual_issue and stage + 1 in touched:
                steps.append(["load_x", str(stage + 1), str(pair)])
        steps += weights
    return steps


def _loads_x(column: ColumnProducts, stage: int, touched: set[int]) -> list[list[str]]:
    return [["load_x", str(stage), str(pair)] for pair in range(column.pairs) if stage in touched]


def _loads_w(column: ColumnProducts, stage: int, taps: int) -> list[list[str]]:
    return [["load_w", str(stage), str(word)] for word in range(len(column.words)) if stage < taps]


def _products(column: ColumnProducts, stage: int, pair: int, taps: int, stride: int, count: int) -> list[list[str]]:
    """What one pair of rows in one column of the input is multiplied with."""
    return [
        [instruction, f"sum{output}{row}", f"x{stage}_{pair}", f"w{stage - output * stride}_{word}"]
        for output in range(count)
        for row, instruction, of, word in column.products
        if of == pair and 0 <= stage - output * stride < taps
    ]


@kernel(DepthwiseConv2D, name="depthwise_conv_2d_s8_dsp_rows", family="tinygen", isa="dsp")
def depthwise_conv_2d_s8_dsp_rows(node: Node) -> KernelPlan | None:
    """Four channels at a time; every pair of input rows is made once and serves all windows that touch it."""
    return _rows_plan(node, dual_issue=False)


@kernel(DepthwiseConv2D, name="depthwise_conv_2d_s8_dual_rows", family="tinygen", isa="dual-issue")
def depthwise_conv_2d_s8_dual_rows(node: Node) -> KernelPlan | None:
    """The same, in the order of a core that issues two instructions at once."""
    return _rows_plan(node, dual_issue=True)


def _rows_plan(node: Node, *, dual_issue: bool) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, DepthwiseConv2D)
    channels = node.output.shape[3]
    rows, columns = geometry = op.geometry(node)
    plain = rows.dilation == columns.dilation == 1 and rows.stride <= 2
    if node.output.dtype != np.int8 or not node.input(1).is_constant or op.multiplier(node) > 1 or channels % 4:
        return None
    if not plain or (rows.stride == 1 and rows.output == 1 and rows.kernel == 1):
        return None
    both = rows.stride == 1 and rows.output > 1
    column = column_products(rows.kernel, both)
    words = columns.kernel * len(column.words)
    if max(4 * (columns.kernel + columns.stride), words) > _REACH:
        return None
    ending = epilogue(node, axis=3)
    if ending is None:
        return None
    width = (columns.output - 1) * columns.stride + columns.kernel
    weights = node.constant(1)[0].transpose(2, 1, 0).reshape(-1)
    steps = -(-rows.output // 2) if both else rows.output
    inplace = node.input(0).shape == node.output.shape and rows.stride == 1
    return KernelPlan(
        template="depthwise_conv_2d/depthwise_conv_2d_s8_dsp_rows.c.j2",
        stem=window_stem("depthwise_conv_2d_s8_dsp", geometry),
        context={
            **window_context(node, geometry),
            **ending.context,
            "input_zero": node.input(0).zero_point if rows.padded or columns.padded else 0,
            "both": both,
            "steps": steps,
            "advance": rows.stride if not both else 2,
            "pairs": column.pairs,
            "tap_pairs": [list(word) for word in column.words],
            "schedules": {
                count: column_schedule(column, columns.kernel, columns.stride, count, dual_issue=dual_issue)
                for count in (1, 2)
            },
            "width": width,
            "copied": min(columns.input, width - columns.before),
        },
        constants=(
            Constant("weights", weights, f"[C, KW, KH] [{channels}, {columns.kernel}, {rows.kernel}]"),
            ending.constant(),
        ),
        scratch_bytes=16 * column.pairs * width + 16 * words + 4,
        inplace=((0, 0),) if inplace else (),
        headers=("tinygen_math.h", "tinygen_simd.h"),
        cycles=node.output.shape[0]
        * channels
        * (0.9 if dual_issue else 1.0)
        * (
            steps * columns.output * (columns.kernel * (len(column.products) + column.pairs) + (18 if both else 11))
            + 4.0 * (steps + column.pairs) * (columns.input + 5)
        ),
    )
