"""Sums of integer codes within 32 bits: two products, and an epilogue that is a multiplication where one is proven.

An operand may be accumulators, as where a residual connection is added to a convolution: their range is all of int32.
Far from zero all accumulators of one sign give the same code, so they can be clamped such that the sum stays within 32
bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.reading import output_values
from tinygen.lowering.kernels.support.epilogues.integer_layer import finished_sums
from tinygen.lowering.kernels.support.epilogues.wide_sums import fit_wide, wide_sums
from tinygen.lowering.plan import Field, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_CYCLES = {"sign": 8.0, "fused": 10.0, "steps": 9.0}
_OTHERS, _CLAMP, _BIT = 16.0, 3.0, 3.0
"""Cycles per element by the epilogue's form; of a clamp; of a bit that is taken apart."""


@kernel(IntegerAdd, name="integer_add_fused", family="tinygen", unpacks=True, packs=True)
def integer_add_fused(node: Node) -> KernelPlan | None:
    """One operand of 16 or 32 bits; the other of up to 256 codes of any encoding, of more where nothing is shifted."""
    op = node.op
    assert isinstance(op, IntegerAdd)
    sums = None if op.epilogue is None else wide_sums(node)
    kinds = [codes.activation_context(node.input(i), f"{name}_values") for i, name in enumerate(("first", "second"))]
    if op.epilogue is None or sums is None or None in kinds:
        return None
    a, b, y = node.input(0), node.input(1), node.output
    ending, context = fit_wide(node, sums), output_values(y)
    if ending is None and sums.exact:
        ending = finished_sums(op.epilogue, y, -sums.largest, sums.largest)
    if ending is None or np.any(np.abs(ending.rows[:, 0]) + sums.largest >= 2**31):
        return None
    columns = {"first": sums.factors[0], "second": sums.factors[1]} | ({"limit": sums.limits} if sums.clamped else {})
    literals = {name: int(column[0]) for name, column in columns.items() if np.all(column == column[0])}
    own = {name: column for name, column in columns.items() if name not in literals}
    rows = np.column_stack([ending.rows, *own.values()])
    fields = (*ending.fields, *map(Field, own))
    constant = replace(ending, rows=rows, fields=fields).constant()
    cycles = _CYCLES.get(ending.context["form"], _OTHERS) + _CLAMP * sums.clamped
    bits = sum(codes.kind_of(tensor.integer) == "b" for tensor in (a, b)) + context["packed_output"]
    return KernelPlan(
        template="elementwise/integer_add_fused.c.j2",
        stem=f"add_{codes.kind_of(a.integer)}_{codes.kind_of(b.integer)}_fused",
        context={
            "pixels": a.size // a.shape[-1],
            "channels_count": a.shape[-1],
            "terms": [
                {
                    "name": name,
                    "type": ctype(tensor.memory_dtype),
                    "codes": kinds[i],
                    "clamped": sums.clamped and sums.wide == i,
                    "pixel": codes.pixel_elements(tensor),
                }
                for i, (name, tensor) in enumerate((("first", a), ("second", b)))
            ],
            "own": literals,
            **ending.context,
            **context,
            "output_bits": y.packed_bits,
        },
        operands=(("first", 0), ("second", 1)),
        constants=(constant,),
        inplace=codes.in_place(node),
        headers=_HEADERS,
        cycles=y.size * (cycles + _BIT * bits + codes.UNPACK * codes.unpacked(a, b, y)),
    )
