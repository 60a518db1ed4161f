"""Kernels of LayerNorm, GroupNorm, InstanceNorm and RMSNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.normalization import Normalization, inverse_root
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.kernels.support.loops.nest import broadcast_strides, make_nest, row_major
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_ELEMENT, _PARAMETERS, _GROUP = 11.0, 2.0, 120.0
"""Cycles of a Cortex-M7: of both passes over an element, of a gain and an offset, of a group's reciprocal root."""


@kernel(Normalization, name="normalization_codes")
def codes(node: Node) -> KernelPlan | None:
    """Two passes over each group: sums, then a multiplier per channel, and a product per element."""
    op, x = node.op, node.input(0)
    assert isinstance(op, Normalization)
    if x.is_float:
        return None
    scaling = op.scaling(node)
    context = {
        "type": ctype(x.dtype),
        "bytes": x.dtype.itemsize,
        "zero": scaling.zero,
        "wide": scaling.count * op.largest(node) ** 2 >= 2**31,
        "fraction": scaling.fraction,
        "added": scaling.epsilon,
        "shift": scaling.shift,
        "right": scaling.shift < int(inverse_root(np.array([op.most(node)]))[1][0]),
        "bits": scaling.bits,
    }
    parameters = [
        Constant("gain", scaling.gain.astype(np.int32), "gain / output scale"),
        Constant("offset", scaling.offset.astype(np.int32), f"offset and zero point, {scaling.bits} fractional bits"),
    ]
    return _plan(node, f"normalization_{x.dtype.name}", context, parameters, ("tinygen_math.h", "tinygen_simd.h"))


@kernel(Normalization, name="normalization_f32")
def real(node: Node) -> KernelPlan | None:
    """The mean first, then the distances from it."""
    op = node.op
    assert isinstance(op, Normalization)
    if not node.input(0).is_float:
        return None
    parameters = [
        Constant(name, np.asarray(tensor.data, np.float32), f"{name} of each channel")
        for name, tensor in zip(("gain", "offset"), op.parameters(node), strict=True)
        if tensor is not None
    ]
    return _plan(node, "normalization_f32", {"epsilon": op.epsilon}, parameters, ("tinygen_math.h", "tinygen_float.h"))


def _plan(
    node: Node, stem: str, context: dict[str, Any], parameters: Sequence[Constant], headers: tuple[str, ...]
) -> KernelPlan:
    """Loops i are those over groups, j those over a group's elements: of these, k are those over elements that differ
    in gain or offset, l those over elements that share them. A parameter of one element is a number in the C.
    """
    op, size = node.op, node.output.size
    assert isinstance(op, Normalization)
    rank = len(node.output.shape)
    shape, reduced = op.split(node.output.shape, rank), op.reduced(rank)
    arrays = [one for one in parameters if one.data.size > 1]
    walks = [
        row_major(shape),
        *(broadcast_strides(op.split(one.data.shape, rank), len(shape)) for one in arrays),
    ]
    outer = [axis for axis in range(len(shape)) if axis not in reduced]
    varying = [axis for axis in reduced if any(walk[axis] for walk in walks[1:])]

    def nest(axes: Sequence[int], counter: str) -> dict[str, Any]:
        strides = [[walk[axis] for axis in axes] for walk in walks]
        return make_nest([shape[axis] for axis in axes], strides, [0] * len(walks)).context(counter)

    over, within = nest(outer, "i"), nest(varying, "k")
    alike = nest([axis for axis in reduced if axis not in varying], "l")
    group = make_nest([shape[axis] for axis in reduced], [[walks[0][axis] for axis in reduced]], (0,)).context("j")
    numbers = {one.name: _number(one.data) for one in parameters if one.data.size == 1}
    places = {
        one.name: f"{one.name}[{_sum(over['indices'][at], within['indices'][at])}]" for at, one in enumerate(arrays, 1)
    }
    named = {"gain": "", "offset": ""} | numbers | places
    count = op.count(node)
    reads = math.prod(shape[axis] for axis in (*outer, *varying))
    return KernelPlan(
        template=f"elementwise/normalization_{'f32' if node.output.is_float else 'codes'}.c.j2",
        stem=stem,
        context={
            **context,
            **named,
            "count": count,
            "centred": op.centred,
            "formula": (" * gain" if node.optional(1) else "") + (" + offset" if node.optional(2) else ""),
            "outer": {"extents": _loops(over), "start": _start(over["indices"][0])},
            "group": {"extents": _loops(group), "index": group["indices"][0]},
            "varying": {"extents": _loops(within)},
            "alike": {"extents": _loops(alike)},
            "place": _sum(within["indices"][0], alike["indices"][0]),
        },
        constants=tuple(arrays),
        inplace=((0, 0),),
        headers=headers,
        cycles=_ELEMENT * size + _PARAMETERS * reads + _GROUP * (size // count),
    )


def _loops(nest: dict[str, Any]) -> list[int]:
    """A nest of one pass needs no loop."""
    return [extent for extent in nest["extents"] if extent > 1]


def _number(data: np.ndarray) -> str:
    return float_literal(float(data.item())) if data.dtype.kind == "f" else str(data.item())


def _sum(*terms: str) -> str:
    """An index from two expressions, either of which may be "0"."""
    return " + ".join(term for term in terms if term != "0") or "0"


def _start(index: str) -> str:
    return "" if index == "0" else f" + {index}"
