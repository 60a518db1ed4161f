"""Tuned kernels of maxima for cores without SIMD: four bytes at once, compared by subtraction.

RISC-V cores load words from any address. On Armv6-M pixels must begin with a word, and outputs are stored as bytes, as
they may lie anywhere in a concatenation.

Bytes below 128 take fewer instructions: the borrow shows in the eighth bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_pool_2d import IntegerMaxPool2D
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.window import Axis
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_SMALL = 128
_TAP, _SMALL_TAP, _OUTPUT = 3.5, 2.2, 5.0
"""Cycles of a byte of a tap, of one below 128, of an output."""
_ON_ARMV6M = 1.45
"""Times as many on a Cortex-M0+."""


@kernel(MaxPool2D, name="max_pool_2d_s8_rv32", family="tinygen", isa="rv32")
def max_pool_2d_s8_rv32(node: Node) -> KernelPlan | None:
    """Four channels and more."""
    return _int8(node)


@kernel(MaxPool2D, name="max_pool_2d_s8_armv6m", family="tinygen", isa="armv6m")
def max_pool_2d_s8_armv6m(node: Node) -> KernelPlan | None:
    """Channels in whole words."""
    return _in_words(node, _int8(node))


@kernel(IntegerMaxPool2D, name="integer_max_pool_2d_rv32", family="tinygen", isa="rv32")
def integer_max_pool_2d_rv32(node: Node) -> KernelPlan | None:
    """Codes of a byte; where the smallest is wanted, of codes with all their bits turned."""
    return _codes(node)


@kernel(IntegerMaxPool2D, name="integer_max_pool_2d_armv6m", family="tinygen", isa="armv6m")
def integer_max_pool_2d_armv6m(node: Node) -> KernelPlan | None:
    """The same, channels in whole words."""
    return _in_words(node, _codes(node))


def _in_words(node: Node, plan: KernelPlan | None) -> KernelPlan | None:
    """The plan for a core that loads only aligned words; None where plain loops are as fast."""
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


def _int8(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, MaxPool2D)
    if node.output.dtype != np.int8 or node.output.shape[3] < 4:
        return None
    low, high = quantized_activation_range(op.activation, node.output)
    values = {
        "low": low,
        "high": high,
        "source": "input",
        "flip": "",
        "start": "0x80808080U",
        "maximum": "tg_max_bytes",
    }
    return _plan(node, op.geometry(node), "max_pool_s8_rv32", values, _TAP)


def _codes(node: Node) -> KernelPlan | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerMaxPool2D)
    channels, (low, high) = x.shape[3], x.integer.code_range
    if x.memory_dtype.itemsize != 1 or channels < 4:
        return None
    small = low >= 0 and high < _SMALL
    turned, moved = (2 ** high.bit_length() - 1, 0) if small else (0xFF, 0x80 if high >= _SMALL else 0)
    flips = np.broadcast_to(np.where(np.array(op.sign) < 0, turned, 0) ^ moved, channels).astype(np.uint8)
    mixed = bool(np.any(flips != flips[0]))
    literal = f"0x{int(flips[0]) * 0x01010101:08X}U" if flips[0] else ""
    values = {
        "low": -128,
        "high": 127,
        "source": "input" if x.dtype == np.int8 else "codes",
        "flip": "flips" if mixed else literal,
        "start": "0" if small else "0x80808080U",
        "maximum": "tg_max_small" if small else "tg_max_bytes",
    }
    constants = (Constant("flips", flips, "per channel: bits that are turned"),) if mixed else ()
    stem = f"pool_{kind_of(x.integer)}_rv32"
    return _plan(node, op.geometry(node), stem, values, _SMALL_TAP if small else _TAP, constants)


def _plan(
    node: Node,
    geometry: tuple[Axis, Axis],
    stem: str,
    values: dict[str, Any],
    tap: float,
    constants: tuple[Constant, ...] = (),
) -> KernelPlan:
    rows, columns = geometry
    return KernelPlan(
        template="pool/pool_2d_dsp.c.j2",
        stem=window_stem(stem, geometry),
        context={**window_context(node, geometry), "load": "tg_load_any32", **values},
        constants=constants,
        headers=(*scalar.HEADERS, "tinygen_extrema.h", "tinygen_sums.h"),
        cycles=node.output.size * (tap * rows.kernel * columns.kernel + _OUTPUT),
    )
