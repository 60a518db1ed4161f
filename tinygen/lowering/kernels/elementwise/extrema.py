"""Tuned kernels of MAXIMUM and MINIMUM of two tensors: the codes of a word at once, four of 8 bits or two of 16."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Maximum, Minimum
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest
from tinygen.lowering.plan import KernelPlan, kernel

_FOUR = 4
_DSP, _RV32, _ARMV6M = 1.5, 6.5, 9.5
"""Cycles of a code of 8 bits."""


def _plan(node: Node, cycles: float, load: str, lanes: Callable[[Node], int | None]) -> KernelPlan | None:
    count, shape = lanes(node), node.output.shape
    strides = [broadcast_strides(node.input(i).shape, len(shape)) for i in (0, 1)]
    nest = make_nest(shape, strides, (0, 0)).context()
    if count is None or nest["extents"][-1] < count:
        return None
    kind, bits = node.op.KIND, 32 // count
    return KernelPlan(
        template="elementwise/extrema.c.j2",
        stem=f"{kind}_{node.output.dtype.name}_words",
        context={
            **nest,
            "kind": kind,
            "sign": ">" if isinstance(node.op, Maximum) else "<",
            "function": f"tg_{kind[:3]}_{_LANES[count] if load == 'tg_load32' else 'bytes'}",
            "load": load,
            "lanes": count,
            "type": ctype(node.output.dtype),
            "unsigned": f"uint{bits}_t",
            "ones": "0x01010101U" if count == _FOUR else "0x00010001U",
        },
        operands=(("first", 0), ("second", 1)),
        # By size, not shape: an operand of as many elements is walked in the output's order.
        inplace=tuple((i, 0) for i in (0, 1) if node.input(i).size == node.output.size),
        headers=("tinygen_extrema.h", "tinygen_math.h", "tinygen_simd.h", "tinygen_scalar.h", "tinygen_sums.h"),
        cycles=cycles * node.output.size * _FOUR / count,
    )


_LANES = {_FOUR: "four", 2: "pair"}


def _with_simd(node: Node) -> int | None:
    return {np.dtype(np.int8): _FOUR, np.dtype(np.int16): 2}.get(node.output.dtype)


def _bytes(node: Node) -> int | None:
    return _FOUR if node.output.dtype == np.int8 else None


def _words(node: Node) -> int | None:
    """Codes that begin with a word: an Armv6-M core loads no other."""
    tensors = (node.input(0), node.input(1), node.output)
    whole = all(len(one.shape) == len(node.output.shape) and one.shape[-1] % _FOUR == 0 for one in tensors)
    return _bytes(node) if whole else None


for _op in (Maximum, Minimum):
    for _isa, _cycles, _load, _lanes in (
        ("dsp", _DSP, "tg_load32", _with_simd),
        ("rv32", _RV32, "tg_load_any32", _bytes),
        ("armv6m", _ARMV6M, "tg_load_aligned32", _words),
    ):
        kernel(_op, name=f"{_op.KIND}_{_isa}", family="tinygen", isa=_isa)(
            partial(_plan, cycles=_cycles, load=_load, lanes=_lanes)
        )
