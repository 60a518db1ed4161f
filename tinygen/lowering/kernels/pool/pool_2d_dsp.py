"""Largest and smallest codes for Armv7E-M: four channels of bytes in a word, or two of halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HALVES = {"lanes": 2, "type": "int16_t", "start": "0x80008000U", "maximum": "tg_max_pair"}


@kernel(MaxPool2D, name="max_pool_2d_dsp", family="tinygen", isa="dsp")
def max_pool_2d_dsp(node: Node) -> KernelPlan | None:
    """Maxima of all lanes at once; where the smallest code is wanted, of codes with all bits turned."""
    x, size = node.input(0), node.input(0).memory_dtype.itemsize
    if (size > 1 and x.dtype != np.int16) or x.shape[3] < 4 // size:
        return None
    values = {"lanes": 4} if size == 1 else _HALVES
    return words(node, "dsp", values, 2.0 * size, ("tinygen_extrema.h", "tinygen_math.h", "tinygen_simd.h"))


def words(
    node: Node, core: str, values: Mapping[str, Any], tap: float, headers: tuple[str, ...], turned: int | None = None
) -> KernelPlan:
    """The plan of maxima of words of codes.

    Args:
        values: of the template, beside those of every core.
        tap: cycles of a code of a window.
        turned: the bits that are turned where the smallest code is wanted; by default all.
    """
    op, x = node.op, node.input(0)
    assert isinstance(op, MaxPool2D)
    bits, top = 8 * x.memory_dtype.itemsize, x.integer.code_range[1]
    # Maxima are of signed lanes: half the range is subtracted from unsigned codes, and added again.
    moved = top >> (bits - 1) << (bits - 1)
    turned = 2**bits - 1 if turned is None else turned
    flips = np.broadcast_to(np.where(np.array(op.sign) < 0, turned, 0) ^ moved, x.shape[3]).astype(f"uint{bits}")
    mixed = bool(np.any(flips != flips[0]))
    literal = f"0x{int(flips[0]) * (0x01010101 if bits == 8 else 0x00010001):08X}U" if flips[0] else ""
    (low, high), whole = quantized_activation_range(op.activation, node.output), np.iinfo(node.output.dtype)
    geometry = op.geometry(node)
    return KernelPlan(
        template="pool/pool_2d_dsp.c.j2",
        stem=window_stem(f"max_pool_{kind_of(x.integer)}_{core}", geometry),
        context={
            **window_context(node, geometry),
            "low": low,
            "high": high,
            "clamped": low > whole.min or high < whole.max,
            "source": "input" if x.dtype.kind == "i" else "codes",
            "flip": "flips" if mixed else literal,
            **values,
        },
        constants=(Constant("flips", flips, "per channel: bits that are turned"),) if mixed else (),
        headers=headers,
        cycles=node.output.size * (tap * op.kernel[0] * op.kernel[1] + 5.0),
    )
