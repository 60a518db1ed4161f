"""One-operand functions, softmax, quantize and dequantize against LiteRT's reference kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator
from hypothesis import strategies as st

from tests.support.cases import differential, generator, log_uniform, scale_of, zero_point
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)
_VERSIONS = {"HARD_SWISH": 1, "NEG": 1, "DEQUANTIZE": 3, "RELU_N1_TO_1": 1}
_FIXED_OUTPUT = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "SOFTMAX": (1 / 256, -128)}


def _options(name: str, rng: np.random.Generator) -> dict[str, Any]:
    if name == "LEAKY_RELU":
        alpha = float(np.float32(log_uniform(rng, 0.01, 2) * (-1 if rng.random() < 0.2 else 1)))
        return options("LeakyReluOptions", alpha=alpha)
    if name == "SOFTMAX":
        return options("SoftmaxOptions", beta=float(rng.choice([1.0, 1.0, 0.5, 2.0])))
    tables = {"HARD_SWISH": "HardSwishOptions", "ABS": "AbsOptions", "NEG": "NegOptions",
              "QUANTIZE": "QuantizeOptions", "DEQUANTIZE": "DequantizeOptions"}  # fmt: skip
    return options(tables[name]) if name in tables else {}


@st.composite
def case(draw: st.DrawFn, name: str, source: str, target: str = "") -> ModelSpec:
    rng = draw(generator())
    target = target or source
    shape = draw(shapes)
    x_scale = scale_of(rng, source, 1e-3, 0.3)
    x_zero = draw(zero_point(source)) if source != "uint8" else draw(st.integers(0, 255))
    if source == "uint8":
        x_scale = float(np.float32(log_uniform(rng, 1e-3, 0.3)))
    y_zero = draw(zero_point(target)) if target != "uint8" else draw(st.integers(0, 255))
    y_scale = None
    if target != "float32":
        base = x_scale if x_scale is not None else float(log_uniform(rng, 1e-2, 1.0))
        y_scale = float(np.float32(base * log_uniform(rng, 0.3, 3)))
    if name in _FIXED_OUTPUT and target == "int8":
        y_scale, y_zero = _FIXED_OUTPUT[name]
    x = TensorSpec(shape, source, x_scale, x_zero)
    y = TensorSpec(shape, target, y_scale, y_zero)
    label = f"{name} {source}" + (f" to {target}" if target != source else "")
    version = 1 if source == "float32" and name not in ("DEQUANTIZE",) else _VERSIONS.get(name, 2)
    return ModelSpec(
        getattr(BuiltinOperator, name), [x], [y], **_options(name, rng), label=label, version=version
    )


test_softmax_int8 = differential(case("SOFTMAX", "int8"), examples=8)
test_softmax_float32 = differential(case("SOFTMAX", "float32"), examples=4)
test_logistic_int8 = differential(case("LOGISTIC", "int8"), examples=6)
test_logistic_float32 = differential(case("LOGISTIC", "float32"), examples=4)
test_tanh_int8 = differential(case("TANH", "int8"), examples=6)
test_tanh_float32 = differential(case("TANH", "float32"), examples=4)
test_relu_int8 = differential(case("RELU", "int8"), examples=6)
test_relu_float32 = differential(case("RELU", "float32"), examples=3)
test_relu6_int8 = differential(case("RELU6", "int8"), examples=6)
test_relu6_float32 = differential(case("RELU6", "float32"), examples=3)
test_relu_n1_to_1_float32 = differential(case("RELU_N1_TO_1", "float32"), examples=3)
test_leaky_relu_int8 = differential(case("LEAKY_RELU", "int8"), examples=6)
test_leaky_relu_float32 = differential(case("LEAKY_RELU", "float32"), examples=3)
test_hard_swish_int8 = differential(case("HARD_SWISH", "int8"), examples=8)
test_hard_swish_float32 = differential(case("HARD_SWISH", "float32"), examples=3)
test_abs_int8 = differential(case("ABS", "int8"), examples=6)
test_abs_float32 = differential(case("ABS", "float32"), examples=3)
test_neg_float32 = differential(case("NEG", "float32"), examples=3)
test_quantize_from_float = differential(case("QUANTIZE", "float32", "int8"), examples=6)
test_quantize_from_float_int16 = differential(case("QUANTIZE", "float32", "int16"), examples=3)
test_quantize_int8 = differential(case("QUANTIZE", "int8"), examples=6)
test_quantize_int8_uint8 = differential(case("QUANTIZE", "int8", "uint8"), examples=3)
test_quantize_uint8_int8 = differential(case("QUANTIZE", "uint8", "int8"), examples=3)
test_dequantize_int8 = differential(case("DEQUANTIZE", "int8", "float32"), examples=4)
test_dequantize_int16 = differential(case("DEQUANTIZE", "int16", "float32"), examples=3)
