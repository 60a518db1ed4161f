"""Plain kernel of sums of integer codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(IntegerAdd, name="integer_add", unpacks=True, packs=True)
def integer_add(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, a, b = node.op, node.input(0), node.input(1)
    assert isinstance(op, IntegerAdd)
    kinds = [codes.activation_context(tensor, f"{name}_values") for name, tensor in (("first", a), ("second", b))]
    if None in kinds:
        return None
    after = codes.ending(op.epilogue)
    first = _values("first_factors", op.first)
    second = _values("second_factors", op.second)
    shift = _values("sum_shifts", op.shift)
    wide = op.is_wide(node)
    return KernelPlan(
        template="elementwise/integer_add.c.j2",
        stem=f"add_{codes.kind_of(a.integer)}_{codes.kind_of(b.integer)}",
        context={
            "pixels": a.size // a.shape[-1],
            "channels": a.shape[-1],
            "operands": [
                {"name": name, "codes": kind, "factor": factor[0], "pixel": codes.pixel_elements(tensor)}
                for name, kind, factor, tensor in (("first", kinds[0], first, a), ("second", kinds[1], second, b))
            ],
            "shift": shift[0],
            "limit": integer_mac.LARGEST if wide else None,
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=(("first", 0), ("second", 1)),
        constants=(*first[1], *second[1], *shift[1], *after.constants),
        inplace=codes.in_place(node),
        headers=codes.HEADERS,
        cycles=node.output.size
        * (12.0 + (8.0 if wide else 0.0) + after.cycles + codes.UNPACK * codes.unpacked(a, b, node.output)),
    )


def _values(name: str, values: Sequence[int]) -> tuple[int | None, tuple[Constant, ...]]:
    """(the one value, or None where an array has one per channel; that array)"""
    if len(set(values)) == 1:
        return values[0], ()
    kinds = (dtype for dtype in (np.int8, np.int32, np.int64) if max(map(abs, values)) <= np.iinfo(dtype).max)
    return None, (Constant(name, np.array(values, next(kinds)), f"[{len(values)}]"),)
