"""Images and signals of another size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import computes, converts
from tinygen.frontends.onnx.values import Coded, Value, from_image
from tinygen.ir.ops.resize import Resize, ResizeBilinear, ResizeNearestNeighbor

_RULES = [(False, False), (False, True), (True, False)]
"""(align_corners, half_pixel_centers) of TFLite's operators."""
_HALF = Fraction(1, 2)
_NEAR = Fraction(1, 1000)
"""A size that differs less from a product with a factor is that product."""


@converts("Resize", "Upsample")
def resize(operator: Operator) -> Value:
    """Copies of the nearest elements, or means of the nearest, where a rule of TFLite's operators takes the same."""
    value, scales, sizes = _operands(operator)
    if sizes == value.shape:
        return value
    found = _by_rule(operator, value, scales, sizes)
    if found is None and operator.attribute("mode", "nearest") == "nearest":
        found = _copied(operator, value, scales, sizes)
    if found is None:
        raise UnsupportedError(
            f"no rule of TFLite gives its pixels, {list(value.shape)} to {list(sizes)}",
            where=operator.describe(),
            fix='Use mode="linear", whole factors, and coordinate_transformation_mode="half_pixel".',
        )
    return found


@computes("Resize", "Upsample")
def resize_floats(operator: Operator) -> Value:
    """What no rule gives is a product with a matrix along each dimension."""
    operator.real(0)
    value, scales, sizes = _operands(operator)
    found = value if sizes == value.shape else _by_rule(operator, value, scales, sizes)
    if found is None and operator.attribute("mode", "nearest") == "nearest":
        found = _copied(operator, value, scales, sizes)
    if found is not None:
        return found
    for axis in range(len(sizes)):
        if sizes[axis] != value.shape[axis]:
            value = _product(operator, value, axis, scales[axis], sizes[axis])
    return value


def _operands(operator: Operator) -> tuple[Coded, list[Fraction], tuple[int, ...]]:
    """(input, factor and size of each dimension of the output)."""
    mode = str(operator.attribute("mode", "nearest"))
    operator.require(mode in ("nearest", "linear", "cubic"), f"mode {mode}", "Use nearest, linear or cubic.")
    crops = operator.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    operator.require(not crops, "coordinate_transformation_mode tf_crop_and_resize", "Cut with Slice, then resize.")
    value = operator.value(0)
    if not isinstance(value, Coded):
        raise operator.unquantized(0)
    return value, *_factors(operator, value.shape)


def _by_rule(operator: Operator, value: Coded, scales: Sequence[Fraction], sizes: tuple[int, ...]) -> Coded | None:
    """The image by a rule of TFLite's operators; None if none of these takes the same elements."""
    rank, mode = len(value.shape), operator.attribute("mode", "nearest")
    if rank not in (3, 4) or sizes[:2] != value.shape[:2] or mode == "cubic" or operator.attribute("antialias", 0):
        return None
    try:
        places = [_places(operator, value.shape[i], sizes[i], scales[i]) for i in range(2, rank)]
    except UnsupportedError:
        return None
    size = (1, *sizes[2:])[-2:]
    kind: type[Resize] = ResizeNearestNeighbor if mode == "nearest" else ResizeBilinear
    for aligned, halves in _RULES:
        rule: dict[str, Any] = {"size": (size[0], size[1]), "align_corners": aligned, "half_pixel_centers": halves}
        plain = kind(name="", inputs=(), outputs=(), **rule)
        if all(_same(operator, plain, value.shape[i], places[i - 2]) for i in range(2, rank)):
            x = operator.builder.as_image(value)
            resized = operator.builder.emit(kind, [x], x.encoding, **rule)
            return replace(value, tensor=resized, layout=from_image(resized, rank).layout)
    return None


def _copied(operator: Operator, value: Coded, scales: Sequence[Fraction], sizes: tuple[int, ...]) -> Coded:
    """The nearest elements, dimension by dimension."""
    for axis, size in enumerate(sizes):
        if size != value.shape[axis]:
            places = _places(operator, value.shape[axis], size, scales[axis])
            taken = _nearest(operator, value.shape[axis], places)
            found = call(operator, "index_select", self=value, dim=axis, index=taken)
            value = replace(value, tensor=found.tensor, layout=found.layout)
    return value


def _product(operator: Operator, value: Coded, axis: int, scale: Fraction, size: int) -> Coded:
    """The image with one dimension resized, by a matrix: what ONNX's reference makes of the identity."""
    length, order = value.shape[axis], [i for i in range(len(value.shape)) if i != axis]
    kept = {name: v for name, v in operator.attributes.items() if name not in ("axes", "keep_aspect_ratio_policy")}
    alone = replace(operator, attributes=kept, input_names=("x", "", "scales", "sizes"))
    arrays: dict[int, np.ndarray] = {0: np.eye(length, dtype=np.float32)}
    if abs(scale * length - size) < _NEAR:
        arrays[3] = np.array([length, size])
    else:
        arrays[2] = np.array([1.0, float(scale)], np.float32)
    matrix = alone.evaluate(arrays)
    operator.require(matrix.shape == (length, size), "rounded sizes", "Give the sizes, and no policy.")
    turned = call(operator, "permute", self=value, dims=[*order, axis])
    found = call(operator, "matmul", self=turned, other=matrix)
    return call(operator, "permute", self=found, dims=np.argsort([*order, axis]).tolist())


def _factors(operator: Operator, shape: tuple[int, ...]) -> tuple[list[Fraction], tuple[int, ...]]:
    """(factor, size of the output) of each dimension. A factor that is given counts, not the one of the sizes."""
    rank = len(shape)
    axes = [operator.axis(axis, rank) for axis in operator.integers_of("axes", range(rank))]
    if operator.kind == "Resize" and operator.has(3):
        given = [int(size) for size in operator.array(3, "sizes").reshape(-1)]
        operator.damaged(len(given) != len(axes) or min(given) < 1, f"sizes {given}")
        scales = [Fraction(1)] * rank
        for axis, size in zip(axes, given, strict=True):
            scales[axis] = Fraction(size, shape[axis])
        kept = operator.attribute("keep_aspect_ratio_policy", "stretch")
        if kept != "stretch":
            one = (min if kept == "not_larger" else max)(scales[axis] for axis in axes)
            scales = [one if axis in axes else Fraction(1) for axis in range(rank)]
        return scales, tuple(math.floor(scale * size + _HALF) for scale, size in zip(scales, shape, strict=True))
    found = _scales(operator)
    operator.damaged(found.size != len(axes) or not np.all((found > 0) & (found < 1 << 15)), f"scales {found.tolist()}")
    scales = [Fraction(1)] * rank
    for axis, scale in zip(axes, found, strict=True):
        scales[axis] = Fraction(float(scale))
    # As ONNX Runtime has it, in float32: 5 times 1.8 is 9 then.
    sizes = [int(np.float32(scale) * np.float32(size)) for scale, size in zip(scales, shape, strict=True)]
    operator.damaged(min(sizes) < 1, f"scales {found.tolist()} of {list(shape)}")
    return scales, tuple(sizes)


def _scales(operator: Operator) -> np.ndarray:
    """Of Resize the third input, in opset 10 the second; of Upsample the second, before opset 9 an attribute."""
    if "scales" in operator.attributes:
        return np.array(operator.attribute("scales"), np.float64)
    index = 2 if operator.kind == "Resize" and operator.opset > 10 else 1
    return operator.array(index, "scales").reshape(-1).astype(np.float64)


def _places(operator: Operator, source: int, target: int, scale: Fraction) -> list[Fraction]:
    """The place in the input of every output index of one axis, by ONNX's definition of Resize."""
    old = operator.kind == "Upsample" or operator.opset <= 10
    where = "asymmetric" if old else operator.attribute("coordinate_transformation_mode", "half_pixel")
    places: dict[str, Callable[[Fraction], Fraction]] = {
        "asymmetric": lambda i: i / scale,
        "half_pixel": lambda i: (i + _HALF) / scale - _HALF,
        "pytorch_half_pixel": lambda i: (i + _HALF) / scale - _HALF if target > 1 else Fraction(0),
        "align_corners": lambda i: Fraction(i * (source - 1), max(target - 1, 1)),
    }
    whole = where != "align_corners" or (scale * source).denominator == 1
    operator.require(whole, f"corners aligned with {float(scale * source)} elements", "Give sizes, not factors.")
    operator.require(where in places, f"coordinate_transformation_mode {where}", f"Use one of {', '.join(places)}.")
    return [places[where](Fraction(i)) for i in range(target)]


def _same(operator: Operator, rule: Resize, source: int, places: Sequence[Fraction]) -> bool:
    """Whether a rule reads the same elements of an axis, with the same weights."""
    target = len(places)
    if isinstance(rule, ResizeNearestNeighbor):
        return np.array_equal(rule.indices(source, target), _nearest(operator, source, places))
    scale = Fraction(source - 1, target - 1) if rule.align_corners and target > 1 else Fraction(source, target)
    half = _HALF if rule.half_pixel_centers else 0
    own = [(i + half) * scale - half for i in range(target)]
    last = source - 1
    return all(min(max(a, 0), last) == min(max(b, 0), last) for a, b in zip(own, places, strict=True))


def _nearest(operator: Operator, source: int, places: Sequence[Fraction]) -> np.ndarray:
    old = operator.kind == "Upsample" or operator.opset <= 10
    rounding = "floor" if old else operator.attribute("nearest_mode", "round_prefer_floor")
    rounds: dict[str, Callable[[Fraction], int]] = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda place: math.ceil(place - _HALF),
        "round_prefer_ceil": lambda place: math.floor(place + _HALF),
    }
    operator.require(rounding in rounds, f"nearest_mode {rounding}", f"Use one of {', '.join(rounds)}.")
    return np.clip(np.array([rounds[rounding](place) for place in places], np.int64), 0, source - 1)
