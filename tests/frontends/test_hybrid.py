"""Hybrid models: layers of float activations and integer weights, computed in float where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.command_line import call as tinygen
from tests.support.differential import Board, assert_same, compare_code
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain, options
from tinygen.api import survey
from tinygen.builds.litert_content import with_float_weights
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.load import load_network
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate

OP = BuiltinOperator
STRIDES = {"strideH": 1, "strideW": 1}
LAYERS = {
    "CONV_2D": (OP.CONV_2D, (1, 6, 5, 4), (3, 3, 3, 4), 0, (1, 6, 5, 3), options("Conv2DOptions", **STRIDES)),
    "DEPTHWISE_CONV_2D": (
        OP.DEPTHWISE_CONV_2D,
        (1, 6, 5, 4),
        (1, 3, 3, 4),
        3,
        (1, 6, 5, 4),
        options("DepthwiseConv2DOptions", depthMultiplier=1, **STRIDES),
    ),
    "FULLY_CONNECTED": (OP.FULLY_CONNECTED, (2, 12), (5, 12), 0, (2, 5), options("FullyConnectedOptions")),
}
"""By name: operator, shapes of input and weights, axis of their scales, shape of the output, options."""
TAKEN = [(name, kind) for name in LAYERS for kind in ("int8", "int8 per channel")]
TAKEN += [(name, kind) for name in ("CONV_2D", "FULLY_CONNECTED") for kind in ("int4", "uint8")]


def layer(name: str, kind: str, *, widened: bool) -> bytes:
    """A hybrid layer; `widened`: DEQUANTIZE gives it float weights instead."""
    opcode, shape, of_weights, axis, of_output, chosen = LAYERS[name]
    rng = np.random.default_rng(len(name + kind))
    dtype, several = kind.split()[0], "per channel" in kind
    low, high = {"int8": (-127, 128), "int4": (-8, 8), "uint8": (0, 256)}[dtype]
    scale = rng.uniform(0.001, 0.1, of_weights[axis]).astype(np.float32).tolist() if several else 0.037
    zero: int | list[int] = [0] * of_weights[axis] if several else 131 if dtype == "uint8" else 0
    codes = rng.integers(low, high, of_weights)
    weights = TensorSpec(of_weights, dtype, scale, zero, axis, codes.astype("uint8" if dtype == "uint8" else "int8"))
    x, y = TensorSpec(shape, "float32", name="x"), TensorSpec(of_output, "float32", name="y")
    bias = TensorSpec((of_output[-1],), "float32", data=rng.normal(size=of_output[-1]).astype(np.float32))
    if not widened:
        return build(ModelSpec(opcode, [x, weights, bias], [y], **chosen))
    real = TensorSpec(of_weights, "float32")
    steps = [ModelSpec(OP.DEQUANTIZE, [weights], [real], version=6), ModelSpec(opcode, [x, real, bias], [y], **chosen)]
    return build_chain(steps)


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_float_as_litert_computes_with_dequantized_weights(name: str, kind: str) -> None:
    hybrid, oracle = (layer(name, kind, widened=widened) for widened in (False, True))
    rng = np.random.default_rng(0)
    feeds = [[rng.normal(size=LAYERS[name][1]).astype(np.float32)] for _ in range(2)]
    expected = reference_outputs(oracle, feeds)
    for got, want in zip(reference_outputs(with_float_weights(hybrid), feeds), expected, strict=True):
        assert np.array_equal(got[0], want[0])
    graph = read_tflite(hybrid, name="m0", in_float=True)
    assert [op.KIND for op in graph.ops] == [name.lower()]
    for feed, want in zip(feeds, expected, strict=True):
        assert_same(want, evaluate(graph, feed), graph, "semantics")
    compare_code([graph], [feeds], [expected], [f"hybrid {name}"], on_board=Board.SHARE)


@pytest.mark.parametrize("name", LAYERS)
def test_refused_where_float_is_not_asked_for(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"is hybrid: activations are float32, weights int8") as caught:
        read_tflite(layer(name, "int8", widened=False))
    assert "representative_dataset" in caught.value.fix and "--float" in caught.value.fix
    assert name.lower() in caught.value.where


def test_models_without_hybrid_layers_are_read_as_they_are() -> None:
    model = layer("CONV_2D", "int8", widened=True)
    assert read_tflite(model, in_float=True).ops == read_tflite(model).ops
    with pytest.raises(TinygenError, match="is for layers of float activations"):
        load_network(Path(__file__).parent / "exported/cond.onnx", in_float=True)


def test_through_the_commands(tmp_path: Path) -> None:
    file = tmp_path / "hybrid.tflite"
    file.write_bytes(layer("FULLY_CONNECTED", "int8", widened=False))
    refused = tinygen("build", file, "--board", "f746zg", "--out", tmp_path / "b")
    assert refused.returncode == 1 and "is hybrid" in refused.stderr and "--float" in refused.stderr
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 2, 12)).astype(np.float32))
    done = tinygen("verify", file, "--float", "--board", "f746zg", "--inputs", tmp_path / "x.npy", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["warnings"] == ["LiteRT is given the weights of hybrid layers as float32"]
    assert found["identical"] and found["pairs"][0]["pair"] == "litert-ref/semantics"
    (tensor, *_) = json.loads(tinygen("inspect", file, "--float", "--json").stdout)["inputs"]
    assert "float32" in str(tensor)
    assert [survey([file], in_float=wanted).entering for wanted in (False, True)] == [0, 1]
