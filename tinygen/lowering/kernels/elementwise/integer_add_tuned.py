"""Tuned kernels of sums of integer codes: factors, rounding and epilogue are one table or one shifted sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary, LookedUp
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.epilogues.code_sums import (
    PairSum,
    fit_line,
    fit_steps,
    fit_tables,
    line_shift,
    pair_sums,
)
from tinygen.lowering.plan import Constant, Field, KernelPlan, kernel

_MOST_PAIRS = 4096
"""Codes of a table of all pairs."""
_MOST_STEPS = 15
_NEVER = 2**31 - 1
_TABLE, _SUM, _LINE, _BIT = 6.0, 10.0, 15.0, 5.0
"""Cycles per element: a table of pairs, two tables, two products; what a packed output takes more."""


@kernel(IntegerAdd, name="integer_add_pairs", family="tinygen", unpacks=True, packs=True)
def integer_add_pairs(node: Node) -> KernelPlan | None:
    """A table of all pairs of few codes, one for all channels."""
    pairs = _pairs(node)
    if pairs is None or len(pairs) > 1:
        return None
    table = pairs[0].codes()
    if table.size > _MOST_PAIRS:
        return None
    content = Constant("sums", table.reshape(-1).astype(_element(node.output)), f"codes of all pairs {[*table.shape]}")
    return _plan(node, {"form": "pairs", "second_codes": table.shape[1]}, (content,), _TABLE)


@kernel(IntegerAdd, name="integer_add_tables", family="tinygen", unpacks=True, packs=True)
def integer_add_tables(node: Node) -> KernelPlan | None:
    """A table for each operand, the same for all channels, checked for every pair of codes."""
    pairs = _pairs(node)
    found = fit_tables(pairs[0]) if pairs and len(pairs) == 1 else None
    if pairs is None or found is None:
        return None
    constants = (
        Constant("firsts", found.first.astype(np.int32), "by code of the first operand"),
        Constant("seconds", found.second.astype(np.int32), "by code of the second operand"),
    )
    return _plan(node, {"form": "tables", "shift": found.shift, **_clamp(pairs)}, constants, _SUM)


@kernel(IntegerAdd, name="integer_add_lines", family="tinygen", unpacks=True, packs=True)
def integer_add_lines(node: Node) -> KernelPlan | None:
    """Two products of 64 bits per channel, checked for every pair of codes of each channel."""
    pairs = _pairs(node)
    if pairs is None or _uneven(node):
        return None
    shift = line_shift(pairs)
    rows: list[tuple[int, ...]] = []
    for pair in pairs:
        line = fit_line(pair, shift)
        if line is None:
            return None
        rows.append((line.first, line.second, *_halves(line.offset), *_ends(pair)))
    names = ("first", "second", "offset_low", "offset_high", "low", "high")
    return _plan(node, {"form": "lines", "shift": shift}, _channels(node, rows, tuple(map(Field, names))), _LINE)


@kernel(IntegerAdd, name="integer_add_steps", family="tinygen", unpacks=True, packs=True)
def integer_add_steps(node: Node) -> KernelPlan | None:
    """Two products per channel, and a search over the thresholds of few codes."""
    pairs = _pairs(node)
    if pairs is None or _uneven(node) or any(not _takes_steps(pair) for pair in pairs):
        return None
    found = [steps for pair in pairs if (steps := fit_steps(pair)) is not None]
    if len(found) < len(pairs):
        return None
    count = len(found[0].thresholds)
    bits = max(count.bit_length(), 2)
    never = (_NEVER,) * (2**bits - 1 - count)
    rows = [(one.first, one.second, *one.thresholds, *never) for one in found]
    fields = (Field("first"), Field("second"), Field("steps", 2**bits - 1))
    return _plan(node, {"form": "steps", "bits": bits}, _channels(node, rows, fields), _LINE + 5 * bits)


def _takes_steps(pair: PairSum) -> bool:
    low, high = pair.epilogue.code_range
    return low == 0 and 0 < high <= _MOST_STEPS


def _halves(value: int) -> tuple[int, int]:
    """Low and high word, as int32."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) * (low >> 31), value >> 32


def _uneven(node: Node) -> bool:
    """Whether integers are not a linear function of codes."""
    return any(isinstance(node.input(i).encoding, LookedUp) for i in (0, 1))


def _channels(node: Node, rows: list[tuple[int, ...]], fields: tuple[Field, ...]) -> tuple[Constant, ...]:
    """One row per channel, of rows for each or one for all."""
    words = np.broadcast_to(np.array(rows, np.int32), (node.input(0).shape[-1], len(rows[0])))
    return (Constant("channels", np.ascontiguousarray(words), "per channel", fields),)


def _pairs(node: Node) -> list[PairSum] | None:
    op = node.op
    assert isinstance(op, IntegerAdd)
    if node.output.memory_dtype.itemsize > 1 and not node.output.packed_bits:
        return None
    return pair_sums(op, node.input(0), node.input(1))


def _ends(pair: PairSum) -> tuple[int, int]:
    """The smallest and largest code that occur, to which the fitted forms clamp."""
    table = pair.codes()
    return int(table.min()), int(table.max())


def _clamp(pairs: list[PairSum]) -> dict[str, int]:
    low, high = _ends(pairs[0])
    return {"low": low, "high": high}


def _element(y: Tensor) -> type[np.generic]:
    return np.uint8 if isinstance(y.encoding, Binary) else y.dtype.type


def _plan(node: Node, context: dict[str, Any], constants: tuple[Constant, ...], cycles: float) -> KernelPlan:
    a, b, y = node.input(0), node.input(1), node.output
    operands = [
        {
            "name": name,
            "binary": isinstance(tensor.encoding, Binary),
            "bits": tensor.code_bits,
            "lowest": tensor.integer.code_range[0],
            "pixel": codes.pixel_elements(tensor),
        }
        for name, tensor in (("first", a), ("second", b))
    ]
    packed = y.packed_bits > 0
    return KernelPlan(
        template="elementwise/integer_add_tuned.c.j2",
        stem=f"add_{codes.kind_of(a.integer)}_{codes.kind_of(b.integer)}_{context['form']}",
        context={
            "pixels": a.size // a.shape[-1],
            "channels_count": a.shape[-1],
            "terms": operands,
            **context,
            **codes.output_context(y),
        },
        operands=(("first", 0), ("second", 1)),
        constants=constants,
        inplace=codes.in_place(node),
        headers=codes.HEADERS,
        cycles=y.size * (cycles + _BIT * (packed + sum(t.packed_bits > 0 for t in (a, b)))),
    )
