"""ADD, SUB, MUL, MAXIMUM, MINIMUM against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator
from hypothesis import strategies as st

from tests.support.cases import ACTIVATIONS, differential, generator, log_uniform, scale_of, zero_point
from tests.support.differential import random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

_VERSIONS = {"ADD": {"int16": 4, "int8": 2}, "SUB": {"int16": 5, "int8": 2}, "MUL": {"int8": 2, "int16": 4}}


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast, up to rank 4."""
    full = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    other = tuple(1 if draw(st.booleans()) else size for size in full)
    mode = draw(st.sampled_from(["same", "same", "broadcast", "swapped", "scalar"]))
    if mode == "same":
        return full, full
    if mode == "scalar":
        return full, (1,)
    return (full, other) if mode == "broadcast" else (other, full)


@st.composite
def case(draw: st.DrawFn, name: str, dtype: str) -> ModelSpec:
    rng = draw(generator())
    a_shape, b_shape = draw(shapes())
    extremum = name in ("MAXIMUM", "MINIMUM")
    a_scale, b_scale = scale_of(rng, dtype), scale_of(rng, dtype)
    zeros = [draw(zero_point(dtype)) for _ in range(3)]
    if extremum:
        b_scale, y_scale, zeros = a_scale, a_scale, [zeros[0]] * 3
    elif a_scale is None or b_scale is None:
        y_scale = None
    elif name == "MUL":
        y_scale = float(a_scale * b_scale * (64 if dtype == "int8" else 16384) * log_uniform(rng, 0.02, 4))
    else:
        y_scale = float(max(a_scale, b_scale) * log_uniform(rng, 0.05, 4))
    a, b = TensorSpec(a_shape, dtype, a_scale, zeros[0]), TensorSpec(b_shape, dtype, b_scale, zeros[1])
    where = draw(st.sampled_from(["none", "none", "first", "second", "twin"]))
    if where == "second":
        b = TensorSpec(b_shape, dtype, b_scale, zeros[1], data=random_codes(b, rng))
    if where == "first":
        a = TensorSpec(a_shape, dtype, a_scale, zeros[0], data=random_codes(a, rng))
    if where == "twin" and a_shape == b_shape:
        b = a
    y = TensorSpec(np.broadcast_shapes(a.shape, b.shape), dtype, y_scale, zeros[2])
    chosen = {}
    if extremum:
        chosen = options("MaximumMinimumOptions")
    else:
        values = {"fusedActivationFunction": draw(st.sampled_from(ACTIVATIONS))}
        if dtype == "int16" and name != "MUL":
            values["potScaleInt16"] = False
        chosen = options(f"{name.title()}Options", **values)
    version = _VERSIONS.get(name, {"int8": 2}).get(dtype, 1)
    return ModelSpec(
        getattr(BuiltinOperator, name), [a, b], [y], **chosen, label=f"{name} {dtype}", version=version
    )


test_add_int8 = differential(case("ADD", "int8"))
test_add_int16 = differential(case("ADD", "int16"), examples=8)
test_add_float32 = differential(case("ADD", "float32"), examples=5)
test_sub_int8 = differential(case("SUB", "int8"))
test_sub_float32 = differential(case("SUB", "float32"), examples=5)
test_mul_int8 = differential(case("MUL", "int8"))
test_mul_float32 = differential(case("MUL", "float32"), examples=5)
test_maximum_int8 = differential(case("MAXIMUM", "int8"), examples=5)
test_maximum_float32 = differential(case("MAXIMUM", "float32"), examples=5)
test_minimum_int8 = differential(case("MINIMUM", "int8"), examples=5)
test_minimum_float32 = differential(case("MINIMUM", "float32"), examples=5)
