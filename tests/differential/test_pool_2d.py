"""AVERAGE_POOL_2D and MAX_POOL_2D against LiteRT's reference kernels."""

from __future__ import annotations

from functools import partial

from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding

from tests.support.cases import ACTIVATIONS, Draw, differential, scale_of
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

_VERSIONS = {"int8": 2, "int16": 3, "float32": 1}


def case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    kernel = (draw.integer(1, 5), draw.integer(1, 5))
    stride = (draw.integer(1, 3), draw.integer(1, 3))
    size = tuple(k + draw.integer(0, 5) for k in kernel)
    same = draw.yes()
    out = tuple(-(-n // s) if same else (n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True))
    batch, channels = draw.choice([1, 1, 2]), draw.integer(1, 7)
    scale, zero = scale_of(rng, dtype), draw.zero_point(dtype)
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec((batch, *size, channels), dtype, scale, zero)],
        [TensorSpec((batch, *out, channels), dtype, scale, zero)],
        **options(
            "Pool2DOptions",
            padding=Padding.SAME if same else Padding.VALID,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
            fusedActivationFunction=draw.choice(ACTIVATIONS),
        ),
        label=f"{name} {dtype}",
        version=_VERSIONS[dtype],
    )


CASES = {
    f"{name} {dtype}": (partial(case, name=name, dtype=dtype), count)
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    for dtype, count in (("int8", 96), ("int16", 48), ("float32", 40))
}
test_models, test_many, test_on_the_core = differential(CASES)
