"""Largest and smallest codes for Armv7E-M: four channels in a word."""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_pool_2d import IntegerMaxPool2D
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(IntegerMaxPool2D, name="integer_max_pool_2d_dsp", family="tinygen", isa="dsp")
def integer_max_pool_2d_dsp(node: Node) -> KernelPlan | None:
    """Maxima of four bytes at once; where the smallest code is wanted, of the bytes with all bits turned."""
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerMaxPool2D)
    channels = x.shape[3]
    if x.memory_dtype.itemsize != 1 or channels < 4:
        return None
    # Maxima are of signed bytes: 128 is subtracted from unsigned codes, and added again.
    moved = 0x80 if x.integer.code_range[1] > 127 else 0
    flips = np.broadcast_to(np.where(np.array(op.sign) < 0, 0xFF, 0) ^ moved, channels).astype(np.uint8)
    mixed = bool(np.any(flips != flips[0]))
    literal = f"0x{int(flips[0]) * 0x01010101:08X}U" if flips[0] else ""
    constants = (Constant("flips", flips, "per channel: 255 where the smallest code is wanted"),) if mixed else ()
    geometry = op.geometry(node)
    return KernelPlan(
        template="pool/pool_2d_dsp.c.j2",
        stem=window_stem(f"pool_{kind_of(x.integer)}_dsp", geometry),
        context={
            **window_context(node, geometry),
            "low": -128,
            "high": 127,
            "source": "input" if x.dtype == np.int8 else "codes",
            "flip": "flips" if mixed else literal,
        },
        constants=constants,
        headers=("tinygen_extrema.h", "tinygen_math.h", "tinygen_simd.h"),
        cycles=2.0 * node.output.size * op.kernel[0] * op.kernel[1] + 5.0 * node.output.size,
    )
