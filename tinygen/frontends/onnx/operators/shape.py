"""Operators that move or rename data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.registry import Operator, converts
from tinygen.frontends.onnx.sources.elementwise import ConcatSource
from tinygen.frontends.onnx.values import Coded, Constant, ConstantCodes, GraphInput, Pending, Value, from_order
from tinygen.ir.encodings import Affine, Levels
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.pad import Pad
from tinygen.ir.tensor import Shape, Tensor


@converts("Identity", "Dropout")
def same(operator: Operator) -> Value:
    operator.require(not operator.attribute("training_mode", 0), "it is in training mode", "Export with model.eval().")
    return operator.value(0)


@converts("Transpose")
def transpose(operator: Operator) -> Value:
    value = operator.value(0)
    rank = len(value.shape)
    order = tuple(operator.axis(v, rank) for v in operator.integers_of("perm", range(rank)[::-1]))
    operator.damaged(sorted(order) != list(range(rank)), f"{list(order)} does not permute {rank} dimensions")
    if isinstance(value, Constant):
        codes: ConstantCodes | None = value.codes.transposed(order) if value.codes else None
        return Constant(value.array.transpose(order), codes)
    return replace(value, layout=value.layout.permuted(order))


def _reshaped(operator: Operator, shape: Shape) -> Value:
    value = operator.value(0)
    operator.damaged(
        math.prod(shape) != math.prod(value.shape), f"{list(value.shape)} cannot be reshaped to {list(shape)}"
    )
    if isinstance(value, Constant):
        operator.require(value.codes is None, "it reshapes quantized constants", "Fold constants on export.")
        return Constant(value.array.reshape(shape))
    layout = value.layout.viewed(shape)
    if layout is not None:
        return replace(value, layout=layout)
    operator.require(isinstance(value, Coded), f"{list(value.shape)}, transposed, is reshaped to {list(shape)}")
    assert isinstance(value, Coded)
    return replace(value, tensor=operator.builder.in_order(value), layout=Layout.dense(shape))


@converts("Reshape")
def reshape(operator: Operator) -> Value:
    wanted = [int(v) for v in operator.array(1, "shape").reshape(-1)]
    known = operator.value(0).shape
    operator.damaged(wanted.count(-1) > 1 or min(wanted, default=0) < -1, f"shape {wanted}")
    if not operator.attribute("allowzero", 0):
        operator.damaged(any(v == 0 and i >= len(known) for i, v in enumerate(wanted)), f"shape {wanted}")
        wanted = [known[i] if v == 0 else v for i, v in enumerate(wanted)]
    rest = math.prod(v for v in wanted if v != -1)
    operator.damaged(-1 in wanted and (rest == 0 or math.prod(known) % rest != 0), f"shape {wanted} of {list(known)}")
    return _reshaped(operator, tuple(math.prod(known) // rest if v == -1 else v for v in wanted))


@converts("Flatten")
def flatten(operator: Operator) -> Value:
    shape = operator.value(0).shape
    axis = int(operator.attribute("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    operator.damaged(not 0 <= axis <= len(shape), f"axis {axis} of {len(shape)} dimensions")
    return _reshaped(operator, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes(operator: Operator, rank: int) -> list[int]:
    given = operator.array(1, "axes").reshape(-1).tolist() if operator.has(1) else operator.integers_of("axes", ())
    return [operator.axis(int(axis), rank) for axis in given]


@converts("Squeeze")
def squeeze(operator: Operator) -> Value:
    shape = operator.value(0).shape
    axes = _axes(operator, len(shape)) or [i for i, size in enumerate(shape) if size == 1]
    operator.damaged(any(shape[axis] != 1 for axis in axes), f"axes {axes} of {list(shape)} are not all 1")
    return _reshaped(operator, tuple(size for i, size in enumerate(shape) if i not in axes))


@converts("Unsqueeze")
def unsqueeze(operator: Operator) -> Value:
    shape = list(operator.value(0).shape)
    count = operator.array(1, "axes").size if operator.has(1) else len(operator.integers_of("axes", ()))
    for axis in sorted(_axes(operator, len(shape) + count)):
        shape.insert(axis, 1)
    return _reshaped(operator, tuple(shape))


@converts("Cast")
def cast(operator: Operator) -> Value:
    value = operator.value(0)
    floats = isinstance(value, Pending) or (isinstance(value, Coded) and not value.raw)
    operator.require(floats or isinstance(value, GraphInput), "it casts integers without a scale")
    operator.require(
        int(operator.attribute("to")) in (1, 10, 11, 16), "it casts floats to integers", "Use a quantizer."
    )
    return value


@converts("Concat")
def concat(operator: Operator) -> Value:
    values = []
    for index, value in enumerate(operator.inputs):
        if not isinstance(value, Coded):
            raise operator.unquantized(index)
        values.append(value)
    operator.damaged(not values, "it has no inputs")
    ranks = {len(value.shape) for value in values}
    operator.damaged(len(ranks) != 1, f"its inputs have {sorted(ranks)} dimensions")
    axis = operator.axis(int(operator.attribute("axis")), ranks.pop())
    _, order = operator.builder.as_plain(values[0])
    tensors = [operator.builder.in_dims(value, order) for value in values]
    position = order.index(axis)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    joined = Layout.dense(shape, order)
    if len({tensor.encoding for tensor in tensors}) == 1:
        tensor = operator.builder.emit(Concatenation, tensors, tensors[0].encoding, axis=position)
        return replace(values[0], tensor=tensor, layout=joined)
    operator.require(not any(value.raw for value in values), "it joins codes of different scales")
    source = ConcatSource(operator.builder, tensors, position, shape[order[-1]])
    return Pending(source, Chain.start(source.channels), joined)


def _moved(operator: Operator) -> tuple[Coded, tuple[int, ...]]:
    """(input of an operator that moves elements, order of its tensor's dimensions)."""
    value = operator.value(0)
    if not isinstance(value, Coded):
        raise operator.unquantized(0)
    tensor, order = operator.builder.as_plain(value)
    return replace(value, tensor=tensor, layout=Layout.dense(value.shape, order)), order


def _made(value: Coded, tensor: Tensor, order: Sequence[int]) -> Coded:
    """A value of the same codes, moved into another tensor."""
    return replace(value, tensor=tensor, layout=from_order(tensor, order).layout)


@converts("Pad")
def pad(operator: Operator) -> Value:
    mode = operator.attribute("mode", "constant")
    operator.require(mode == "constant", f"mode '{mode}' is not supported", "Pad with a constant.")
    value, order = _moved(operator)
    rank = len(value.shape)
    pads = operator.array(1, "pads").reshape(-1).tolist() if operator.has(1) else operator.integers_of("pads", ())
    axes = range(rank)
    if operator.has(3):
        axes = [operator.axis(int(v), rank) for v in operator.array(3, "axes").reshape(-1)]  # type: ignore[assignment]
    operator.damaged(len(pads) != 2 * len(axes), f"{len(pads)} pads for {len(axes)} dimensions")
    operator.require(min(pads, default=0) >= 0, f"negative pads {pads}")
    amounts = {axis: (int(pads[i]), int(pads[i + len(axes)])) for i, axis in enumerate(axes)}
    fill = operator.scalar(2, "value") if operator.has(2) else float(operator.attributes.get("value", 0.0))
    paddings = tuple(amounts.get(axis, (0, 0)) for axis in order)
    code = _fill_code(operator, value, fill)
    tensor = operator.builder.emit(Pad, [value.tensor], value.tensor.encoding, paddings=paddings, value=code)
    return _made(value, tensor, order)


def _fill_code(operator: Operator, value: Coded, fill: float) -> int:
    """The tensor's code for a real value, or for ONNX's code."""
    encoding = value.tensor.encoding
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


@converts("Slice")
def slice_(operator: Operator) -> Value:
    value, order = _moved(operator)
    shape = value.shape
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
        operator.require(len(walks[where]) > 0, "an empty result")
    turned = [walks[axis] for axis in order]
    tensor = operator.builder.emit(
        StridedSlice,
        [value.tensor],
        value.tensor.encoding,
        begin=tuple(walk.start for walk in turned),
        step=tuple(walk.step for walk in turned),
        count=tuple(len(walk) for walk in turned),
        axes=tuple(range(len(turned))),
    )
    return _made(value, tensor, order)


@converts("Split")
def split(operator: Operator) -> Value | list[Value]:
    value, order = _moved(operator)
    axis = operator.axis(int(operator.attribute("axis", 0)), len(value.shape))
    parts, total = len(operator.output_names), value.shape[axis]
    if operator.has(1):
        sizes = [int(v) for v in operator.array(1, "sizes").reshape(-1)]
    else:
        step = -(-total // parts)
        sizes = list(operator.integers_of("split", [min(step, total - i * step) for i in range(parts)]))
    operator.damaged(sum(sizes) != total or min(sizes) < 1 or len(sizes) != parts, f"parts {sizes} of {total}")
    position = order.index(axis)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    results: list[Value] = []
    for start, size in zip(starts, sizes, strict=True):
        shape = value.tensor.shape
        begin = tuple(start if i == position else 0 for i in range(len(shape)))
        count = tuple(size if i == position else n for i, n in enumerate(shape))
        tensor = operator.builder.emit(
            StridedSlice,
            [value.tensor],
            value.tensor.encoding,
            begin=begin,
            step=(1,) * len(shape),
            count=count,
            axes=tuple(range(len(shape))),
        )
        results.append(_made(value, tensor, order))
    return results
