"""ADD, SUB, MUL, MAXIMUM, MINIMUM against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator
from hypothesis import strategies as st

from tests.support.cases import ACTIVATIONS, differential, generator, log_uniform, scale_of, zero_point
from tests.support.differential import compare_models, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options

_VERSIONS = {"ADD": {"int16": 4, "int8": 2}, "SUB": {"int16": 5, "int8": 2}, "MUL": {"int8": 2, "int16": 4}}


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast, up to the rank that LiteRT broadcasts."""
    full = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=6)))
    other = tuple(1 if draw(st.booleans()) else size for size in full)
    mode = draw(st.sampled_from(["same", "same", "broadcast", "swapped", "scalar"]))
    if mode == "same":
        return full, full
    if mode == "scalar":
        return full, (1,)
    # The shorter one may leave out what it has only one of, in front.
    while len(other) > 1 and other[0] == 1 and draw(st.booleans()):
        other = other[1:]
    return (full, other) if mode == "broadcast" else (other, full)


@st.composite
def scales(draw: st.DrawFn, name: str, dtype: str) -> tuple[float | None, float | None, float | None]:
    """Scales of the operands and of the output: mostly alike, at times many magnitudes apart."""
    rng = draw(generator())
    spread = (1e-3, 1.0) if draw(st.booleans()) else (1e-7, 1e4)
    a, b = scale_of(rng, dtype, *spread), scale_of(rng, dtype, *spread)
    if a is None or b is None:
        return None, None, None
    if name in ("MAXIMUM", "MINIMUM"):
        return a, a, a
    if name == "MUL":
        # Multipliers up to 16. LiteRT wants the codes of a fused activation's bounds to fit 32 bits.
        return a, b, max(1e-8, float(a * b * (64 if dtype == "int8" else 16384) * log_uniform(rng, 1e-3, 4)))
    return a, b, float(max(a, b) * log_uniform(rng, 0.05, 4))


@st.composite
def case(draw: st.DrawFn, name: str, dtype: str) -> ModelSpec:
    rng = draw(generator())
    a_shape, b_shape = draw(shapes())
    extremum = name in ("MAXIMUM", "MINIMUM")
    a_scale, b_scale, y_scale = draw(scales(name, dtype))
    zeros = [draw(zero_point(dtype)) for _ in range(3)]
    if extremum:
        zeros = [zeros[0]] * 3
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
            # The flag has a meaning only where all scales are powers of two.
            values["potScaleInt16"] = draw(st.booleans())
        chosen = options(f"{name.title()}Options", **values)
    version = _VERSIONS.get(name, {"int8": 2}).get(dtype, 1)
    return ModelSpec(
        getattr(BuiltinOperator, name), [a, b], [y], **chosen, label=f"{name} {dtype}", version=version
    )


@st.composite
def power_of_two(draw: st.DrawFn, name: str) -> ModelSpec:
    """Scales that are powers of two: one operand is shifted, the other matches the output."""
    shape, shifts = draw(shapes())[0], [0, draw(st.integers(0, 15))]
    if draw(st.booleans()):
        shifts.reverse()
    scale = 2.0 ** draw(st.integers(-15, 3))
    a, b = (TensorSpec(shape, "int16", scale * 2.0**-shift) for shift in shifts)
    chosen = options(
        f"{name.title()}Options", fusedActivationFunction=draw(st.sampled_from(ACTIVATIONS)), potScaleInt16=True
    )
    return ModelSpec(
        getattr(BuiltinOperator, name), [a, b], [TensorSpec(shape, "int16", scale)], **chosen,
        label=f"{name} int16", version=_VERSIONS[name]["int16"],
    )  # fmt: skip


test_add_int8 = differential(case("ADD", "int8"))
test_add_int16 = differential(case("ADD", "int16"), examples=8)
test_add_float32 = differential(case("ADD", "float32"), examples=5)
test_sub_int8 = differential(case("SUB", "int8"))
test_sub_int16 = differential(case("SUB", "int16"), examples=5)
test_power_of_two = differential(st.one_of(power_of_two("ADD"), power_of_two("SUB")), examples=4)
test_sub_float32 = differential(case("SUB", "float32"), examples=5)
test_mul_int8 = differential(case("MUL", "int8"))
test_mul_int16 = differential(case("MUL", "int16"), examples=5)
test_mul_float32 = differential(case("MUL", "float32"), examples=5)
test_maximum_int8 = differential(case("MAXIMUM", "int8"), examples=5)
test_extrema_int16 = differential(st.one_of(case("MAXIMUM", "int16"), case("MINIMUM", "int16")), examples=4)
test_extrema_int32 = differential(st.one_of(case("MAXIMUM", "int32"), case("MINIMUM", "int32")), examples=3)
test_maximum_float32 = differential(case("MAXIMUM", "float32"), examples=5)
test_minimum_int8 = differential(case("MINIMUM", "int8"), examples=5)
test_minimum_float32 = differential(case("MINIMUM", "float32"), examples=5)


def test_operands_that_share_a_buffer() -> None:
    """A tensor and its own reshaped self lie at one address, and the result may lie there too."""
    x = TensorSpec((2, 3), "int8", 0.1, 3)
    doubled, flat, view = (TensorSpec(shape, "int8", 0.2, -7) for shape in ((2, 3), (6,), (1, 6)))
    wide, tall = TensorSpec((1, 6), "int8", 0.1, 5), TensorSpec((6, 6), "int8", 0.3, 1)
    shapes_of = [TensorSpec((len(s.shape),), "int32", data=np.array(s.shape, np.int32)) for s in (flat, view)]
    add, mul = options("AddOptions"), options("MulOptions")
    model = build_chain([
        ModelSpec(BuiltinOperator.ADD, [x, x], [doubled], **add, version=2),
        ModelSpec(BuiltinOperator.RESHAPE, [doubled, shapes_of[0]], [flat], **options("ReshapeOptions")),
        ModelSpec(BuiltinOperator.RESHAPE, [flat, shapes_of[1]], [view], **options("ReshapeOptions")),
        ModelSpec(BuiltinOperator.ADD, [flat, view], [wide], **add, version=2),
        ModelSpec(BuiltinOperator.MUL, [wide, TensorSpec((6, 1), "int8", 0.1, 0, data=np.ones((6, 1), np.int8))],
                  [tall], **mul, version=2),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    compare_models([model], [[[random_codes(x, rng)] for _ in range(3)]], ["ADD, MUL in place"])
