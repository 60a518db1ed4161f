"""Tuned kernel of DEPTHWISE_CONV_2D for Armv7E-M: pairs of rows, two products per multiply-accumulate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
_MOVES = 255
"""Bytes that a load moves its pointer by, at most (LDR, 8 bits)."""
_ORDER = ("load_x", "take_x", "load_w", "bias")
"""Of loads that stand together: those through one pointer beside each other."""

_LOADS = ("load_x", "take_x", "load_w")
_PRODUCT = 5
"""Length of a step that is a product."""

Step = tuple[str | int, ...]


class _Costs(NamedTuple):
    """Cycles of a product, of a load of a word, of an output that is finished; of a channel's row beside these; times
    `DepthwiseJob.pair_cycles`. Fitted to predictions for layers of 21 shapes, which they meet within 10 %.
    """

    product: float
    load: float
    output: float
    row: float
    pairing: float


_SINGLE = _Costs(1.45, 2.3, 4.1, 3.0, 1.15)
_DUAL = _Costs(1.15, 0.7, 3.0, 2.0, 0.85)


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


@dataclass(frozen=True)
class _Turn:
    """Steps of a schedule: words to load, and what is computed with them."""

    loads: tuple[Step, ...]
    steps: tuple[Step, ...]


def column_schedule(column: ColumnProducts, columns: Axis, count: int, *, dual_issue: bool) -> list[Step]:
    """What `count` neighbouring output columns take, in an order that suits the core.

    Every word is loaded once and used by all windows that contain it. In each column of the input the outputs that
    began first are last: where the stride is 1, the weights of one tap are live at a time, so that four sums, two words
    of activations and two of weights leave six registers for pointers.

    Args:
        columns: the window, along the row.
        dual_issue: words are loaded beside the product before those that need them; else all together just before
            these, which is cheaper where loads are pipelined with loads only.

    Returns:
        In order: ["bias", output column]; ["load_w", tap, word]; ["load_x", column, pair, words behind the pointer];
        ["take_x", column, pair, words that the pointer moves on, to what is loaded] and ["move", pair, words], with
        several columns; [instruction, sum, x, w, "first" or ""], where a sum's first product is added to the bias;
        ["constants"]; ["scale", sum]; ["store", output column].
    """
    turns = _turns(column, columns, count, apart=dual_issue)
    steps: list[Step] = []
    known: set[Step] = set()
    # Words are needed two products after they are loaded, at least; one column leaves registers to read further ahead.
    ahead = -(-(2 if count > 1 else 4) // max(len(turn.steps) for turn in turns)) if dual_issue else 0
    turns += _finishing(turns, count)
    for turn in turns[: ahead + 1] if dual_issue else ():
        _load(turn.loads, known, steps)
    for i, turn in enumerate(turns):
        if not dual_issue:
            _load(turn.loads, known, steps)
        for step in turn.steps:
            steps.append(step)
            for following in turns[i + 1 : i + 1 + ahead] if step is turn.steps[0] else ():
                _load(following.loads, known, steps)
    moved = {step[2] for step in steps if step[0] == "take_x"}
    return steps + [
        ("move", pair, _FOUR * count * columns.stride)
        for pair in range(column.pairs)
        if count > 1 and pair not in moved
    ]


def _finishing(turns: Sequence[_Turn], count: int) -> list[_Turn]:
    """What turns sums into codes: those are scaled first that are complete first, and saturated two later."""
    last = {str(step[1]): i for i, turn in enumerate(turns) for step in turn.steps}
    sums = sorted(last, key=last.__getitem__)
    steps: list[Step] = []
    for name, before in zip([*sums, "", ""], ["", "", *sums], strict=True):
        steps += [("saturate", before)] if before else []
        steps += [("scale", name)] if name else []
    return [_Turn((("constants",),), tuple(steps)), _Turn((), tuple(("store", output) for output in range(count)))]


def _load(loads: Sequence[Step], known: set[Step], steps: list[Step]) -> None:
    """Adds what is not loaded yet."""
    new = [load for load in dict.fromkeys(loads) if load not in known]
    steps += new
    known.update(new)


def _turns(column: ColumnProducts, columns: Axis, count: int, *, apart: bool) -> list[_Turn]:
    """The products of each output with each column of the input; `apart` also of each pair of rows for itself."""
    stages = (columns.kernel - 1) * columns.dilation + 1 + (count - 1) * columns.stride
    begun: set[str] = set()
    turns: list[_Turn] = []
    for stage in range(stages):
        for output in reversed(range(count)):
            tap, between = divmod(stage - output * columns.stride, columns.dilation)
            if between or not 0 <= tap < columns.kernel:
                continue
            pairs = []
            for pair in range(column.pairs):
                products = [product for product in column.products if product[2] == pair]
                words = dict.fromkeys(word for *_, word in products)
                bias = (("bias", output),) if pair == 0 and f"sum{output}0" not in begun else ()
                loads = (_x(columns, count, stage, pair), *(("load_w", tap, word) for word in words), *bias)
                steps: list[Step] = []
                for row, instruction, _, word in products:
                    name = f"sum{output}{row}"
                    first = "" if name in begun else "first"
                    steps.append((instruction, name, f"x{stage}_{pair}", f"w{tap}_{word}", first))
                    begun.add(name)
                pairs.append(_Turn(loads, tuple(steps)))
            turns += pairs if apart else [_together(pairs)]
    return turns


def _together(turns: Sequence[_Turn]) -> _Turn:
    loads = sorted((load for turn in turns for load in turn.loads), key=lambda load: _ORDER.index(str(load[0])))
    return _Turn(tuple(loads), tuple(step for turn in turns for step in turn.steps))


def _x(columns: Axis, count: int, stage: int, pair: int) -> Step:
    """How a word of activations is loaded: one moves the pointer on to the next columns, if it lies there."""
    across = count * columns.stride
    if count == 1 or _FOUR * 4 * across > _MOVES or not _touches(columns, count, across):
        return "load_x", stage, pair, _FOUR * stage
    name = "take_x" if stage == across else "load_x"
    return name, stage, pair, _FOUR * (stage if stage <= across else stage - across)


def _touches(columns: Axis, count: int, stage: int) -> bool:
    """Whether some window contains this column of the input."""
    return any(
        stage == output * columns.stride + tap * columns.dilation
        for output in range(count)
        for tap in range(columns.kernel)
    )


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
    pair_cycles: float = 14.0
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
    fields = job.ending.words
    width = (columns.output - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1
    if max(4 * (columns.kernel * columns.dilation + columns.stride), words + len(fields)) > _REACH:
        return None
    schedules = {count: column_schedule(column, columns, count, dual_issue=dual_issue) for count in (1, 2)}
    costs = _DUAL if dual_issue else _SINGLE
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
            "schedules": schedules,
            "fields": fields,
            "width": width,
            "copied": min(columns.input, width - columns.before),
        },
        constants=(
            Constant("weights", job.weights.transpose(0, 2, 1).reshape(-1), _layout(job.weights)),
            job.ending.constant(),
            *(job.widen.constants if job.widen else ()),
        ),
        scratch_bytes=16 * column.pairs * width + 16 * multiplier * (words + len(fields)) + 4,
        inplace=((0, 0),) if inplace else (),
        headers=job.headers,
        cycles=node.output.shape[0]
        * groups
        * _FOUR
        * (
            multiplier * steps * _row_cycles(schedules, columns.output, both=both, costs=costs)
            + costs.pairing * job.pair_cycles / _FOUR * (steps + column.pairs) * (columns.input + 5)
        ),
    )


def _row_cycles(schedules: dict[int, list[Step]], columns: int, *, both: bool, costs: _Costs) -> float:
    """Of one channel: one output row, or two."""
    total = costs.row
    for count, times in ((2, columns // 2), (1, columns % 2)):
        loads = sum(step[0] in _LOADS for step in schedules[count])
        products = sum(len(step) == _PRODUCT for step in schedules[count])
        outputs = count * (2 if both else 1)
        total += times * (costs.product * products + costs.load * loads + costs.output * outputs)
    return total


def _layout(weights: np.ndarray) -> str:
    return f"[C, KW, KH] {[len(weights), weights.shape[2], weights.shape[1]]}"
