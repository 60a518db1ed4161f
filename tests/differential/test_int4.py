"""INT4 weights, two per byte in the file, against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.differential.test_conv_2d import conv_case
from tests.differential.test_fully_connected import dense
from tests.support.cases import Case, differential, models
from tests.support.differential import assert_same, random_codes
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate


def narrowed(spec: ModelSpec) -> ModelSpec:
    """The same layer with its int8 weights as 4-bit ones that are 16 times as large."""
    x, weights, *others = spec.inputs
    assert weights is not None and weights.data is not None
    narrow = replace(
        weights, dtype="int4", data=weights.data >> 4, scale=np.asarray(weights.scale, np.float32) * np.float32(16)
    )
    version = 7 if spec.opcode == BuiltinOperator.FULLY_CONNECTED else 0
    biases = [other and replace(other, scale=np.asarray(other.scale, np.float32) * np.float32(16)) for other in others]
    return replace(spec, inputs=[x, narrow, *biases], label=f"{spec.label} x int4", version=version)


def int4(case: Case) -> Case:
    return lambda draw: narrowed(case(draw))


CASES = {
    "CONV_2D int8": (int4(partial(conv_case, dtype="int8", depthwise=False)), 32),
    "CONV_2D int16": (int4(partial(conv_case, dtype="int16", depthwise=False)), 20),
    "DEPTHWISE_CONV_2D int8": (int4(partial(conv_case, dtype="int8", depthwise=True)), 32),
    "FULLY_CONNECTED int8": (int4(partial(dense, dtype="int8")), 32),
    "FULLY_CONNECTED int16": (int4(partial(dense, dtype="int16")), 24),
}
test_models, test_many, test_on_the_core = differential(CASES)


def test_depthwise_int16() -> None:
    """LiteRT's kernel for 16-bit activations takes the packed bytes for codes; with one code per byte it is right."""
    for spec in models("int4", int4(partial(conv_case, dtype="int16", depthwise=True)), 20):
        x, weights, *biases = spec.inputs
        assert x is not None and weights is not None
        wide = replace(spec, inputs=[x, replace(weights, dtype="int8"), *biases])
        sample = [random_codes(x, np.random.default_rng(0))]
        (want,) = reference_outputs(build(wide), [sample])
        graph = read_tflite(build(spec))
        assert_same(want, evaluate(graph, sample), graph, "semantics")


def layer(weights: TensorSpec) -> ModelSpec:
    inputs = [TensorSpec((1, 3), "int8", 0.1), weights]
    y = TensorSpec((1, 3), "int8", 0.1)
    return ModelSpec(BuiltinOperator.FULLY_CONNECTED, inputs, [y], **options("FullyConnectedOptions"), version=7)


def test_nibbles() -> None:
    """The low nibble comes first, both are signed, and an odd last one stands alone."""
    codes = np.array([[-8, 7, 0], [-1, 1, -7], [6, -2, 5]], np.int8)
    model = build(layer(TensorSpec((3, 3), "int4", 0.5, data=codes)))
    assert bytes([0x78, 0xF0, 0x91, 0xE6, 0x05]) in model
    graph = read_tflite(model)
    assert np.array_equal(graph.tensors["t1"].data, codes)


def test_wrong_length() -> None:
    good = build(layer(TensorSpec((3, 3), "int4", 0.5, data=np.zeros((3, 3), np.int8))))
    # The vector of five bytes, its length in front of it, becomes one of four.
    at = good.index(bytes([5, 0, 0, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(ModelError, match="has 4 bytes of data, its shape needs 5"):
        read_tflite(good[:at] + bytes([4]) + good[at + 1 :])


def test_zero_point_beyond_four_bits() -> None:
    weights = TensorSpec((3, 3), "int4", 0.5, zero_point=8, data=np.zeros((3, 3), np.int8))
    with pytest.raises(ModelError, match="zero point outside int4"):
        read_tflite(build(layer(weights)))


def test_computed_at_run_time() -> None:
    with pytest.raises(UnsupportedError, match="4-bit tensors must be constants"):
        read_tflite(build(layer(TensorSpec((3, 3), "int4", 0.5))))
