"""Tuned kernels of TRANSPOSE_CONV: outputs at equal places modulo the stride are a convolution with a part of the taps.

Output o of an axis gets the taps ky with (o + before - ky) divisible by the stride, which are tap r + stride * j for
r = (o + before) mod stride; input (o + before) / stride - j meets tap j of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.window import Axis, Padding
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue, epilogue
from tinygen.lowering.kernels.support.epilogues.sixteen_bits import rescaling
from tinygen.lowering.kernels.support.loops import scalar
from tinygen.lowering.kernels.support.weights.packing import pack_dot_blocks
from tinygen.lowering.plan import Constant, Field, KernelPlan, kernel

_BLOCKS = (4, 16, 64)
"""Outputs whose windows are copied together."""
_EMPTY = 4
_STEP = ("phase", "count", "row", "column", "columns", "first", "top", "left", "height", "width", "taps", "weights")


@dataclass(frozen=True)
class _Costs:
    """Cycles: a product; a tap of a window copied, a row of it begun; a tap of a filter widened, of four outputs and
    four filters with their codes."""

    product: float
    copied: float
    begun: float
    widened: float
    tile: float


_SCALAR = _Costs(3.1, 0.8, 60.0, 0.0, 880.0)
_DSP = _Costs(0.55, 2.2, 60.0, 1.4, 290.0)


@dataclass(frozen=True)
class _Part:
    """The outputs of an axis at one place modulo the stride.

    Attributes:
        start, count: of outputs.
        taps: of the filter, in the order of the inputs.
        first: the first input that the first output meets.
    """

    start: int
    count: int
    taps: tuple[int, ...]
    first: int


@dataclass(frozen=True, eq=False)
class _Layer:
    """What both kernels are made from.

    Attributes:
        phases: (rows, columns) of each.
        weights: int8 [O, height * width * I] of each.
        ending: of O channels of each phase.
        context: template values of how codes are written.
    """

    node: Node
    geometry: tuple[Axis, Axis]
    phases: tuple[tuple[_Part, _Part], ...]
    weights: tuple[np.ndarray, ...]
    ending: Epilogue
    context: dict[str, Any]


@kernel(TransposeConv, name="transpose_conv_s8_scalar", family="tinygen", isa="scalar")
def transpose_conv_s8_scalar(node: Node) -> Sequence[KernelPlan]:
    """Four outputs times four filters."""
    return _plans(node, _SCALAR, np.int8, dsp=False)


@kernel(TransposeConv, name="transpose_conv_16x8_scalar", family="tinygen", isa="scalar")
def transpose_conv_16x8_scalar(node: Node) -> Sequence[KernelPlan]:
    """The same of 16-bit activations, where sums fit 32 bits."""
    return _plans(node, _SCALAR, np.int16, dsp=False)


@kernel(TransposeConv, name="transpose_conv_s8_dsp", family="tinygen", isa="dsp")
def transpose_conv_s8_dsp(node: Node) -> Sequence[KernelPlan]:
    """Two outputs times four filters, codes and weights widened to int16 in scratch."""
    return _plans(node, _DSP, np.int8, dsp=True)


@kernel(TransposeConv, name="transpose_conv_16x8_dsp", family="tinygen", isa="dsp")
def transpose_conv_16x8_dsp(node: Node) -> Sequence[KernelPlan]:
    """The same of 16-bit activations, where sums fit 32 bits."""
    return _plans(node, _DSP, np.int16, dsp=True)


def _plans(node: Node, costs: _Costs, dtype: type[np.integer], *, dsp: bool) -> Sequence[KernelPlan]:
    layer = _layer(node) if node.output.dtype == dtype else None
    if layer is None:
        return ()
    most = max(rows.count * columns.count for rows, columns in layer.phases)
    sizes = sorted({min(size, most + -most % 4) for size in _BLOCKS})
    return [_plan(layer, size, costs, dsp=dsp) for size in sizes]


def _layer(node: Node) -> _Layer | None:
    op = node.op
    assert isinstance(op, TransposeConv)
    if not node.input(1).is_constant or node.input(1).zero_point:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None and not node.input(2).is_constant:
        return None
    rows, columns = geometry = op.geometry(node)
    phases = tuple((a, b) for a in _parts(rows) for b in _parts(columns))
    weights = node.constant(1)
    own = [weights[:, list(a.taps)][:, :, list(b.taps)] for a, b in phases]
    found = _ending(node, own)
    if found is None:
        return None
    return _Layer(node, geometry, phases, tuple(one.reshape(len(one), -1) for one in own), *found)


def _parts(axis: Axis) -> list[_Part]:
    """Of an axis of the forward convolution, from output to input."""
    found = []
    for start in range(min(axis.stride, axis.input)):
        place = start + axis.before
        taps = tuple(range(place % axis.stride, axis.kernel, axis.stride))[::-1]
        count = -(-(axis.input - start) // axis.stride)
        found.append(_Part(start, count, taps, place // axis.stride - len(taps) + 1))
    return found


def _ending(node: Node, weights: Sequence[np.ndarray]) -> tuple[Epilogue, dict[str, Any]] | None:
    """That of a layer whose filters are those of all phases: each has the zero point times its own weights in the bias.

    Args:
        weights: [O, height, width, I] of each phase.

    Returns:
        the epilogue, and template values of how codes are written.
    """
    rows = [one.reshape(len(one), -1) for one in weights]
    longest = max(one.shape[1] for one in rows)
    together = np.concatenate([np.pad(one, ((0, 0), (0, longest - one.shape[1]))) for one in rows])[:, None, None, :]
    count, filters = len(rows), len(rows[0])

    def repeated(encoding: Affine) -> Affine:
        if len(encoding.scale) == 1:
            return encoding
        return replace(encoding, scale=encoding.scale * count, zero_point=encoding.zero_point * count, axis=0)

    tensor, bias, y = node.input(1), node.optional(2), node.output
    inputs = [node.input(0), replace(tensor, shape=together.shape, encoding=repeated(tensor.affine), data=together)]
    if bias is not None:
        data = np.tile(node.constant(2).reshape(-1), count)
        inputs.append(replace(bias, shape=data.shape, encoding=repeated(bias.affine), data=data))
    output = replace(y, shape=(*y.shape[:3], count * filters))
    filters_of_all = Node(node.op, tuple(inputs), (output,))
    if y.dtype == np.int16:
        return _ending_on_codes(filters_of_all)
    found = epilogue(filters_of_all, axis=0)
    return None if found is None else (found, {"y_type": "int8_t"})


def _ending_on_codes(node: Node) -> tuple[Epilogue, dict[str, Any]] | None:
    """As that of a convolution of one window on integer codes; None where sums may leave 32 bits."""
    weights, op = node.input(1), node.op
    ending = rescaling(node, weights.shape[0])
    if ending is None:
        return None
    names: dict[str, Any] = {"name": op.name, "inputs": op.inputs[:2], "outputs": op.outputs}
    window = Conv2D(**names, padding=Padding.VALID, stride=(1, 1), epilogue=ending)
    x = replace(node.input(0), shape=(1, 1, 1, weights.shape[3]))
    found = Node(window, (x, weights), (replace(node.output, shape=(1, 1, 1, weights.shape[0])),))
    try:
        found.check()
    except TinygenError:
        return None
    layer = integer_layer(found, reads="halves")
    return None if layer is None else (layer.epilogue, layer.context)


def _plan(layer: _Layer, size: int, costs: _Costs, *, dsp: bool) -> KernelPlan:
    node = layer.node
    rows, columns = layer.geometry
    batch, in_h, in_w, in_c = node.input(0).shape
    _, out_h, out_w, out_c = node.output.shape
    data: list[np.ndarray] = []
    steps: list[tuple[int, ...]] = []
    lengths, cycles, at = set(), 0.0, 0
    for number, ((a, b), weights) in enumerate(zip(layer.phases, layer.weights, strict=True)):
        if not weights.shape[1]:
            weights = np.zeros((out_c, _EMPTY), np.int8)  # these outputs meet no tap: whatever is there counts nothing
        packed = pack_dot_blocks(weights) if dsp else scalar.by_four(weights).data
        taps = -(-weights.shape[1] // 4) * 4 if dsp else weights.shape[1]
        lengths.add(taps)
        outputs = a.count * b.count
        for first in range(0, outputs, size):
            count = min(size, outputs - first)
            place = (a.start * out_w + b.start) * out_c
            row, column = divmod(first, b.count)
            extent = (b.count, place, a.first, b.first, len(a.taps), len(b.taps), taps, at)
            steps.append((number, count, row, column, *extent))
            fours = -(-out_c // 4)
            cycles += count * (taps * costs.copied + len(a.taps) * costs.begun) + 4 * fours * taps * costs.widened
            cycles += fours * -(-count // 4) * (16 * taps * costs.product + costs.tile)
        data.append(packed.reshape(-1))
        at += packed.size
    longest = max(lengths)
    table = np.array(steps, np.int32)
    each = node.input(0).dtype.itemsize
    windows = 2 * size * longest + 8 * longest + each * (longest + 32) if dsp else each * size * longest
    halves = each == 2
    kind = "16x8" if halves else "s8"
    headers = ("tinygen_dot.h", *scalar.HEADERS) if dsp else scalar.HEADERS
    if halves:
        headers = ("tinygen_codes.h", "tinygen_widen.h" if dsp else scalar.HALVES_HEADER, *headers)
    return KernelPlan(
        template="conv/transpose_conv_phases.c.j2",
        stem=f"transpose_conv_{kind}_{rows.kernel}x{columns.kernel}_s{rows.stride}x{columns.stride}",
        context={
            "batch": batch,
            "in_h": in_h,
            "in_w": in_w,
            "in_c": in_c,
            "out_h": out_h,
            "out_w": out_w,
            "out_c": out_c,
            "k_h": rows.kernel,
            "k_w": columns.kernel,
            "stride_h": rows.stride,
            "stride_w": columns.stride,
            "input_zero": node.input(0).zero_point,
            "dsp": dsp,
            "x_type": ctype(node.input(0).dtype),
            "x_size": each,
            **layer.context,
            "pixels": size,
            "steps": len(steps),
            "longest": longest,
            "lengths": sorted(lengths),
            **layer.ending.context,
        },
        constants=(
            Constant("weights", np.concatenate(data), "phase by phase, four filters at a time"),
            layer.ending.constant(),
            Constant("phases", table, "blocks of outputs of each phase", tuple(map(Field, _STEP))),
        ),
        scratch_bytes=4 * size + windows,
        headers=headers,
        cycles=batch * cycles,
    )
