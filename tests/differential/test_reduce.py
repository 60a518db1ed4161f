"""MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
from hypothesis import strategies as st

from tests.support.cases import differential, generator, log_uniform, scale_of, zero_point
from tests.support.tflite_builder import ModelSpec, TensorSpec, options


@st.composite
def reduce_case(draw: st.DrawFn, name: str, dtype: str) -> ModelSpec:
    rng = draw(generator())
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    axes = draw(st.sampled_from([a for a in ((1, 2), (0,), (1,), (-1,), (1, 0), (2, 3), (1, 2, 3))
                                 if all(-len(shape) <= i < len(shape) for i in a)]))  # fmt: skip
    keep = draw(st.booleans())
    gone = {a % len(shape) for a in axes}
    out = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
    scale, zero = scale_of(rng, dtype), draw(zero_point(dtype))
    y_scale, y_zero = scale, zero
    if name == "MEAN" and scale is not None:
        y_scale, y_zero = float(np.float32(scale * log_uniform(rng, 0.2, 3))), draw(zero_point(dtype))
    indices = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype, scale, zero), indices],
        [TensorSpec(out, dtype, y_scale, y_zero)],
        **options("ReducerOptions", keepDims=keep),
        label=f"{name} {dtype}",
        version=2 if dtype == "int8" else 1,
    )


@st.composite
def arg_case(draw: st.DrawFn, name: str, dtype: str) -> ModelSpec:
    rng = draw(generator())
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    out = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    kind = draw(st.sampled_from(["int32", "int64"]))
    table = {"ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions"}[name]
    chosen = options(table, outputType=getattr(TensorType, kind.upper()))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype, scale_of(rng, dtype), draw(zero_point(dtype))),
         TensorSpec((1,), "int32", data=np.array([axis], np.int32))],
        [TensorSpec(out, kind)],
        **chosen,
        label=f"{name} {dtype}",
        version=2 if dtype == "int8" else 1,
    )  # fmt: skip


test_mean_int8 = differential(reduce_case("MEAN", "int8"))
test_mean_float32 = differential(reduce_case("MEAN", "float32"), examples=4)
test_reduce_max_int8 = differential(reduce_case("REDUCE_MAX", "int8"), examples=6)
test_reduce_max_float32 = differential(reduce_case("REDUCE_MAX", "float32"), examples=4)
test_reduce_min_int8 = differential(reduce_case("REDUCE_MIN", "int8"), examples=4)
test_arg_max_int8 = differential(arg_case("ARG_MAX", "int8"), examples=6)
test_arg_max_float32 = differential(arg_case("ARG_MAX", "float32"), examples=4)
test_arg_min_int8 = differential(arg_case("ARG_MIN", "int8"), examples=4)
