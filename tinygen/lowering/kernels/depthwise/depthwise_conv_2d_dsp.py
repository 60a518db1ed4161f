"""Tuned kernel of DEPTHWISE_CONV_2D for Armv7E-M: pairs of rows, two products per multiply-accumulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.widening import Widening
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.loops.unpacked import all_unpacked
from tinygen.lowering.plan import Constant, KernelPlan

_FOUR = 4
"""Channels that are computed together."""
_REACH = 1024
"""Words that a load with a constant offset reaches (LDR, 12 bits)."""


@dataclass(frozen=True)
class ColumnProducts:
    """The products of one column of a window with pairs of rows.

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
    products = [(0, "tg_mla", i, i) for i in range(whole)]
    if not both:
        if taps % 2:
            words.append((taps - 1, -1))
            products.append((0, "tg_mla_bb", whole, whole))
        return ColumnProducts(-(-taps // 2), tuple(words), tuple(products))
    if taps == 1:
        return ColumnProducts(1, ((0, -1),), ((0, "tg_mla_bb", 0, 0), (1, "tg_mla_tb", 0, 0)))
    products.append((1, "tg_mla_tb", 0, 0))
    for i in range(1, (taps + 1) // 2):
        words.append((2 * i - 1, 2 * i))
        products.append((1, "tg_mla", i, len(words) - 1))
    if taps % 2:
        products.append((0, "tg_mla_bt", whole, len(words) - 1))
    else:
        products.append((1, "tg_mla_bt", whole, whole - 1))
    return ColumnProducts(whole + 1, tuple(words), tuple(products))


def column_schedule(column: ColumnProducts, columns: Axis, count: int, *, dual_issue: bool) -> list[list[str]]:
    """Loads and products of `count` neighbouring output columns, in an order that suits the core.

    Every word of activations is loaded once and used by all windows that contain it.

    Args:
        columns: the window, along the row.
        dual_issue: the words of an input column are loaded while the previous column is multiplied, as soon as a
            register is free for it; else just before it is needed, all together, which is cheaper where loads are
            pipelined with loads only.

    Returns:
        ["load_x", column, pair], ["load_w", column, word] and [instruction, sum, x, w, "first" or ""] in order; the
        first product of a sum is added to the bias.
    """
    stages = (columns.kernel - 1) * columns.dilation + 1 + (count - 1) * columns.stride
    # A stride beyond the window, and dilation, leave columns that no window touches.
    touched = {
        output * columns.stride + tap * columns.dilation for output in range(count) for tap in range(columns.kernel)
    }
    steps: list[list[str]] = []
    begun: set[str] = set()
    for stage in range(stages):
        if stage == 0 or not dual_issue:
            steps += _loads_x(column, stage, touched) + _loads_w(column, stage, columns)
        weights = _loads_w(column, stage + 1, columns) if dual_issue else []
        for pair in range(column.pairs):
            for product in _products(column, stage, pair, columns, count):
                steps.append([*product, "" if product[1] in begun else "first"])
                begun.add(product[1])
                if weights and pair >= column.pairs - 1:
                    steps.append(weights.pop(0))
            if dual_issue and stage + 1 in touched:
                steps.append(["load_x", str(stage + 1), str(pair)])
        steps += weights
    return steps


def _loads_x(column: ColumnProducts, stage: int, touched: set[int]) -> list[list[str]]:
    return [["load_x", str(stage), str(pair)] for pair in range(column.pairs) if stage in touched]


def _loads_w(column: ColumnProducts, stage: int, columns: Axis) -> list[list[str]]:
    """Weight loads of the tap that the first column has at this stage."""
    tap, between = divmod(stage, columns.dilation)
    if between or tap >= columns.kernel:
        return []
    return [["load_w", str(tap), str(word)] for word in range(len(column.words))]


def _products(column: ColumnProducts, stage: int, pair: int, columns: Axis, count: int) -> list[list[str]]:
    """The products of one pair of rows in one column of the input."""
    found = []
    for output in range(count):
        tap, between = divmod(stage - output * columns.stride, columns.dilation)
        if between or not 0 <= tap < columns.kernel:
            continue
        found += [
            [instruction, f"sum{output}{row}", f"x{stage}_{pair}", f"w{tap}_{word}"]
            for row, instruction, of, word in column.products
            if of == pair
        ]
    return found


UNPACKING = 0.6
"""Instructions that unpack a weight, relative to those of a core without bit fields and indexed loads."""


@dataclass(frozen=True, eq=False)
class DepthwiseJob:
    """A depthwise layer prepared for these kernels.

    Attributes:
        node: the layer.
        geometry: of its window.
        weights: [filters, KH, KW], int8 or int16, `multiplier` filters of each channel in turn.
        ending: the epilogue that finishes sums.
        context: template values of how codes are read (`pairing`: which function makes pairs of rows) and written.
        stem: of the C function's name.
        pair_cycles: instructions for four channels of a pair of rows.
        widen: the table, where codes are widened by one.
    """

    node: Node
    geometry: tuple[Axis, Axis]
    weights: np.ndarray
    ending: Epilogue
    context: dict[str, Any]
    stem: str
    pair_cycles: float = 16.0
    widen: Widening | None = None
    headers: tuple[str, ...] = ("tinygen_depthwise.h", "tinygen_math.h", "tinygen_simd.h")

    @property
    def multiplier(self) -> int:
        return len(self.weights) // self.node.input(0).shape[3]


def unpacked_depthwise(job: DepthwiseJob | None, *, dual_issue: bool) -> KernelPlan | None:
    """The plan of `depthwise_plan` with its weights in codes; None where that is no use."""
    plan = depthwise_plan(job, dual_issue=dual_issue) if job else None
    return all_unpacked(plan, UNPACKING) if plan else None


def takes_depthwise(geometry: tuple[Axis, Axis], node: Node) -> bool:
    """Whether rows of the window are adjacent, and there are four channels or more."""
    rows, _ = geometry
    single = rows.stride == 1 and rows.output == 1 and rows.kernel == 1
    return rows.dilation == 1 and rows.stride <= 2 and not single and node.input(0).shape[3] >= _FOUR


def depthwise_plan(job: DepthwiseJob, *, dual_issue: bool) -> KernelPlan | None:
    """The plan for a job whose layer `takes_depthwise` takes; None where its window is too large."""
    node, multiplier = job.node, job.multiplier
    rows, columns = job.geometry
    both = rows.stride == 1 and rows.output > 1
    column = column_products(rows.kernel, both)
    words = columns.kernel * len(column.words)
    width = (columns.output - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1
    if max(4 * (columns.kernel * columns.dilation + columns.stride), words) > _REACH:
        return None
    channels = node.input(0).shape[3]
    steps = -(-rows.output // 2) if both else rows.output
    # If channels are not a multiple of four, some are computed twice, so the input must not be overwritten before.
    # Bits replace those of the input if these are as many, and words have no others.
    whole = channels % (32 // (job.context["y_bits"] or 1) if job.context["packed_output"] else _FOUR) == 0
    inplace = node.input(0).shape == node.output.shape and node.input(0).nbytes == node.output.nbytes
    # Rows outside read another row of codes, and are masked; with a table, these must still be valid codes.
    inplace = inplace and whole and rows.stride == 1 and not job.widen
    groups = -(-channels // _FOUR)
    return KernelPlan(
        template="depthwise/depthwise_conv_2d_dsp_rows.c.j2",
        stem=window_stem(job.stem, job.geometry),
        context={
            **window_context(node, job.geometry),
            **job.ending.context,
            **{key: value for key, value in job.context.items() if key != "fill"},
            "input_zero": job.context["fill"] if rows.padded or columns.padded else 0,
            "widen": job.widen.context if job.widen else None,
            "each": multiplier,
            "weight_type": ctype(job.weights.dtype),
            "weights_code": None,
            "both": both,
            "inplace": inplace,
            "row_steps": steps,
            "advance": rows.stride if not both else 2,
            "pairs": column.pairs,
            "tap_pairs": [list(word) for word in column.words],
            "schedules": {count: column_schedule(column, columns, count, dual_issue=dual_issue) for count in (1, 2)},
            "width": width,
            "copied": min(columns.input, width - columns.before),
        },
        constants=(
            Constant("weights", job.weights.transpose(0, 2, 1).reshape(-1), _layout(job.weights)),
            job.ending.constant(),
            *(job.widen.constants if job.widen else ()),
        ),
        scratch_bytes=16 * column.pairs * width + 16 * multiplier * words + 4,
        inplace=((0, 0),) if inplace else (),
        headers=job.headers,
        cycles=node.output.shape[0]
        * groups
        * _FOUR
        * (0.9 if dual_issue else 1.0)
        * (
            multiplier
            * steps
            * columns.output
            * (columns.kernel * (len(column.products) + column.pairs) + (18 if both else 11))
            + job.pair_cycles / _FOUR * (steps + column.pairs) * (columns.input + 5)
        ),
    )


def _layout(weights: np.ndarray) -> str:
    return f"[C, KW, KH] {[len(weights), weights.shape[2], weights.shape[1]]}"
