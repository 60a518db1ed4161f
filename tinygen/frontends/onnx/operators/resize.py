"""Images of another size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.onnx.registry import Operator, converts
from tinygen.frontends.onnx.values import Value, from_image
from tinygen.ir.ops.resize import ResizeNearestNeighbor

_RULES = [(False, False), (False, True), (True, False)]
"""(align_corners, half_pixel_centers) of TFLite's operator."""


@converts("Resize")
def resize(operator: Operator) -> Value:
    """Copies of the nearest pixels, where a rule of TFLite's operator copies the same ones."""
    mode = operator.attribute("mode", "nearest")
    operator.require(mode == "nearest", f"mode {mode}", 'Use mode="nearest".')
    value = operator.coded(0)
    x = operator.builder.as_image(value)
    scales, sizes = _factors(operator, value.shape)
    operator.require(sizes[:2] == value.shape[:2], f"sizes {list(sizes)} of {list(value.shape)}", "Resize images only.")
    wanted = [_nearest(operator, value.shape[i], sizes[i], scales[i]) for i in (2, 3)]
    for aligned, halves in _RULES:
        plain = ResizeNearestNeighbor(
            name="", inputs=(), outputs=(), size=(sizes[2], sizes[3]), align_corners=aligned, half_pixel_centers=halves
        )
        if all(np.array_equal(plain.indices(value.shape[i], sizes[i]), wanted[i - 2]) for i in (2, 3)):
            shared = {"size": plain.size, "align_corners": aligned, "half_pixel_centers": halves}
            resized = operator.builder.emit(ResizeNearestNeighbor, [x], x.encoding, **shared)
            return replace(value, tensor=resized, layout=from_image(resized).layout)
    raise UnsupportedError(
        f"no rule of TFLite gives its pixels, {list(value.shape[2:])} to {list(sizes[2:])}",
        where=operator.describe(),
        fix="Use whole factors, or coordinate_transformation_mode=asymmetric with nearest_mode=floor.",
    )


def _factors(operator: Operator, shape: tuple[int, ...]) -> tuple[list[Fraction], tuple[int, ...]]:
    """(factor, size of the output) of each dimension. A factor that is given counts, not the one of the sizes."""
    operator.require(len(shape) == 4, f"{len(shape)} dimensions", "Only images are resized.")
    if operator.has(3):
        sizes = tuple(int(size) for size in operator.array(3, "sizes").reshape(-1))
        operator.damaged(len(sizes) != 4 or min(sizes) < 1, f"sizes {list(sizes)}")
        kept = operator.attribute("keep_aspect_ratio_policy", "stretch")
        operator.require(kept == "stretch" and not operator.attribute("axes", ()), "sizes of some axes only")
        return [Fraction(size, given) for size, given in zip(sizes, shape, strict=True)], sizes
    given = operator.array(2, "scales").reshape(-1).astype(np.float64)
    operator.damaged(given.size != 4 or not np.all((given > 0) & (given < 1 << 15)), f"scales {given.tolist()}")
    scales = [Fraction(float(scale)) for scale in given]
    sizes = tuple(int(scale * size) for scale, size in zip(scales, shape, strict=True))
    operator.damaged(min(sizes) < 1, f"scales {given.tolist()} of {list(shape)}")
    return scales, sizes


def _nearest(operator: Operator, source: int, target: int, scale: Fraction) -> np.ndarray:
    """The input index of every output index of one axis, by ONNX's definition of Resize."""
    where = operator.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = operator.attribute("nearest_mode", "round_prefer_floor")
    half = Fraction(1, 2)
    places: dict[str, Callable[[Fraction], Fraction]] = {
        "asymmetric": lambda i: i / scale,
        "half_pixel": lambda i: (i + half) / scale - half,
        "pytorch_half_pixel": lambda i: (i + half) / scale - half if target > 1 else Fraction(0),
        "align_corners": lambda i: Fraction(i * (source - 1), max(target - 1, 1)),
    }
    rounds: dict[str, Callable[[Fraction], int]] = {
        "floor": lambda place: math.floor(place),
        "ceil": lambda place: math.ceil(place),
        "round_prefer_floor": lambda place: math.ceil(place - half),
        "round_prefer_ceil": lambda place: math.floor(place + half),
    }
    operator.require(where in places, f"coordinate_transformation_mode {where}")
    operator.require(rounding in rounds, f"nearest_mode {rounding}")
    found = [rounds[rounding](places[where](Fraction(i))) for i in range(target)]
    return np.clip(np.array(found, np.int64), 0, source - 1)
