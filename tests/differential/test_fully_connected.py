"""FULLY_CONNECTED, BATCH_MATMUL and TRANSPOSE_CONV against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding
from hypothesis import strategies as st

from tests.support.cases import ACTIVATIONS, differential, generator, log_uniform, scale_of, zero_point
from tests.support.differential import compare, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.lowering.lower import lower


@st.composite
def dense(draw: st.DrawFn, dtype: str) -> ModelSpec:
    rng = draw(generator())
    rows, depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 20))
    keep = draw(st.booleans())
    x_shape = (1, rows, depth) if keep else (rows, depth)
    y_shape = (1, rows, outputs) if keep else (rows, outputs)
    chosen = options(
        "FullyConnectedOptions", fusedActivationFunction=draw(st.sampled_from(ACTIVATIONS)), keepNumDims=keep
    )
    biased = draw(st.booleans())
    if dtype == "float32":
        weights = rng.normal(size=(outputs, depth)).astype(np.float32)
        bias = TensorSpec((outputs,), "float32", data=rng.normal(size=outputs).astype(np.float32))
        inputs = [TensorSpec(x_shape, dtype), TensorSpec(weights.shape, dtype, data=weights)]
        y = TensorSpec(y_shape, dtype)
    else:
        wide = dtype == "int16"
        x_scale = scale_of(rng, dtype, 1e-3, 0.3) or 1.0
        w_scale = log_uniform(rng, 1e-3, 0.1, outputs if draw(st.booleans()) and not wide else 1)
        codes = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
        values = rng.integers(-20000, 20000, outputs)
        bias = TensorSpec((outputs,), "int64" if wide else "int32", w_scale * x_scale, 0, 0, values)
        inputs = [TensorSpec(x_shape, dtype, x_scale, draw(zero_point(dtype))),
                  TensorSpec(codes.shape, "int8", w_scale, 0, 0, codes)]  # fmt: skip
        spread = x_scale * float(np.mean(w_scale)) * 70 * np.sqrt(depth) * (256 if wide else 1)
        y = TensorSpec(y_shape, dtype, float(spread * log_uniform(rng, 0.02, 4)), draw(zero_point(dtype)))
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED, [*inputs, *([bias] if biased else [])], [y], **chosen,
        label=f"FULLY_CONNECTED {dtype}", version={"int8": 5, "int16": 7, "float32": 5}[dtype],
    )  # fmt: skip


@st.composite
def matmul(draw: st.DrawFn, dtype: str) -> ModelSpec:
    rng = draw(generator())
    m, k, n = (draw(st.integers(1, 9)) for _ in range(3))
    adjoint = draw(st.booleans()), draw(st.booleans())
    batch = tuple(draw(st.lists(st.integers(1, 3), min_size=0, max_size=2)))
    other = tuple(1 if draw(st.booleans()) else b for b in batch)
    a_shape = (*batch, *((k, m) if adjoint[0] else (m, k)))
    b_shape = (*other, *((n, k) if adjoint[1] else (k, n)))
    a_scale, b_scale = scale_of(rng, dtype, 1e-3, 0.3), scale_of(rng, dtype, 1e-3, 0.3)
    y_scale = None
    if a_scale is not None and b_scale is not None:
        y_scale = float(np.float32(a_scale * b_scale * 70 * np.sqrt(k) * log_uniform(rng, 0.05, 3)))
    first = TensorSpec(a_shape, dtype, a_scale, draw(zero_point(dtype)))
    second = TensorSpec(b_shape, dtype, b_scale, draw(zero_point(dtype)))
    if draw(st.booleans()):
        second = TensorSpec(b_shape, dtype, b_scale, second.zero_point, data=random_codes(second, rng))
    return ModelSpec(
        BuiltinOperator.BATCH_MATMUL, [first, second],
        [TensorSpec((*batch, m, n), dtype, y_scale, draw(zero_point(dtype)))],
        **options("BatchMatMulOptions", adjX=adjoint[0], adjY=adjoint[1]), label=f"BATCH_MATMUL {dtype}",
        version=2 if dtype == "int8" else 1,
    )  # fmt: skip


@st.composite
def transpose_conv(draw: st.DrawFn, dtype: str) -> ModelSpec:
    rng = draw(generator())
    kernel, stride = [(draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(2)]
    size, same = (draw(st.integers(1, 5)), draw(st.integers(1, 5))), draw(st.booleans())
    depth, filters = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    out = tuple(
        n * s if same else (n - 1) * s + k + draw(st.integers(0, s - 1))
        for n, k, s in zip(size, kernel, stride, strict=True)
    )
    shape = TensorSpec((4,), "int32", data=np.array([1, *out, filters], np.int32))
    w_shape = (filters, *kernel, depth)
    biased = draw(st.booleans())
    if dtype == "float32":
        weights = TensorSpec(w_shape, dtype, data=rng.normal(size=w_shape).astype(np.float32))
        x, y = TensorSpec((1, *size, depth), dtype), TensorSpec((1, *out, filters), dtype)
        bias = TensorSpec((filters,), dtype, data=rng.normal(size=filters).astype(np.float32))
    else:
        x_scale = scale_of(rng, dtype, 1e-3, 0.3) or 1.0
        w_scale = log_uniform(rng, 1e-3, 0.1, filters if draw(st.booleans()) else 1)
        codes = rng.integers(-127, 128, w_shape).astype(np.int8)
        weights = TensorSpec(w_shape, "int8", w_scale, 0, 0, codes)
        x = TensorSpec((1, *size, depth), dtype, x_scale, draw(zero_point(dtype)))
        spread = x_scale * float(np.mean(w_scale)) * 70 * np.sqrt(depth * kernel[0] * kernel[1])
        y = TensorSpec((1, *out, filters), dtype, float(spread * log_uniform(rng, 0.05, 3)), draw(zero_point(dtype)))
        values = rng.integers(-9000, 9000, filters)
        bias = TensorSpec((filters,), "int32", w_scale * x_scale, 0, 0, values)
    chosen = options(
        "TransposeConvOptions", padding=Padding.SAME if same else Padding.VALID, strideH=stride[0], strideW=stride[1],
        fusedActivationFunction=draw(st.sampled_from([ActivationFunctionType.NONE, ActivationFunctionType.RELU])),
    )  # fmt: skip
    return ModelSpec(
        BuiltinOperator.TRANSPOSE_CONV, [shape, weights, x, *([bias] if biased else [])], [y], **chosen,
        label=f"TRANSPOSE_CONV {dtype}", version=4,
    )  # fmt: skip


@st.composite
def tied(draw: st.DrawFn, dtype: str) -> ModelSpec:
    """Scales whose ratio is a small fraction: many products lie exactly between two codes."""
    numbers = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0, 7.0])
    x_scale, w_scale, y_scale = draw(numbers), draw(numbers), draw(numbers)
    rng = draw(generator())
    codes = rng.integers(-9, 10, (draw(st.integers(1, 9)), 3)).astype(np.int8)
    x = TensorSpec((3, 3), dtype, x_scale, draw(zero_point(dtype)))
    y = TensorSpec((3, len(codes)), dtype, y_scale * w_scale * 4, draw(zero_point(dtype)))
    weights = TensorSpec(codes.shape, "int8", w_scale, 0, 0, codes)
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED, [x, weights], [y], **options("FullyConnectedOptions"),
        label=f"FULLY_CONNECTED {dtype}", version={"int8": 5, "int16": 7}[dtype],
    )  # fmt: skip


@st.composite
def near_ties(draw: st.DrawFn, dtype: str) -> ModelSpec:
    """Biases that put the accumulators where the result changes, with any scale: the multiplier's last bit counts."""
    rng = draw(generator())
    outputs = draw(st.integers(1, 9))
    per_channel = draw(st.booleans())
    x_scale, y_scale = (np.float32(draw(st.integers(1, 30)) / draw(st.integers(1, 30))) for _ in range(2))
    w_scale = np.float32(rng.integers(1, 99, outputs if per_channel else 1) / 2.0 ** draw(st.integers(4, 24)))
    zero = draw(zero_point(dtype))
    info = np.iinfo(dtype)
    result = rng.integers(info.min - zero, info.max - zero + 1, outputs)
    bias = np.rint((result - 0.5) / (float(x_scale) * w_scale.astype(np.float64) / float(y_scale)))
    limit = (1 << 30) if dtype == "int8" else (1 << 36)
    inputs = [
        TensorSpec((256, 1), dtype, float(x_scale), 0),
        TensorSpec((outputs, 1), "int8", w_scale, 0, 0, rng.integers(-3, 4, (outputs, 1)).astype(np.int8)),
        TensorSpec((outputs,), "int32" if dtype == "int8" else "int64", w_scale * x_scale, 0, 0,
                   np.clip(bias, -limit, limit)),
    ]  # fmt: skip
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED, inputs, [TensorSpec((256, outputs), dtype, float(y_scale), zero)],
        **options("FullyConnectedOptions"), label=f"FULLY_CONNECTED {dtype} near ties",
        version={"int8": 5, "int16": 7}[dtype],
    )  # fmt: skip


def wide_ranging(dtype: str, w_scale: float, bias: int) -> ModelSpec:
    """Accumulators around -bias and bias, times w_scale / 3."""
    weights = np.array([[1], [-1], [3]], np.int8)
    inputs = [
        TensorSpec((256, 1), dtype, 0.1),
        TensorSpec(weights.shape, "int8", w_scale, 0, 0, weights),
        TensorSpec((3,), "int32" if dtype == "int8" else "int64", np.float32(0.1) * np.float32(w_scale), 0, 0,
                   np.array([1, -1, 1]) * bias),
    ]  # fmt: skip
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED, inputs, [TensorSpec((256, 3), dtype, 0.3)],
        **options("FullyConnectedOptions"), label=f"FULLY_CONNECTED {dtype} each way", version=7,
    )  # fmt: skip


def test_each_way_to_scale() -> None:
    """A multiplier that is exact, one that is checked, and doubles: small, wide, and huge accumulators."""
    functions = {
        "tg_requantize_once": [wide_ranging("int8", 0.1, 0), wide_ranging("int16", 0.1, 77)],
        "tg_requantize_checked": [wide_ranging("int8", 1.7e-7, 1 << 30), wide_ranging("int16", 3e-5, 1 << 29)],
        "tg_requantize_double": [wide_ranging("int16", 2e-9, 1 << 40)],
    }
    for function, specs in functions.items():
        for spec in specs:
            plan = lower(read_tflite(build(spec)), family="reference").steps[0].plan
            assert plan.context["scale_function"] == function
    compare([spec for specs in functions.values() for spec in specs])


test_dense_near_ties_int8 = differential(near_ties("int8"), examples=8)
test_dense_near_ties_int16 = differential(near_ties("int16"), examples=8)
test_dense_ties_int8 = differential(tied("int8"), examples=8)
test_dense_ties_int16 = differential(tied("int16"), examples=5)
test_dense_int8 = differential(dense("int8"))
test_dense_int16 = differential(dense("int16"), examples=8)
test_dense_float32 = differential(dense("float32"), examples=6)
test_matmul_int8 = differential(matmul("int8"), examples=10)
test_matmul_float32 = differential(matmul("float32"), examples=5)
test_transpose_conv_int8 = differential(transpose_conv("int8"), examples=10)
test_transpose_conv_float32 = differential(transpose_conv("float32"), examples=5)
