"""QUANTIZE between unsigned and signed codes of one scale: their highest bit, turned, four to a word where it pays."""

from __future__ import annotations

from functools import partial

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.quantize import Quantize
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.plan import KernelPlan, kernel

_FLIP = 128
_BYTE, _WORD = 3.5, 1.2
"""Cycles per code, one at a time and four."""
_DSP, _RV32 = ("tg_load32", "tg_store32"), ("tg_load_any32", "tg_store_any32")


def _plan(node: Node, words: tuple[str, str] | None) -> KernelPlan | None:
    """The plan; None unless real values stay.

    Args:
        words: the functions that load and store four bytes at any address; None to turn one at a time.
    """
    x, y = node.input(0), node.output
    assert isinstance(node.op, Quantize)
    if x.is_float or node.op.in_float or (x.dtype.name, y.dtype.name) not in (("uint8", "int8"), ("int8", "uint8")):
        return None
    moved = _FLIP if x.dtype.name == "uint8" else -_FLIP
    if x.scale != y.scale or x.zero_point - y.zero_point != moved:
        return None
    return KernelPlan(
        template="elementwise/flip.c.j2",
        stem=f"flip_{x.dtype.name}{'_words' if words else ''}",
        context={
            "size": x.size,
            "whole": x.size // 4 * 4 if words else 0,
            "load": words and words[0],
            "store": words and words[1],
            "type": ctype(y.dtype),
        },
        inplace=((0, 0),),
        headers=("tinygen_simd.h", "tinygen_sums.h") if words else (),
        cycles=(_WORD if words else _BYTE) * x.size,
    )


kernel(Quantize, name="flip", moves=True)(partial(_plan, words=None))
kernel(Quantize, name="flip_dsp", family="tinygen", isa="dsp", moves=True)(partial(_plan, words=_DSP))
kernel(Quantize, name="flip_rv32", family="tinygen", isa="rv32", moves=True)(partial(_plan, words=_RV32))
