"""Convolutions of few bits, several products in one multiplication (support/activations/packed_fields.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.packed_codes import (
    Codes,
    activation_codes,
    line_context,
    odd_codes,
    stored_offset,
    value_constants,
)
from tinygen.lowering.kernels.support.activations.packed_fields import Packing, packing
from tinygen.lowering.kernels.support.activations.packed_layouts import (
    Edges,
    Layout,
    Task,
    all_layouts,
    pack_weights,
    weight_grid,
)
from tinygen.lowering.kernels.support.activations.packed_machines import ARMV6M, ARMV7EM, RV32, Machine
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.loops.block_sums import sums_by_blocks
from tinygen.lowering.kernels.support.loops.dot_job import Job
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_fields.h", "tinygen_math.h", "tinygen_simd.h")
_ROWS = (1, 2, 3, 4, 6, 8)
_LEAST = {64: 3, 32: 2}
"""Products per multiplication below which nothing is won, by the bits of a product."""
_CLOSE = 1.04
"""What is a little slower is taken where its weights are smaller."""
_BIT = 1.1
"""Cycles to make a byte of a bit."""
_RAISED = 256
"""Times sums where that gives a cheaper epilogue."""
_SHARING = np.array((0, 4, 1, 5, 2, 6, 3, 7))
"""Channels in an order in which each two share bytes of packed codes of 4 or 2 bits."""


def packed_plans(job: Job, machine: Machine) -> Sequence[KernelPlan]:
    """Plans for a layer without groups, kernel scales or dilation."""
    found = [one for task in _tasks(job, machine) for one in _worthwhile(job, task)]
    if not found:
        return ()
    layouts = [_best([one for one in found if one[0].operands == each]) for each in machine.operands]
    plans = [plan for layout in layouts for plan in _plans(job, layout)]
    return sorted(plans, key=lambda plan: (plan.scratch_bytes, plan.cycles))


def _plans(job: Job, layout: Layout) -> list[KernelPlan]:
    """Plans that take several rows at a time; one, of points, which have longer rows instead."""
    packed, mask = pack_weights(layout)
    form = packing(mask)
    if layout.points:
        return [_plan(job, rows, 1, packed, form) for rows in layout.in_rows()]
    sizes = [size for size in _ROWS if size <= max(layout.task.axes[0].output, 1)]
    return [_plan(job, layout, size, packed, form) for size in sizes]


def _best(found: list[tuple[Layout, float]]) -> Layout:
    """The layout with the fewest bits among those about as fast as the fastest."""
    fewest = min(cycles for _, cycles in found)
    close = [(layout.weight_bits(), cycles, layout) for layout, cycles in found if cycles <= _CLOSE * fewest]
    return min(close, key=lambda one: one[:2])[2]


def _worthwhile(job: Job, task: Task) -> list[tuple[Layout, float]]:
    """Layouts that save cycles and take no more flash than bytes do, with their cycles."""
    found = [_paired(job, layout) for layout in all_layouts(task, _LEAST[task.machine.product])]
    return [(layout, layout.cycles()) for layout in found if layout.weight_bits() <= 8]


def _paired(job: Job, layout: Layout) -> Layout:
    """With both filters of an operand finished together; where output codes are packed, in bytes that they share."""
    y_bits, filters = job.context["y_bits"], layout.task.filters
    in_bytes = y_bits > 1 or (y_bits == 0 and job.node.output.dtype.itemsize == 1)
    edges = layout.edges is not None and layout.edges.missing.size
    if not in_bytes or edges or layout.fields.filters != 2 or not layout.direct or filters % (8 if y_bits else 2):
        return layout
    order = np.arange(filters).reshape(-1, 8)[:, _SHARING].ravel() if y_bits else None
    return replace(layout, paired=True, order=order)


def _tasks(job: Job, machine: Machine) -> list[Task]:
    """The possible tasks: with stored padding, or without."""
    node, op = job.node, job.op
    rows, columns = axes = op.geometry(node)
    dilated = any(axis.kernel > 1 and axis.dilation > 1 for axis in axes)
    if dilated or op.groups(node) > 1:
        return []
    weights = job.weights.astype(np.int64)
    padded = rows.padded or columns.padded
    kinds = [activation_codes(node.input(0), padded=padded), odd_codes(node.input(0)) if padded else None]
    grid = weight_grid(weights)
    tasks = [Task(axes, weights, codes, grid, machine) for codes in kinds if codes and grid]
    return [task for task in tasks if task.fits(_unit(job))]


def _unit(job: Job) -> int:
    """How many of the epilogue's sums are one of the layer's."""
    return int(job.ending.context["unit"])


def _plan(job: Job, layout: Layout, size: int, packed: np.ndarray, form: Packing) -> KernelPlan:
    """The plan that takes `size` rows of outputs at a time.

    Args:
        packed, form: operands of weights, and how they lie in words.
    """
    node, task, cut, grille = job.node, layout.task, layout.cut, layout.grille
    rows, columns = task.axes
    groups = packed.shape[2] // form.words
    buffer_rows = (size - 1) * rows.stride + rows.kernel
    pair_words = 2 * task.depth * buffer_rows
    row_words = _sum_words(layout) * 2 * layout.operands * cut.segments * grille.pairs
    v_size = layout.values_of_row
    # Of one row at a time, unless windows are in pieces, each for all rows, or both loops do not fit the flash's cache.
    together = layout.pieces > 1 or (task.machine.together and not layout.points)
    line = _line_pixels(layout) * task.depth
    # Steps that the layer does not have are read from what follows, and so is one more.
    sizes = {
        "x_words": grille.pairs * pair_words + 2 * (cut.total - task.depth * rows.kernel) + 2,
        "w_words": _even(max(groups * len(form.operands), layout.operands * cut.total + 2)),
        "raw_words": (layout.pieces * size if together else 1) * row_words,
    }
    joins = not layout.direct or (task.summed and not layout.total_each)
    words = sum(sizes.values()) + joins * layout.fields.filters * v_size
    # The last row's sums are those of whole pairs of runs.
    pair = 0 if layout.points or not layout.total_each else 2 * layout.fields.pixels
    words += task.summed * (size * (grille.width if layout.points else columns.output) + pair)
    words = max(words, sizes["x_words"] + -(-line // 4))
    blocks = -(-rows.output // size)
    read = blocks * buffer_rows
    pairs, copied = (layout.pairs, layout.points) if layout.points else (read * grille.pairs, read * grille.copied)
    extend = pairs * 2 * (1 + task.machine.pixel * layout.fields.pixels)
    extend += _BIT * copied if task.codes.bits == 1 else 0
    extend += 2 * task.machine.pixel * copied if task.codes.table else 0
    ending = _ending(job, layout)
    return KernelPlan(
        template="conv/packed_rows.c.j2",
        stem=window_stem(job.stem, task.axes),
        context={
            **window_context(node, task.axes),
            **ending.context,
            **_output_context(job),
            **_layer_context(job, layout),
            **_fields_context(layout),
            **sizes,
            "stored": [[asdict(share) for share in shares] for shares in form.operands],
            "group_words": form.words,
            "groups": groups,
            "points": layout.points,
            "as_stored": _as_stored(task.codes),
            "in_pixels": node.input(0).shape[1] * node.input(0).shape[2],
            "out_pixels": node.output.shape[1] * node.output.shape[2],
            "rows": size,
            "block": size * columns.output,
            "pair_words": pair_words,
            "row_words": row_words,
            "together": together,
            "interleaved": task.machine.interleaves,
            "raw_piece": size * row_words,
            "v_size": v_size,
            "joins": joins,
            "total_each": layout.total_each if task.summed else 0,
            "line_elements": line,
        },
        constants=(
            _weights(layout, packed, form),
            ending.constant(),
            *_edge_constants(layout, _unit(job)),
            *value_constants(task.codes),
        ),
        scratch_bytes=4 * words,
        inplace=((0, 0),) if layout.points else (),  # rows are read before their outputs are written
        headers=_HEADERS,
        cycles=task.machine.unit
        * node.output.shape[0]
        * (
            layout.cycles()
            + extend * task.depth
            + blocks * packed.size / form.words * len(form.operands) * task.machine.unpack * (1 + form.steps) / 2
            + (blocks - 1) * len(packed) * task.machine.again
        ),
    )


def _sum_words(layout: Layout) -> int:
    """Words of a sum of products."""
    return layout.fields.product // 32


def _even(words: int) -> int:
    return words + words % 2


def _as_stored(codes: Codes) -> bool:
    """Whether codes go into words as they lie in the input."""
    return not (codes.bits or codes.doubled or codes.table)


def _line_pixels(layout: Layout) -> int:
    """Pixels of the line of scratch through which codes get into words: a row, or a pair of runs of points; 0 if rows
    of the input can be read as they are.
    """
    grille, pair = layout.grille, 2 * layout.fields.pixels
    whole = not layout.points % pair if layout.points else grille.copied == grille.width and not grille.left
    if whole and _as_stored(layout.task.codes):
        return 0
    return pair if layout.points else grille.width * grille.apart


def _layer_context(job: Job, layout: Layout) -> dict[str, Any]:
    """Template values of the layer's activations."""
    task, grille, codes = layout.task, layout.grille, layout.task.codes
    every_pixel = sum(1 << shift for shift in layout.fields.pixel_shifts())
    unit = _unit(job)
    context = line_context(job.node.input(0), codes)
    return {
        **context,
        "moved": codes.moved * every_pixel,
        "fill_word": codes.padding * every_pixel,
        "fill": (codes.padding if layout.edges is None else 0) - codes.moved,
        "zero_code": codes.padding - codes.moved,
        "padded_rows": task.axes[0].padded,
        "left": grille.left,
        "copied": (grille.copied - 1) * grille.apart + 1,
        "column_elements": grille.apart * task.depth,
        "summed": task.summed,
        "summed_factor": task.grid.first * codes.scale * unit,
        "factor": task.factor * unit,
        "side_by_side": _side_by_side(layout, context["x_type"]),
        **_edge_context(layout, unit),
    }


def _side_by_side(layout: Layout, x_type: str) -> dict[str, int] | None:
    """How a byte of few pixels' codes becomes a word with its fields: a product's bits. None where it does not pay.

    The product is the byte once for each pixel, at such a distance that its code comes to where its field is. No bit
    of one is a bit of another one.
    """
    fields, codes = layout.fields, layout.task.codes
    bits = codes.largest.bit_length()
    room = fields.pixels * bits <= min(8, fields.spacing - bits)
    unsigned = x_type == "uint8_t" and not codes.moved
    if not (layout.task.machine.quads and room and unsigned and fields.pixels > 2 and layout.task.depth % 4 == 0):
        return None
    shifts = fields.pixel_shifts()
    return {
        "bits": bits,
        "factor": sum(1 << (shift - i * bits) for i, shift in enumerate(shifts)),
        "mask": sum(((1 << bits) - 1) << shift for shift in shifts),
    }


def _edge_context(layout: Layout, unit: int) -> dict[str, Any]:
    """Template values of the corrections of sums: a row of it for each class of rows of outputs and each channel."""
    edges = layout.edges
    if edges is None or not edges.missing.shape[2]:
        return {"edges": (), "odd": False, "edge_words": 0}
    return {
        "edges": edges.columns,
        "odd": edges.odd,
        "edge_type": ctype(_edge_table(edges, unit).dtype),
        "edge_rows": edges.rows,
        "edge_words": edges.missing.shape[2],
        "edge_classes": edges.missing.shape[1],
    }


def _edge_table(edges: Edges, unit: int) -> np.ndarray:
    """16 bits where they hold outputs' edges, which are as many times larger as the epilogue's sums are; sums of fields
    are added to words.
    """
    missing = edges.missing * (unit if edges.odd else 1)
    return missing.astype(np.int16 if edges.odd and np.abs(missing).max(initial=0) < 2**15 else np.int32)


def _output_context(job: Job) -> dict[str, Any]:
    """Template values of the output: packed codes of several bits are written byte by byte."""
    found = {key: job.context[key] for key in ("y_type", "packed_output", "y_bits", "y_step")}
    return found | {"y_type": "uint8_t", "y_step": 4 * found["y_step"]} if found["y_bits"] > 1 else found


def _fields_context(layout: Layout) -> dict[str, Any]:
    """Template values of fields and sums."""
    fields, cut, grille = layout.fields, layout.cut, layout.grille
    taps = layout.task.axes[1].kernel - (layout.pieces - 1) * fields.taps
    shifts = fields.weight_shifts()
    return {
        "pixels": fields.pixels,
        "taps": fields.taps,
        "filters": fields.filters,
        "operands": layout.operands,
        "spacing": fields.spacing,
        "sum_words": _sum_words(layout),
        "places": fields.places(),
        "apart": fields.apart,
        "whole": layout.whole,
        "macs": fields.macs,
        "carried": fields.taps - 1,
        "pixel_shifts": fields.pixel_shifts(),
        "pieces": layout.pieces,
        "unrolled": cut.steps,
        "parts": cut.parts,
        "segments": cut.segments,
        "total_steps": cut.total,
        "pairs": grille.pairs,
        "direct": layout.direct,
        "paired": layout.paired,
        "ones": sum(1 << shift for shift in shifts[: fields.taps]),
        "ones_last": sum(1 << shift for shift in shifts[:taps]),  # the last piece may have fewer
        "v_first": grille.first,
        "stride_v": grille.stride,
    }


def _ending(job: Job, layout: Layout) -> Epilogue:
    """The epilogue, of filters in the layout's order; its biases include the share of the activation codes' offset.

    It expects sums of integers less the zero point's share that it has in its own biases, i.e. of the codes as they
    are stored where the encoding has a zero point.
    """
    task = layout.task
    offset = stored_offset(job.node.input(0), task.codes) * _unit(job)
    rows = job.ending.rows.copy()
    rows[:, 0] += offset * task.weights.reshape(len(rows), -1).sum(axis=1)
    return job.ending.with_rows(rows if layout.order is None else rows[layout.order])


def _weights(layout: Layout, packed: np.ndarray, form: Packing) -> Constant:
    fields = layout.fields
    what = f"{fields.taps} taps" if fields.taps > 1 else f"{fields.filters} filters"
    group = "a word" if form.words == 1 else f"{form.words} words"
    return Constant("weights", packed.reshape(-1), f"operands of {what}, {len(form.operands)} in {group}")


def _edge_constants(layout: Layout, unit: int) -> tuple[Constant, ...]:
    edges = layout.edges
    if edges is None or not edges.missing.size:
        return ()
    what = f"what sums of columns {list(edges.columns)} lack"
    if edges.odd:
        what = f"what outputs lack, by classes of rows, in all columns, and in {list(edges.columns)}"
    return (Constant("edges", _edge_table(edges, unit).reshape(-1), f"per output channel: {what}"),)


def _job(node: Node, *, lengths: bool = False) -> Job | None:
    """The job; epilogues of a core that counts leading zeros if `lengths`."""
    layer = integer_layer(node, wide=True, reads="any")
    if layer is None:
        return None
    if layer.epilogue.context["form"] in ("steps", "fused") and layer.sums is not None:
        # A multiple of the sums costs nothing here. It may have a cheaper form, or the same without an offset.
        raised = integer_layer(node, _RAISED, wide=True, reads="any")
        layer = raised if raised is not None and raised.epilogue.context["form"] == "fused" else layer
    epilogue = layer.by_lengths.epilogue if lengths else layer.epilogue
    return Job(node, epilogue, layer.weights, layer.context, f"conv_2d_{layer.kinds}_packed")


@kernel(Conv2D, Conv2DAdd, name="conv_2d_packed_rows", family="tinygen", isa="dsp", unpacks=True, packs=True)
@sums_by_blocks
def packed_rows(node: Node) -> Sequence[KernelPlan]:
    """Few bits: several products in one multiplication of 64 bits."""
    job = _job(node, lengths=True)
    return packed_plans(job, ARMV7EM) if job else ()


@kernel(Conv2D, Conv2DAdd, name="conv_2d_packed_rows_rv32", family="tinygen", isa="rv32", unpacks=True, packs=True)
@sums_by_blocks
def packed_rows_rv32(node: Node) -> Sequence[KernelPlan]:
    """The same by two multiplications, one for each half of the product."""
    job = _job(node)
    return packed_plans(job, RV32) if job else ()


@kernel(
    Conv2D,
    Conv2DAdd,
    name="conv_2d_packed_rows_armv6m",
    family="tinygen",
    isa="armv6m",
    unpacks=True,
    packs=True,
)
@sums_by_blocks
def packed_rows_armv6m(node: Node) -> Sequence[KernelPlan]:
    """The same in products of 32 bits."""
    job = _job(node)
    return packed_plans(job, ARMV6M) if job else ()
