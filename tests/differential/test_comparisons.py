"""GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, EQUAL and NOT_EQUAL against LiteRT's reference kernels; IFs that depend on
them."""

from __future__ import annotations

from functools import partial

from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import Draw, differential, scale_of
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

_TABLES = {
    "GREATER": "GreaterOptions",
    "GREATER_EQUAL": "GreaterEqualOptions",
    "LESS": "LessOptions",
    "LESS_EQUAL": "LessEqualOptions",
    "EQUAL": "EqualOptions",
    "NOT_EQUAL": "NotEqualOptions",
}


def case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    """Scales from 2^-10 on: there unequal codes count as equal."""
    rng, shape = draw.rng, draw.sizes(7, 1, 4)
    scales = [scale_of(rng, dtype, 2.0**-10, 0.99) for _ in range(2)]
    zeros = [draw.zero_point(dtype) for _ in range(2)]
    if draw.yes():
        scales[1], zeros[1] = scales[0], zeros[0]
    single = draw.yes()
    shapes = [shape, (1,) * len(shape) if single else shape]
    specs = [TensorSpec(s, dtype, scale, zero) for s, scale, zero in zip(shapes, scales, zeros, strict=True)]
    if draw.yes():
        codes = rng.integers(-128, 128, shapes[1]) if dtype == "int8" else rng.normal(size=shapes[1]) * 3
        specs[1] = TensorSpec(shapes[1], dtype, scales[1], zeros[1], data=codes.astype(dtype))
    if draw.yes():
        specs.reverse()
    return ModelSpec(
        getattr(BuiltinOperator, name),
        specs,
        [TensorSpec(shape, "bool")],
        **options(_TABLES[name]),
        label=f"{name} {dtype}",
        version=2 if dtype == "int8" else 1,
    )


CASES = {
    f"{name} {dtype}": (partial(case, name=name, dtype=dtype), count)
    for name in _TABLES
    for dtype, count in (("int8", 40), ("float32", 24))
}
test_models, test_many, test_on_the_core = differential(CASES)
