"""FULLY_CONNECTED, BATCH_MATMUL and TRANSPOSE_CONV against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding, TensorType

from tests.support.cases import ACTIVATIONS, Draw, differential, log_uniform, scale_of
from tests.support.differential import compare, compare_models, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.lowering.lower import lower


def dense(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    rows, depth, outputs = draw.integer(1, 3), draw.integer(1, 70), draw.integer(1, 20)
    keep = draw.yes()
    x_shape = (1, rows, depth) if keep else (rows, depth)
    y_shape = (1, rows, outputs) if keep else (rows, outputs)
    chosen = options("FullyConnectedOptions", fusedActivationFunction=draw.choice(ACTIVATIONS), keepNumDims=keep)
    biased = draw.yes()
    if dtype == "float32":
        weights = rng.normal(size=(outputs, depth)).astype(np.float32)
        bias = TensorSpec((outputs,), "float32", data=rng.normal(size=outputs).astype(np.float32))
        inputs = [TensorSpec(x_shape, dtype), TensorSpec(weights.shape, dtype, data=weights)]
        y = TensorSpec(y_shape, dtype)
    else:
        wide = dtype == "int16"
        x_scale = scale_of(rng, dtype, 1e-3, 0.3) or 1.0
        w_scale = log_uniform(rng, 1e-3, 0.1, outputs if draw.yes() and not wide else 1)
        codes = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
        values = rng.integers(-20000, 20000, outputs)
        bias = TensorSpec((outputs,), "int64" if wide else "int32", w_scale * x_scale, 0, 0, values)
        inputs = [
            TensorSpec(x_shape, dtype, x_scale, draw.zero_point(dtype)),
            TensorSpec(codes.shape, "int8", w_scale, 0, 0, codes),
        ]
        spread = x_scale * float(np.mean(w_scale)) * 70 * np.sqrt(depth) * (256 if wide else 1)
        y = TensorSpec(y_shape, dtype, float(spread * log_uniform(rng, 0.02, 4)), draw.zero_point(dtype))
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        [*inputs, *([bias] if biased else [])],
        [y],
        **chosen,
        label=f"FULLY_CONNECTED {dtype}",
        version={"int8": 5, "int16": 7, "float32": 5}[dtype],
    )


def matmul(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    m, k, n = (draw.integer(1, 9) for _ in range(3))
    adjoint = draw.yes(), draw.yes()
    batch = draw.sizes(3, 0, 2)
    other = tuple(1 if draw.yes() else b for b in batch)
    a_shape = (*batch, *((k, m) if adjoint[0] else (m, k)))
    b_shape = (*other, *((n, k) if adjoint[1] else (k, n)))
    a_scale, b_scale = scale_of(rng, dtype, 1e-3, 0.3), scale_of(rng, dtype, 1e-3, 0.3)
    y_scale = None
    if a_scale is not None and b_scale is not None:
        y_scale = float(np.float32(a_scale * b_scale * 70 * np.sqrt(k) * log_uniform(rng, 0.05, 3)))
    first = TensorSpec(a_shape, dtype, a_scale, draw.zero_point(dtype))
    second = TensorSpec(b_shape, dtype, b_scale, draw.zero_point(dtype))
    if draw.yes():
        second = TensorSpec(b_shape, dtype, b_scale, second.zero_point, data=random_codes(second, rng))
    return ModelSpec(
        BuiltinOperator.BATCH_MATMUL,
        [first, second],
        [TensorSpec((*batch, m, n), dtype, y_scale, draw.zero_point(dtype))],
        **options("BatchMatMulOptions", adjX=adjoint[0], adjY=adjoint[1]),
        label=f"BATCH_MATMUL {dtype}",
        version=2 if dtype == "int8" else 1,
    )


def transpose_conv(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    kernel, stride = [(draw.integer(1, 4), draw.integer(1, most)) for most in (4, 6)]
    size, same = (draw.integer(1, 5), draw.integer(1, 5)), draw.yes()
    depth, filters = draw.integer(1, 5), draw.integer(1, 5)
    out = tuple(
        (n - 1) * s + (1 if same else k) + draw.integer(0, s - 1) for n, k, s in zip(size, kernel, stride, strict=True)
    )
    shape = TensorSpec((4,), "int32", data=np.array([1, *out, filters], np.int32))
    w_shape = (filters, *kernel, depth)
    biased = draw.yes()
    if dtype == "float32":
        weights = TensorSpec(w_shape, dtype, data=rng.normal(size=w_shape).astype(np.float32))
        x, y = TensorSpec((1, *size, depth), dtype), TensorSpec((1, *out, filters), dtype)
        bias = TensorSpec((filters,), dtype, data=rng.normal(size=filters).astype(np.float32))
    else:
        x_scale = scale_of(rng, dtype, 1e-3, 0.3) or 1.0
        w_scale = log_uniform(rng, 1e-3, 0.1, filters if draw.yes() else 1)
        codes = rng.integers(-127, 128, w_shape).astype(np.int8)
        weights = TensorSpec(w_shape, "int8", w_scale, 0, 0, codes)
        x = TensorSpec((1, *size, depth), dtype, x_scale, draw.zero_point(dtype))
        spread = x_scale * float(np.mean(w_scale)) * 70 * np.sqrt(depth * kernel[0] * kernel[1])
        y = TensorSpec((1, *out, filters), dtype, float(spread * log_uniform(rng, 0.05, 3)), draw.zero_point(dtype))
        values = rng.integers(-9000, 9000, filters)
        bias = TensorSpec((filters,), "int32", w_scale * x_scale, 0, 0, values)
    of_16_bits: dict[str, Any] = {}
    if dtype == "int16" and biased:
        # Sums have 64 bits, or 32 where the option says that the bias has them.
        kind = draw.choice(["int32", "int64"])
        bias = replace(bias, dtype=kind)
        of_16_bits = {"quantizedBiasType": getattr(TensorType, kind.upper())}
    chosen = options(
        "TransposeConvOptions",
        padding=Padding.SAME if same else Padding.VALID,
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=draw.choice(ACTIVATIONS),
        **of_16_bits,
    )
    return ModelSpec(
        BuiltinOperator.TRANSPOSE_CONV,
        [shape, weights, x, *([bias] if biased else [])],
        [y],
        **chosen,
        label=f"TRANSPOSE_CONV {dtype}",
        version=4,
    )


def test_output_shape_of_an_input() -> None:
    """It can only ask for the shape that the output has."""
    shape = TensorSpec((4,), "int32")
    weights = TensorSpec((3, 2, 2, 2), "int8", 0.01, data=np.arange(-12, 12, dtype=np.int8).reshape(3, 2, 2, 2))
    x, y = TensorSpec((1, 2, 3, 2), "int8", 0.1, 3), TensorSpec((1, 4, 6, 3), "int8", 0.05, -7)
    chosen = options("TransposeConvOptions", padding=Padding.SAME, strideH=2, strideW=2)
    model = build(ModelSpec(BuiltinOperator.TRANSPOSE_CONV, [shape, weights, x], [y], **chosen, version=3))
    feed = [np.array(y.shape, np.int32), random_codes(x, np.random.default_rng(1))]
    compare_models([model], [[feed]], ["TRANSPOSE_CONV int8"])


def tied(draw: Draw, dtype: str) -> ModelSpec:
    """Scales whose ratio is a small fraction: many products lie exactly between two codes."""
    numbers = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0, 7.0)
    x_scale, w_scale, y_scale = (draw.choice(numbers) for _ in range(3))
    rng = draw.rng
    codes = rng.integers(-9, 10, (draw.integer(1, 9), 3)).astype(np.int8)
    x = TensorSpec((3, 3), dtype, x_scale, draw.zero_point(dtype))
    y = TensorSpec((3, len(codes)), dtype, y_scale * w_scale * 4, draw.zero_point(dtype))
    weights = TensorSpec(codes.shape, "int8", w_scale, 0, 0, codes)
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        [x, weights],
        [y],
        **options("FullyConnectedOptions"),
        label=f"FULLY_CONNECTED {dtype}",
        version={"int8": 5, "int16": 7}[dtype],
    )


def near_ties(draw: Draw, dtype: str) -> ModelSpec:
    """Biases that put the accumulators where the result changes, with any scale: the multiplier's last bit counts."""
    rng = draw.rng
    outputs = draw.integer(1, 9)
    per_channel = draw.yes()
    x_scale, y_scale = (np.float32(draw.integer(1, 30) / draw.integer(1, 30)) for _ in range(2))
    w_scale = np.float32(rng.integers(1, 99, outputs if per_channel else 1) / 2.0 ** draw.integer(4, 24))
    zero = draw.zero_point(dtype)
    info = np.iinfo(dtype)
    result = rng.integers(info.min - zero, info.max - zero + 1, outputs)
    bias = np.rint((result - 0.5) / (float(x_scale) * w_scale.astype(np.float64) / float(y_scale)))
    limit = (1 << 30) if dtype == "int8" else (1 << 36)
    inputs = [
        TensorSpec((256, 1), dtype, float(x_scale), 0),
        TensorSpec((outputs, 1), "int8", w_scale, 0, 0, rng.integers(-3, 4, (outputs, 1)).astype(np.int8)),
        TensorSpec(
            (outputs,), "int32" if dtype == "int8" else "int64", w_scale * x_scale, 0, 0, np.clip(bias, -limit, limit)
        ),
    ]
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        inputs,
        [TensorSpec((256, outputs), dtype, float(y_scale), zero)],
        **options("FullyConnectedOptions"),
        label=f"FULLY_CONNECTED {dtype} near ties",
        version={"int8": 5, "int16": 7}[dtype],
    )


def wide_ranging(dtype: str, w_scale: float, bias: int) -> ModelSpec:
    """Accumulators around -bias and bias, times w_scale / 3."""
    weights = np.array([[1], [-1], [3]], np.int8)
    inputs = [
        TensorSpec((256, 1), dtype, 0.1),
        TensorSpec(weights.shape, "int8", w_scale, 0, 0, weights),
        TensorSpec(
            (3,),
            "int32" if dtype == "int8" else "int64",
            np.float32(0.1) * np.float32(w_scale),
            0,
            0,
            np.array([1, -1, 1]) * bias,
        ),
    ]
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        inputs,
        [TensorSpec((256, 3), dtype, 0.3)],
        **options("FullyConnectedOptions"),
        label=f"FULLY_CONNECTED {dtype} each way",
        version=7,
    )


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


CASES = {
    **{f"near ties {dtype}": (partial(near_ties, dtype=dtype), 64) for dtype in ("int8", "int16")},
    **{f"ties {dtype}": (partial(tied, dtype=dtype), count) for dtype, count in (("int8", 64), ("int16", 40))},
    **{
        f"FULLY_CONNECTED {dtype}": (partial(dense, dtype=dtype), count)
        for dtype, count in (("int8", 96), ("int16", 64), ("float32", 48))
    },
    **{
        f"{name} {dtype}": (partial(case, dtype=dtype), count)
        for name, case in (("BATCH_MATMUL", matmul), ("TRANSPOSE_CONV", transpose_conv))
        for dtype, count in (("int8", 80), ("float32", 40))
    },
    "TRANSPOSE_CONV int16": (partial(transpose_conv, dtype="int16"), 60),
}
test_models, test_many, test_on_the_core = differential(CASES)
