"""Elementary functions of one operand, and the 16-bit forms of activations, against LiteRT's kernels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import Draw, differential, log_uniform
from tests.support.differential import compare_models
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

_FLOATS = (
    "EXP",
    "LOG",
    "SQRT",
    "RSQRT",
    "SQUARE",
    "SIN",
    "COS",
    "FLOOR",
    "CEIL",
    "ROUND",
    "SIGN",
    "ELU",
    "RELU_0_TO_1",
)
_INT8 = ("EXP", "LOG", "SQRT", "RSQRT", "ELU", "RELU_0_TO_1")
_INT16 = ("EXP", "LOG", "SQRT", "RSQRT", "GELU", "RELU", "RELU6", "LEAKY_RELU", "ABS", "LOGISTIC", "TANH")
_POSITIVE = ("LOG", "SQRT", "RSQRT")
_FIRST_ONLY = ("SQUARE", "FLOOR", "CEIL", "ROUND", "ELU", "RELU_0_TO_1")


def _scales(draw: Draw, name: str, dtype: str) -> tuple[float, float]:
    """Of the input and the output, so that most codes of the output are used."""
    rng, span = draw.rng, 127.0 if dtype == "int8" else 32767.0
    x = float(log_uniform(rng, 0.05, 2.0) if name == "EXP" else log_uniform(rng, 0.1, 20.0)) / span
    if name in ("LOGISTIC", "TANH") and dtype == "int16":
        # Powers of two have a form of their own.
        return (2.0 ** -draw.integer(9, 14) if draw.yes(0.3) else x), 1 / 32768
    largest = {"EXP": np.exp(x * span), "LOG": abs(np.log(x)) + 3, "SQRT": np.sqrt(x * 2 * span), "RSQRT": x**-0.5}
    y = float(largest.get(name, x * span)) / span * float(log_uniform(rng, 0.5, 2.0))
    return x, y


def quantized(draw: Draw, name: str, dtype: str) -> ModelSpec:
    shape = draw.sizes(7, 1, 4)
    scales = (float(np.float32(scale)) for scale in _scales(draw, name, dtype))
    zeros = [draw.zero_point(dtype) for _ in range(2)]
    # LiteRT ends the inference where a root is asked of a negative number.
    least = zeros[0] if name in ("SQRT", "RSQRT") else None
    x, y = (TensorSpec(shape, dtype, *both, least=least) for both in zip(scales, zeros, strict=True))
    chosen = {}
    if name == "LEAKY_RELU":
        sign = -1 if draw.yes(0.2) else 1
        chosen = options("LeakyReluOptions", alpha=float(np.float32(sign * log_uniform(draw.rng, 0.01, 2))))
    elif name in ("GELU", "ABS"):
        chosen = options(f"{name.title()}Options", **({"approximate": draw.yes()} if name == "GELU" else {}))
    version = 1 if name in _FIRST_ONLY else 2
    return ModelSpec(getattr(BuiltinOperator, name), [x], [y], **chosen, label=f"{name} {dtype}", version=version)


def real(draw: Draw, name: str) -> ModelSpec:
    shape = draw.sizes(7, 1, 4)
    x = TensorSpec(shape, "float32", least=1e-3 if name in _POSITIVE else None)
    y = TensorSpec(shape, "float32")
    return ModelSpec(getattr(BuiltinOperator, name), [x], [y], label=f"{name} float32", version=1)


CASES = {
    **{f"{name} float32": (partial(real, name=name), 20) for name in _FLOATS},
    **{f"{name} int8": (partial(quantized, name=name, dtype="int8"), 40) for name in _INT8},
    **{f"{name} int16": (partial(quantized, name=name, dtype="int16"), 40) for name in _INT16},
}
test_models, test_many, test_on_the_core = differential(CASES)


@pytest.mark.parametrize("name", _INT16)
def test_every_code_of_16_bits(name: str) -> None:
    """Where samples of tables meet, where LiteRT's table of sigmoids ends, and the ends of the type."""
    models, feeds = [], []
    for index in range(2):
        spec = quantized(Draw(index), name, "int16")
        codes = np.arange(0 if name in ("SQRT", "RSQRT") else -32768, 32768).astype(np.int16)
        x, y = (TensorSpec((1, len(codes)), "int16", t.scale, 0) for t in (spec.inputs[0], spec.outputs[0]) if t)
        models.append(build(ModelSpec(spec.opcode, [x], [y], spec.options_type, spec.options, version=spec.version)))
        feeds.append([[codes.reshape(1, -1)]])
    compare_models(models, feeds, [f"{name} int16"] * len(models))


_HALVES = (0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 8388607.5, -8388607.5)
_FAR = (1e30, -1e30, 3e38, np.inf, -np.inf, np.nan, 88.7228394, 88.8, 200.0, -87.5, -103.5, -104.5, -200.0)
_SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, *_HALVES, *_FAR], np.float32)


@pytest.mark.parametrize("name", _FLOATS)
def test_ends_of_floats(name: str, tmp_path: Path) -> None:
    """Zeros, infinities, numbers that are none, and what is between two integers."""
    x, y = (TensorSpec(_SPECIAL.shape, "float32") for _ in range(2))
    model = build(ModelSpec(getattr(BuiltinOperator, name), [x], [y], version=1))
    [[want]] = reference_outputs(model, [[_SPECIAL]])
    graph = read_tflite(model, name="m")
    [[[got]]] = run_on_host([lower(graph)], [[[_SPECIAL]]], tmp_path)
    for found in (evaluate(graph, [_SPECIAL])[0], got):
        np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-44)
