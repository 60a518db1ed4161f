"""Plain kernels of pooling on integer codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.epilogue import Epilogue
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_pool_2d import IntegerMaxPool2D, IntegerPool2D, IntegerSumPool2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(IntegerMaxPool2D, name="integer_max_pool_2d", unpacks=True, packs=True)
def integer_max_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op = node.op
    assert isinstance(op, IntegerMaxPool2D)
    low, high = node.input(0).integer.code_range
    mixed = len(set(op.sign)) > 1
    signs = (Constant("signs", np.array(op.sign, np.int8), f"[{len(op.sign)}]"),) if mixed else ()
    values = {"sums": False, "mixed": mixed, "largest": op.sign[0] > 0, "lowest": low, "highest": high}
    return _pool(node, "pool", values, signs, None)


@kernel(IntegerSumPool2D, name="integer_sum_pool_2d", unpacks=True, packs=True)
def integer_sum_pool_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op = node.op
    assert isinstance(op, IntegerSumPool2D)
    return _pool(node, "sum_pool", {"sums": True}, (), op.epilogue)


def _pool(
    node: Node, stem: str, values: dict[str, Any], constants: tuple[Constant, ...], epilogue: Epilogue | None
) -> KernelPlan | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerPool2D)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    geometry = op.geometry(node)
    after = codes.ending(epilogue)
    return KernelPlan(
        template="pool/integer_pool_2d.c.j2",
        stem=window_stem(f"{stem}_{codes.kind_of(x.integer)}", geometry),
        context={
            **window_context(node, geometry),
            "pixel": codes.pixel_elements(x),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "after": after.context,
            **codes.output_context(node.output),
            **values,
        },
        constants=(*constants, *after.constants),
        headers=codes.HEADERS,
        cycles=node.output.size
        * (
            10.0
            + 2.5 * after.cycles
            + codes.UNPACK * codes.unpacked(node.output)
            + 8.0 * op.kernel[0]
            + (4.0 + codes.UNPACK * codes.unpacked(x)) * op.kernel[0] * op.kernel[1]
        ),
    )
