"""AVERAGE_POOL_2D and MAX_POOL_2D against LiteRT's reference kernels."""

from __future__ import annotations

from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding
from hypothesis import strategies as st

from tests.support.cases import ACTIVATIONS, differential, generator, scale_of, zero_point
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

_VERSIONS = {"int8": 2, "int16": 3, "float32": 1}


@st.composite
def case(draw: st.DrawFn, name: str, dtype: str) -> ModelSpec:
    rng = draw(generator())
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    size = tuple(k + draw(st.integers(0, 5)) for k in kernel)
    same = draw(st.booleans())
    out = tuple(-(-n // s) if same else (n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True))
    batch, channels = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 7))
    scale, zero = scale_of(rng, dtype), draw(zero_point(dtype))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec((batch, *size, channels), dtype, scale, zero)],
        [TensorSpec((batch, *out, channels), dtype, scale, zero)],
        **options(
            "Pool2DOptions", padding=Padding.SAME if same else Padding.VALID, strideH=stride[0], strideW=stride[1],
            filterHeight=kernel[0], filterWidth=kernel[1],
            fusedActivationFunction=draw(st.sampled_from(ACTIVATIONS)),
        ),
        label=f"{name} {dtype}",
        version=_VERSIONS[dtype],
    )  # fmt: skip


test_average_int8 = differential(case("AVERAGE_POOL_2D", "int8"))
test_average_int16 = differential(case("AVERAGE_POOL_2D", "int16"), examples=6)
test_average_float32 = differential(case("AVERAGE_POOL_2D", "float32"), examples=5)
test_max_int8 = differential(case("MAX_POOL_2D", "int8"))
test_max_int16 = differential(case("MAX_POOL_2D", "int16"), examples=6)
test_max_float32 = differential(case("MAX_POOL_2D", "float32"), examples=5)
