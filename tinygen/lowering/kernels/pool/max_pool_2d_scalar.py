"""Tuned kernels of maxima for cores without SIMD: four bytes at once, compared by subtraction.

RISC-V cores load words from any address. On Armv6-M pixels must begin with a word, and outputs are stored as bytes, as
they may lie anywhere in a concatenation.

Bytes below 128 take fewer instructions: the borrow shows in the eighth bit.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.pool.pool_2d_dsp import words
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.plan import KernelPlan, kernel

_SMALL = 128
_TAP, _SMALL_TAP = 3.5, 2.2
"""Cycles of a byte of a tap, of one below 128."""
_ON_ARMV6M = 1.45
"""Times as many on a Cortex-M0+."""


@kernel(MaxPool2D, name="max_pool_2d_rv32", family="tinygen", isa="rv32")
def max_pool_2d_rv32(node: Node) -> KernelPlan | None:
    """Codes of a byte, four channels and more; where the smallest is wanted, of codes with all their bits turned."""
    x = node.input(0)
    if x.memory_dtype.itemsize != 1 or x.shape[3] < 4:
        return None
    low, high = x.integer.code_range
    small = low >= 0 and high < _SMALL
    values = {
        "load": "tg_load_any32",
        "start": "0" if small else "0x80808080U",
        "maximum": "tg_max_small" if small else "tg_max_bytes",
    }
    headers = (*scalar.HEADERS, "tinygen_extrema.h", "tinygen_sums.h")
    turned = 2 ** high.bit_length() - 1 if small else None
    return words(node, "rv32", values, _SMALL_TAP if small else _TAP, headers, turned)


@kernel(MaxPool2D, name="max_pool_2d_armv6m", family="tinygen", isa="armv6m")
def max_pool_2d_armv6m(node: Node) -> KernelPlan | None:
    """The same on a core that loads only aligned words; not where plain loops are as fast."""
    plan = max_pool_2d_rv32(node)
    if plan is None or node.input(0).shape[3] % 4:
        return None
    if plan.context["maximum"] == "tg_max_bytes" and not plan.context["padded"]:
        return None
    own = {"load": "tg_load_aligned32", "stores_bytes": True, "y_type": ctype(node.output.memory_dtype)}
    return replace(
        plan,
        stem=plan.stem.replace("rv32", "armv6m"),
        context={**plan.context, **own},
        cycles=_ON_ARMV6M * plan.cycles,
    )
