"""Tuned kernels of pooling on packed bits: 32 channels in a word."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary, pack_bits
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D, Pool2D
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.bits import HEADERS, MOST_COUNT_PLANES
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

# Predicted Cortex-M7 cycles: of an or, and of a word of outputs around it; of one bit's way through the planes, and
# of 32 counts made from planes.
_OR, _OR_OUTPUT, _PLANE, _COUNTS = 1.5, 6.0, 1.5, 400.0


@kernel(MaxPool2D, name="binary_max_pool_2d", family="tinygen")
def binary_max_pool_2d(node: Node) -> KernelPlan | None:
    """The OR of the bits, or their AND for channels whose codes fall."""
    op = node.op
    assert isinstance(op, MaxPool2D)
    if not isinstance(node.input(0).encoding, Binary):
        return None
    falling = np.broadcast_to(np.array(op.sign) < 0, node.output.shape[3])
    constants = (Constant("falling", pack_bits(falling), "channels whose codes fall"),) if falling.any() else ()
    words = node.output.nbytes // 4
    context = {"falls": bool(falling.any()), **_context(node)}
    cycles = words * (_OR * op.kernel[0] * op.kernel[1] + _OR_OUTPUT)
    return _plan(node, "binary_max", "max_pool_2d_b", context, constants, cycles)


@kernel(AveragePool2D, name="binary_sum_pool_2d", family="tinygen", of="codes")
def binary_sum_pool_2d(node: Node) -> KernelPlan | None:
    """Counts the ones in bit planes."""
    op, x = node.op, node.input(0)
    assert isinstance(op, AveragePool2D)
    taps = op.kernel[0] * op.kernel[1]
    planes = taps.bit_length()
    if not isinstance(x.encoding, Binary) or planes > MOST_COUNT_PLANES:
        return None
    after = codes.ending(op.of_sums)
    context = {"planes": planes, "after": after.context, **codes.output_context(node.output), **_context(node)}
    pixels = node.output.size // node.output.shape[3]
    words = pixels * codes.pixel_elements(x)
    cycles = words * (_PLANE * planes * taps + _COUNTS) + node.output.size * (after.cycles + 4)
    return _plan(node, "binary_sum", "sum_pool_2d_b", context, after.constants, cycles)


def _context(node: Node) -> dict[str, Any]:
    op = node.op
    assert isinstance(op, Pool2D)
    rows, columns = op.geometry(node)
    padded = {"padded_h": rows.padded, "padded_w": columns.padded}
    return {**window_context(node, (rows, columns)), **padded, "pixel": codes.pixel_elements(node.input(0))}


def _plan(
    node: Node, template: str, stem: str, context: dict[str, Any], constants: tuple[Constant, ...], cycles: float
) -> KernelPlan:
    op = node.op
    assert isinstance(op, Pool2D)
    return KernelPlan(
        template=f"pool/{template}.c.j2",
        stem=window_stem(stem, op.geometry(node)),
        context=context,
        constants=constants,
        headers=HEADERS,
        cycles=cycles,
    )
