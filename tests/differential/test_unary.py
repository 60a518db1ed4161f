"""One-operand functions, softmax, quantize and dequantize against LiteRT's reference kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import Draw, differential, log_uniform, scale_of
from tests.support.differential import compare_models
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options

_VERSIONS = {"HARD_SWISH": 1, "NEG": 1, "DEQUANTIZE": 3, "RELU_N1_TO_1": 1}
_FIXED_OUTPUT = {
    "LOGISTIC": (1 / 256, -128),
    "TANH": (1 / 128, 0),
    "SOFTMAX": (1 / 256, -128),
    "LOG_SOFTMAX": (1 / 16, 127),
    "L2_NORMALIZATION": (1 / 128, 0),
}


def _options(name: str, rng: np.random.Generator) -> dict[str, Any]:
    if name == "LEAKY_RELU":
        alpha = float(np.float32(log_uniform(rng, 0.01, 2) * (-1 if rng.random() < 0.2 else 1)))
        return options("LeakyReluOptions", alpha=alpha)
    if name == "SOFTMAX":
        return options("SoftmaxOptions", beta=float(rng.choice([1.0, 1.0, 0.5, 2.0])))
    if name == "L2_NORMALIZATION":
        return options("L2NormOptions")
    if name == "LOCAL_RESPONSE_NORMALIZATION":
        alpha, beta = float(rng.uniform(0.01, 1.0)), float(rng.choice([0.5, 0.75, 1.0]))
        chosen = {"radius": int(rng.integers(0, 4)), "bias": float(rng.uniform(0.5, 2)), "alpha": alpha, "beta": beta}
        return options("LocalResponseNormalizationOptions", **chosen)
    if name == "GELU":
        return options("GeluOptions", approximate=bool(rng.random() < 0.5))
    tables = {
        "HARD_SWISH": "HardSwishOptions",
        "ABS": "AbsOptions",
        "NEG": "NegOptions",
        "QUANTIZE": "QuantizeOptions",
        "DEQUANTIZE": "DequantizeOptions",
    }
    return options(tables[name]) if name in tables else {}


def case(draw: Draw, name: str, source: str, target: str = "") -> ModelSpec:
    rng = draw.rng
    target = target or source
    shape = draw.sizes(7, *((4, 4) if name == "LOCAL_RESPONSE_NORMALIZATION" else (1, 4)))
    x_scale = scale_of(rng, source, 1e-3, 0.3)
    x_zero, y_zero = draw.zero_point(source), draw.zero_point(target)
    y_scale = None
    if source == "int32":
        x_scale = float(np.float32(log_uniform(rng, 1e-7, 1e-2)))
    if target != "float32":
        base = x_scale if x_scale is not None else float(log_uniform(rng, 1e-2, 1.0))
        y_scale = float(np.float32(base * log_uniform(rng, 0.3, 3)))
    if name in _FIXED_OUTPUT and target == "int8":
        y_scale, y_zero = _FIXED_OUTPUT[name]
    if name == "SOFTMAX" and target == "int16":
        y_scale, y_zero = (1 / 32768, 0) if source == "int16" else (1 / 65536, -32768)
    x = TensorSpec(shape, source, x_scale, x_zero)
    y = TensorSpec(shape, target, y_scale, y_zero)
    label = f"{name} {source}" + (f" to {target}" if target != source else "")
    version = 1 if source == "float32" and name not in ("DEQUANTIZE",) else _VERSIONS.get(name, 2)
    return ModelSpec(getattr(BuiltinOperator, name), [x], [y], **_options(name, rng), label=label, version=version)


CASES = {
    **{
        f"{name} int8": (partial(case, name=name, source="int8"), 48)
        for name in ("LOGISTIC", "TANH", "RELU", "RELU6", "LEAKY_RELU", "ABS", "GELU")
    },
    **{
        f"{name} int8": (partial(case, name=name, source="int8"), 64)
        for name in ("SOFTMAX", "LOG_SOFTMAX", "HARD_SWISH", "L2_NORMALIZATION")
    },
    **{
        f"SOFTMAX {source} to int16": (partial(case, name="SOFTMAX", source=source, target="int16"), 40)
        for source in ("int8", "int16")
    },
    **{
        f"{name} float32": (partial(case, name=name, source="float32"), 24)
        for name in (
            "SOFTMAX",
            "LOG_SOFTMAX",
            "L2_NORMALIZATION",
            "LOCAL_RESPONSE_NORMALIZATION",
            "LOGISTIC",
            "TANH",
            "RELU",
            "RELU6",
            "RELU_N1_TO_1",
            "LEAKY_RELU",
            "HARD_SWISH",
            "ABS",
            "NEG",
            "GELU",
        )
    },
    **{
        f"{name} {source} to {target}": (partial(case, name=name, source=source, target=target), count)
        for name, source, target, count in (
            ("QUANTIZE", "float32", "int8", 48),
            ("QUANTIZE", "float32", "int16", 24),
            ("QUANTIZE", "int8", "int8", 48),
            ("QUANTIZE", "int8", "uint8", 24),
            ("QUANTIZE", "uint8", "int8", 24),
            ("QUANTIZE", "uint8", "int16", 16),
            ("QUANTIZE", "int8", "int16", 24),
            ("QUANTIZE", "int16", "int8", 24),
            ("QUANTIZE", "int16", "int16", 24),
            ("QUANTIZE", "int16", "int32", 24),
            ("QUANTIZE", "int32", "int8", 24),
            ("QUANTIZE", "int32", "int16", 24),
            ("DEQUANTIZE", "int8", "float32", 32),
            ("DEQUANTIZE", "int16", "float32", 24),
        )
    },
}
test_models, test_many, test_on_the_core = differential(CASES)


def test_softmax_of_long_rows() -> None:
    """Thousands of small powers: what rounding each of them adds up to is seen in the codes."""
    depth, scale = 20_000, 0.06
    x = TensorSpec((1, depth), "int8", scale, 0)
    y = TensorSpec((1, depth), "int8", 1 / 256, -128)
    spec = ModelSpec(BuiltinOperator.SOFTMAX, [x], [y], **options("SoftmaxOptions", beta=1.0), version=2)
    feeds = []
    for below in (215, 219, 225):
        codes = np.full((1, depth), 127 - below, np.int8)
        codes[0, :2] = 127
        feeds.append([codes])
    compare_models([build(spec)], [feeds], ["SOFTMAX int8"])
