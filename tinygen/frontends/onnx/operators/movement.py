"""Operators that move elements, of codes and of floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Value as Placed
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.elementwise import ConcatSource
from tinygen.frontends.onnx.values import Coded, Constant, Pending, Value, from_order
from tinygen.ir.encodings import Affine, Encoding, Levels
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.pad import Pad
from tinygen.ir.tensor import Shape, Tensor

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""ONNX's names of ways to pad, and ATen's."""


def tensor_of(operator: Operator) -> Coded:
    """The first input of an operator that moves its elements."""
    value = operator.value(0)
    if not isinstance(value, Coded):
        raise operator.unquantized(0)
    return value


def _moved(operator: Operator, value: Coded, target: str, **arguments: Any) -> Coded:
    """What an ATen operator makes of a value, which are its codes in another order."""
    found = call(operator, target, self=value, **arguments)
    return replace(value, tensor=found.tensor, layout=found.layout)


@converts("Concat", moves=True)
def concat(operator: Operator) -> Value:
    values = [operator.value(index) for index in range(len(operator.inputs))]
    operator.damaged(not values, "it has no inputs")
    ranks = {len(value.shape) for value in values}
    operator.damaged(len(ranks) != 1, f"its inputs have {sorted(ranks)} dimensions")
    axis = operator.axis(int(operator.attribute("axis")), ranks.pop())
    if any(isinstance(value, Coded) and value.tensor.is_float for value in values):
        parts = [value for value in values if math.prod(value.shape)]
        return call(operator, "cat", tensors=parts, dim=axis)
    coded = [_part(operator, index, value) for index, value in enumerate(values)]
    return _joined(operator, coded, axis)


def _part(operator: Operator, index: int, value: Value) -> Coded:
    """A part of a concatenation; a constant one becomes a tensor."""
    if isinstance(value, Constant) and value.codes is not None:
        tensor = operator.builder.constant_of(operator.input_names[index], value.codes)
        return Coded(tensor, Layout.dense(tensor.shape))
    if not isinstance(value, Coded):
        raise operator.unquantized(index)
    return value


def _joined(operator: Operator, values: Sequence[Coded], axis: int) -> Value:
    first = next((value for value in values if not value.tensor.is_constant), values[0])
    _, order = operator.builder.as_plain(first)
    tensors = [_in_dims(operator, value, order) for value in values]
    position = order.index(axis)
    shape = list(first.shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    joined = Layout.dense(shape, order)
    if len({tensor.encoding for tensor in tensors}) == 1:
        tensor = operator.builder.emit(Concatenation, tensors, tensors[0].encoding, axis=position)
        return replace(first, tensor=tensor, layout=joined)
    operator.require(not any(value.raw for value in values), "it joins codes of different scales")
    source = ConcatSource(operator.builder, tensors, position, shape[order[-1]])
    return Pending(source, Chain.start(source.channels), joined)


def _in_dims(operator: Operator, value: Coded, order: Sequence[int]) -> Tensor:
    tensor = value.tensor
    if tensor.data is None:
        return operator.builder.in_dims(value, order)
    return operator.builder.constant_tensor(tensor.name, tensor.data.transpose(order), tensor.encoding)


@converts("Pad", moves=True)
def pad(operator: Operator) -> Value:
    """Negative amounts crop."""
    mode = str(operator.attribute("mode", "constant"))
    operator.require(mode in _MODES, f"mode '{mode}' is not supported", f"Use one of {', '.join(_MODES)}.")
    value = tensor_of(operator)
    pairs = _amounts(operator, len(value.shape))
    if mode != "constant":
        return _moved(operator, value, "pad", pad=_from_last(pairs), mode=_MODES[mode])
    fill = operator.scalar(2, "value") if operator.has(2) else float(operator.attributes.get("value", 0.0))
    value = _moved(operator, value, "pad", pad=_from_last([(min(a, 0), min(b, 0)) for a, b in pairs]))
    if not any(max(pair) > 0 for pair in pairs):
        return value
    tensor, order = operator.builder.as_plain(value)
    paddings = tuple((max(pairs[axis][0], 0), max(pairs[axis][1], 0)) for axis in order)
    code = _fill(operator, value, tensor.encoding, fill)
    made = operator.builder.emit(Pad, [tensor], tensor.encoding, paddings=paddings, value=code)
    return replace(value, tensor=made, layout=from_order(made, order).layout)


def _amounts(operator: Operator, rank: int) -> list[tuple[int, int]]:
    """(before, after) of each dimension."""
    given = operator.array(1, "pads") if operator.has(1) else operator.integers_of("pads", ())
    pads = [int(amount) for amount in np.asarray(given).reshape(-1)]
    axes = [int(axis) for axis in operator.array(3, "axes").reshape(-1)] if operator.has(3) else list(range(rank))
    operator.damaged(len(pads) != 2 * len(axes), f"{len(pads)} pads for {len(axes)} dimensions")
    pairs = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        pairs[operator.axis(axis, rank)] = (pads[index], pads[index + len(axes)])
    return pairs


def _from_last(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """As ATen has them: from the last dimension to the first."""
    return [amount for pair in reversed(pairs) for amount in pair]


def _fill(operator: Operator, value: Coded, encoding: Encoding, fill: float) -> float:
    """The tensor's code for a real value, or for ONNX's code; of floats the value itself."""
    if value.tensor.is_float:
        operator.require(math.isfinite(fill), f"it pads with {fill}", "Pad with a finite number.")
        return fill
    if value.raw:
        return int(fill) - value.raw_shift
    supported = isinstance(encoding, Affine | Levels) and not (isinstance(encoding, Levels) and encoding.signed)
    operator.require(supported, f"a value of {encoding} to pad with")
    assert isinstance(encoding, Affine | Levels)
    zero = encoding.zero_point[0] if isinstance(encoding, Affine) else 0
    code = int(round_half_away(float(Fraction(fill) / Fraction(encoding.scale[0])))) + zero
    exact = (code - zero) * Fraction(encoding.scale[0])
    near = abs(exact - Fraction(fill)) <= Fraction(encoding.scale[0]) / 2
    low, high = encoding.code_range
    operator.require(near and low <= code <= high, f"it pads with {fill}, which no code of {encoding} stands for")
    return code


@converts("Slice", moves=True)
def slice_(operator: Operator) -> Value:
    value = tensor_of(operator)
    walks = _walks(operator, value.shape)
    if all(walk == range(size) for walk, size in zip(walks, value.shape, strict=True)):
        return value
    tensor, order = operator.builder.as_plain(value)
    return _sliced(operator, value, tensor, [walks[axis] for axis in order], order)


def _walks(operator: Operator, shape: Shape) -> list[range]:
    """Positions along each dimension."""
    if operator.has(1):
        starts, ends = (operator.array(i, "range").reshape(-1).tolist() for i in (1, 2))
        axes = operator.array(3, "axes").reshape(-1).tolist() if operator.has(3) else list(range(len(starts)))
        steps = operator.array(4, "steps").reshape(-1).tolist() if operator.has(4) else [1] * len(starts)
    else:
        starts, ends = list(operator.integers_of("starts", ())), list(operator.integers_of("ends", ()))
        axes, steps = list(operator.integers_of("axes", range(len(starts)))), [1] * len(starts)
    operator.damaged(not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps, "its ranges disagree")
    walks = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where = operator.axis(int(axis), len(shape))
        # ONNX's rules for negative and large indices are Python's, except that -1 is not before the first element.
        stop = None if step < 0 and end < -shape[where] else int(end)
        walks[where] = range(shape[where])[slice(int(start), stop, int(step))]
        operator.require(len(walks[where]) > 0, "an empty result", "Remove it, and what reads it.")
    return walks


def _sliced(operator: Operator, value: Coded, tensor: Tensor, walks: Sequence[range], order: Sequence[int]) -> Coded:
    """Some positions along each dimension of a tensor."""
    made = operator.builder.emit(
        StridedSlice,
        [tensor],
        tensor.encoding,
        begin=tuple(walk.start for walk in walks),
        step=tuple(walk.step for walk in walks),
        count=tuple(len(walk) for walk in walks),
        axes=tuple(range(len(walks))),
    )
    return replace(value, tensor=made, layout=from_order(made, order).layout)


@converts("Split", moves=True)
def split(operator: Operator) -> list[Value]:
    """Parts that nothing reads are not taken out."""
    value = tensor_of(operator)
    axis = operator.axis(int(operator.attribute("axis", 0)), len(value.shape))
    sizes = _sizes(operator, value.shape[axis])
    tensor, order = operator.builder.as_plain(value)
    results: list[Value] = []
    for index, size in enumerate(sizes):
        if index not in operator.taken:
            results.append(value)
            continue
        operator.builder.label = operator.output_names[index]
        start = sum(sizes[:index])
        walks = [range(start, start + size) if dim == axis else range(value.shape[dim]) for dim in order]
        results.append(_sliced(operator, value, tensor, walks, order))
    return results


def _sizes(operator: Operator, total: int) -> list[int]:
    """Of the parts of a split: equal ones but for the last, if none are given."""
    parts = len(operator.output_names)
    if operator.has(1):
        sizes = [int(size) for size in operator.array(1, "sizes").reshape(-1)]
    else:
        step = -(-total // parts)
        sizes = list(operator.integers_of("split", [min(step, total - i * step) for i in range(parts)]))
    operator.damaged(sum(sizes) != total or min(sizes) < 1 or len(sizes) != parts, f"parts {sizes} of {total}")
    return sizes


@converts("Tile", moves=True)
def tile(operator: Operator) -> Value:
    value = tensor_of(operator)
    counts = [int(count) for count in operator.array(1, "repeats").reshape(-1)]
    operator.damaged(len(counts) != len(value.shape) or min(counts, default=1) < 1, f"repeats {counts}")
    return _moved(operator, value, "repeat", repeats=counts)


@converts("Expand", moves=True)
def expand(operator: Operator) -> Value:
    value = tensor_of(operator)
    wanted = tuple(int(size) for size in operator.array(1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(value.shape, wanted)
    except ValueError:
        operator.damaged(True, f"{list(value.shape)} does not expand to {list(wanted)}")
        raise
    made = operator.builder.broadcast(value.placed, shape)
    return replace(value, tensor=operator.builder.tensors[made.tensor], layout=made.layout)


@converts("DepthToSpace", moves=True)
def depth_to_space(operator: Operator) -> Value:
    value, size, (batch, channels, height, width) = _blocks(operator)
    operator.damaged(channels % size**2 != 0, f"{channels} channels in blocks of {size}")
    rest, mode = channels // size**2, _mode(operator)
    apart = (batch, size, size, rest) if mode == "DCR" else (batch, rest, size, size)
    order = (0, 3, 4, 1, 5, 2) if mode == "DCR" else (0, 1, 4, 2, 5, 3)
    return _rearranged(operator, value, (*apart, height, width), order, (batch, rest, height * size, width * size))


@converts("SpaceToDepth", moves=True)
def space_to_depth(operator: Operator) -> Value:
    value, size, (batch, channels, height, width) = _blocks(operator)
    operator.damaged(height % size + width % size > 0, f"an image of {height} x {width} in blocks of {size}")
    apart = (batch, channels, height // size, size, width // size, size)
    shape = (batch, channels * size**2, height // size, width // size)
    order = (0, 3, 5, 1, 2, 4) if _mode(operator) == "DCR" else (0, 1, 3, 5, 2, 4)
    return _rearranged(operator, value, apart, order, shape)


def _mode(operator: Operator) -> str:
    """Whether the blocks are the first part of the channels' number, DCR, or the last, CRD."""
    mode = str(operator.attribute("mode", "DCR"))
    operator.require(mode in ("DCR", "CRD"), f"mode {mode}", "Use DCR or CRD.")
    return mode


def _blocks(operator: Operator) -> tuple[Coded, int, Shape]:
    value, size = tensor_of(operator), int(operator.attribute("blocksize"))
    operator.damaged(len(value.shape) != 4 or size < 1, f"blocks of {size} in {list(value.shape)}")
    return value, size, value.shape


def _rearranged(operator: Operator, value: Coded, apart: Shape, order: Sequence[int], shape: Shape) -> Coded:
    """The dimensions split, permuted, and merged again."""
    build = operator.builder
    made: Placed = build.viewed(build.permuted(build.viewed(value.placed, apart), order), shape)
    return replace(value, tensor=build.tensors[made.tensor], layout=made.layout)
