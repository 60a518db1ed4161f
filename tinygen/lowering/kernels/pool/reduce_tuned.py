"""Tuned kernels of MEAN, REDUCE_MAX and REDUCE_MIN on int8 codes: reduced axes that lie together are a pool's window.

Predicted cycles are those of the ESP32-C3's core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np

import tinygen.lowering.kernels.pool.max_pool_2d_scalar
import tinygen.lowering.kernels.pool.pool_2d_dsp  # noqa: F401  (both register kernels)
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.reduce import Mean, Reduce, ReduceMax, ReduceMin
from tinygen.ir.ops.window import Axis, Padding
from tinygen.lowering.kernels.pool.summed_pool_2d import (
    ARMV6M,
    FLIP,
    HEADERS,
    RV32,
    Divisions,
    averages,
    begin_with_words,
)
from tinygen.lowering.kernels.support.epilogues.staircase import Fit
from tinygen.lowering.plan import KernelPlan, kernel, registered_kernels

_FOUR = 4
_WORDS = 257
"""Words whose bytes add up to less than 16 bits."""
_MOST_TAPS = 4096
_SMALL, _MOST_SHIFT = 2**30, 22
"""Sums and shifts that tg_round_twice() takes."""
# Cycles: a word of four codes, an output; the same of a Cortex-M0+.
_WORD, _OUTPUT, _WORD_ARMV6M, _OUTPUT_ARMV6M = 9.0, 30.0, 11.0, 70.0


def _blocks(node: Node) -> tuple[int, int, int] | None:
    """The input as [outer, count, inner], of which `count` is reduced; None where reduced axes lie apart."""
    op, shape = node.op, node.input(0).shape
    assert isinstance(op, Reduce)
    sizes = [(axis in op.axes, size) for axis, size in enumerate(shape) if size > 1]
    parts = [(reduced, math.prod(size for _, size in some)) for reduced, some in groupby(sizes, lambda one: one[0])]
    if [reduced for reduced, _ in parts].count(True) != 1:
        return None
    place = next(index for index, (reduced, _) in enumerate(parts) if reduced)
    outer, inner = (math.prod(size for _, size in some) for some in (parts[:place], parts[place + 1 :]))
    return outer, parts[place][1], inner


def _as_window(node: Node, outer: int, count: int, inner: int) -> tuple[Node, tuple[int, int]]:
    """The node with tensors [outer, rows, columns, inner] and [outer, 1, 1, inner]; (rows, columns): long rows have
    short loops.
    """
    columns = max(size for size in range(1, _WORDS + 1) if count % size == 0)
    size = (count // columns, columns)
    x, y = replace(node.input(0), shape=(outer, *size, inner)), replace(node.output, shape=(outer, 1, 1, inner))
    return replace(node, inputs=(x,), outputs=(y,)), size


@kernel(Mean, name="mean_s8", family="tinygen", unless="armv6m")
def mean_s8(node: Node) -> KernelPlan | None:
    """Four bytes in two words: of neighbouring outputs, or of one."""
    return _mean(node, armv6m=False)


@kernel(Mean, name="mean_s8_armv6m", family="tinygen", isa="armv6m")
def mean_s8_armv6m(node: Node) -> KernelPlan | None:
    """The same; words of bytes where rows begin with one."""
    return _mean(node, armv6m=True)


def _mean(node: Node, *, armv6m: bool) -> KernelPlan | None:
    blocks = _blocks(node)
    if node.output.dtype != np.int8 or blocks is None:
        return None
    outer, count, inner = blocks
    divisions = _divisions(node, count)
    if divisions is None:
        return None
    window, (rows, columns) = _as_window(node, outer, count, inner)
    if inner >= _FOUR:
        geometry = Axis(rows, 1, rows, 1, 1, 0), Axis(columns, 1, columns, 1, 1, 0)
        words = not armv6m or begin_with_words(window.input(0))
        return averages(window, geometry, "mean_s8", divisions, ARMV6M if armv6m else RV32, words=words)
    if inner > 1 or count < _FOUR or (armv6m and count % _FOUR):
        return None
    return _mean_of_rows(outer, count, divisions, armv6m=armv6m)


def _divisions(node: Node, count: int) -> Divisions | None:
    """How sums of so many codes become those of means, with two roundings; None for scales that need a left shift."""
    op, x, y = node.op, node.input(0), node.output
    assert isinstance(op, Mean)
    multiplier, shift = op.scale(node)
    if 256 * count >= _SMALL or not 0 < -shift <= _MOST_SHIFT:
        return None
    offset = (1 << (-shift - 1)) + (y.zero_point << -shift)
    found = Fit(np.array([multiplier]), np.array([offset]), np.array([-count * x.zero_point]), -shift)
    return Divisions({count: found}, 1, (-128, 127), "stepwise")


def _mean_of_rows(outer: int, count: int, divisions: Divisions, *, armv6m: bool) -> KernelPlan | None:
    """Codes that lie side by side."""
    found = divisions.found[count]
    if found is None:
        return None
    words = count // _FOUR
    word, output = (_WORD_ARMV6M, _OUTPUT_ARMV6M) if armv6m else (_WORD, _OUTPUT)
    return KernelPlan(
        template="pool/mean_of_rows.c.j2",
        stem="mean_of_rows_s8",
        context={
            **divisions.context(),
            "literals": ["multiplier", "offset", "shift"],
            "multiplier": int(found.multiplier[0]),
            "offset": int(found.offset[0]),
            "shift": int(found.shift),
            "moved": int(found.moved[0]) - FLIP * count * divisions.unit,
            "outer": outer,
            "count": count,
            "words": words,
            "most": _WORDS,
            "load": "tg_load_any32" if count % _FOUR else "tg_load_aligned32",
        },
        headers=HEADERS,
        cycles=outer * (word * words + 4.0 * (count % _FOUR) + output),
    )


def _pooled(node: Node, variants: Callable[[Node], Sequence[KernelPlan]]) -> Sequence[KernelPlan]:
    """The plans of a pool with one window for each outer index."""
    blocks = _blocks(node)
    if node.output.dtype != np.int8 or blocks is None or blocks[2] < _FOUR or blocks[1] > _MOST_TAPS:
        return ()
    window, size = _as_window(node, *blocks)
    op = node.op
    pool = MaxPool2D(
        name=op.name,
        inputs=op.inputs,
        outputs=op.outputs,
        padding=Padding.VALID,
        kernel=size,
        stride=size,
        sign=(-1,) if isinstance(op, ReduceMin) else (1,),
    )
    return variants(replace(window, op=pool))


def _register() -> None:
    for one in registered_kernels():
        if one.name in ("max_pool_2d_dsp", "max_pool_2d_rv32"):
            for op in (ReduceMax, ReduceMin):
                plan = partial(_pooled, variants=one.variants)
                kernel(op, name=f"{op.KIND}_{one.isa}", family=one.family, isa=one.isa, unless=one.unless)(plan)


_register()
