"""Tuned kernel of RESIZE_BILINEAR on int8 codes: four codes in two words, where weights are short.

Twice the size has weights of quarters, four times of eighths: the four of an output add up to at most 2^8, and sums of
unsigned codes fit the halves of a word.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.resize import FRACTION_BITS, ResizeBilinear
from tinygen.lowering.kernels.movement.resize import fraction_bits, neighbours_of
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_MOST_BITS = 8
_FOUR = 4
_ONE = 1 << FRACTION_BITS


def _plan(node: Node, load: str, cycles: float) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, ResizeBilinear)
    batch, in_h, in_w, channels = node.input(0).shape
    _, out_h, out_w, _ = node.output.shape
    if node.output.dtype != np.int8 or channels % _FOUR:
        return None
    (top, bottom, down), (left, right, across) = neighbours_of(node)
    if down.dtype == np.float32:
        return None
    # Beyond the border both neighbours are one code, whatever they weigh: LiteRT's weights may be negative there.
    down, across = np.where(top == bottom, 0, down), np.where(left == right, 0, across)
    rows, columns = fraction_bits(down), fraction_bits(across)
    if (
        not 0 < rows + columns <= _MOST_BITS
        or min(down.min(), across.min()) < 0
        or max(down.max(), across.max()) > _ONE
    ):
        return None
    return KernelPlan(
        template="movement/bilinear_words.c.j2",
        stem="resize_bilinear_s8_words",
        context={
            "batch": batch,
            "in_h": in_h,
            "in_w": in_w,
            "channels": channels,
            "out_h": out_h,
            "out_w": out_w,
            "rows_one": 1 << rows,
            "columns_one": 1 << columns,
            "bits": rows + columns,
            "unsigned": op.unsigned,
            "load": load,
        },
        constants=(
            Constant("rows", np.stack([top, bottom], 1).reshape(-1).astype(np.int16), "lower, upper"),
            Constant("columns", np.stack([left, right], 1).reshape(-1).astype(np.int16), "lower, upper"),
            Constant("down", (down >> (FRACTION_BITS - rows)).astype(np.int16)),
            Constant("across", (across >> (FRACTION_BITS - columns)).astype(np.int16)),
        ),
        headers=("tinygen_math.h", "tinygen_simd.h", "tinygen_sums.h"),
        cycles=cycles * node.output.size,
    )


# Below the 12.5 of plain loops, whose prediction is a Cortex-M7's: without SIMD it is 17 of 24, on Armv6-M 35 of 47.
for _isa, _load, _cycles in (
    ("dsp", "tg_load32", 9.0),
    ("rv32", "tg_load_any32", 12.0),
    ("armv6m", "tg_load_aligned32", 12.0),
):
    kernel(ResizeBilinear, name=f"resize_bilinear_s8_{_isa}", family="tinygen", isa=_isa)(
        partial(_plan, load=_load, cycles=_cycles)
    )
