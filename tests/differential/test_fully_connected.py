"""FULLY_CONNECTED against LiteRT's reference kernels."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.differential import compare
from tests.support.tflite_builder import ModelSpec, TensorSpec, options

ACTIVATIONS = [
    ActivationFunctionType.NONE, ActivationFunctionType.RELU,
    ActivationFunctionType.RELU6, ActivationFunctionType.RELU_N1_TO_1,
]  # fmt: skip


@st.composite
def int8_case(draw: st.DrawFn) -> ModelSpec:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 70)), draw(st.integers(1, 20))
    x_scale = float(rng.uniform(0.001, 0.1))
    per_channel = draw(st.booleans())
    w_scale = rng.uniform(0.001, 0.1, outputs if per_channel else 1)
    weights = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
    inputs: list[TensorSpec | None] = [
        TensorSpec((rows, depth), "int8", x_scale, draw(st.integers(-128, 127))),
        TensorSpec(weights.shape, "int8", w_scale, 0, 0, weights),
    ]
    if draw(st.booleans()):
        bias = rng.integers(-20000, 20000, outputs).astype(np.int32)
        inputs.append(TensorSpec((outputs,), "int32", w_scale * x_scale, 0, 0, bias))
    y_scale = float(x_scale * w_scale.mean() * 127 * np.sqrt(depth) * rng.uniform(0.1, 2))
    return ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        inputs,
        [TensorSpec((rows, outputs), "int8", y_scale, draw(st.integers(-128, 127)))],
        **options("FullyConnectedOptions", fusedActivationFunction=draw(st.sampled_from(ACTIVATIONS))),
        label="FULLY_CONNECTED int8",
    )


@settings(max_examples=12, deadline=None)
@given(st.lists(int8_case(), min_size=8, max_size=8))
def test_int8(cases: list[ModelSpec]) -> None:
    compare(cases)
