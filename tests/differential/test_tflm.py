"""What TensorFlow Lite Micro takes and LiteRT refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.tflm import needs_tflm, tflm_outputs
from tests.support.zoo import needs_zoo, zoo
from tinygen.builds.litert_content import for_litert
from tinygen.errors import TinygenError
from tinygen.frontends.tflite import load_tflite, read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.verbs.options import BuildOptions
from tinygen.verbs.verify import verify

SHAPE = (1, 6, 6, 4)


def depthwise(axis: int) -> bytes:
    """A depthwise convolution, with the scales of its bias along an axis."""
    rng = np.random.default_rng(3)
    x, y = TensorSpec(SHAPE, "int8", 0.5, 3, name="x"), TensorSpec(SHAPE, "int8", 2.0, -7, name="y")
    scales = rng.uniform(0.01, 0.1, 4).astype(np.float32)
    weights = TensorSpec(
        (1, 3, 3, 4), "int8", scales.tolist(), [0] * 4, 3, rng.integers(-127, 128, (1, 3, 3, 4)).astype(np.int8)
    )
    of_bias = (scales * np.float32(0.5)).tolist()
    bias = TensorSpec((4,), "int32", of_bias, [0] * 4, axis, rng.integers(-99, 100, 4).astype(np.int32))
    chosen = options("DepthwiseConv2DOptions", depthMultiplier=1, strideH=1, strideW=1)
    return build(ModelSpec(BuiltinOperator.DEPTHWISE_CONV_2D, [x, weights, bias], [y], **chosen))


def feeds(count: int = 3, shape: tuple[int, ...] = SHAPE) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[rng.integers(-128, 128, shape).astype(np.int8)] for _ in range(count)]


def test_a_bias_along_an_axis_that_it_lacks() -> None:
    odd, plain = depthwise(3), depthwise(0)
    with pytest.raises((RuntimeError, ValueError)):
        reference_outputs(odd, feeds())
    assert repr(read_tflite(odd)) == repr(read_tflite(plain))
    mended, (note,) = for_litert(odd, in_float=False)
    assert "axis 0" in note
    for got, want in zip(reference_outputs(mended, feeds()), reference_outputs(plain, feeds()), strict=True):
        assert np.array_equal(got[0], want[0])
    assert for_litert(plain, in_float=False) == (plain, ())


def test_verify_says_what_litert_is_given(tmp_path: Path) -> None:
    (tmp_path / "odd.tflite").write_bytes(depthwise(3))
    np.save(tmp_path / "x.npy", np.concatenate([x for (x,) in feeds()]))
    report = verify(tmp_path / "odd.tflite", tmp_path / "x.npy", BuildOptions(board="host"))
    assert report.identical and [one.first for one in report.comparisons] == ["litert-ref", "semantics"]
    assert "LiteRT refuses biases with scales along an axis that they lack" in " ".join(report.warnings)


@needs_tflm
def test_as_tflm_computes_it(tmp_path: Path) -> None:
    want = tflm_outputs(depthwise(3), feeds(), tmp_path)
    graph = read_tflite(depthwise(3))
    assert np.array_equal(np.stack([evaluate(graph, sample)[0] for sample in feeds()]), want)


@needs_tflm
@needs_zoo
def test_public_models_that_only_tflm_takes(tmp_path: Path) -> None:
    found = 0
    for path in zoo():
        try:
            graph = load_tflite(path)
            refused = for_litert(path.read_bytes(), in_float=False)[1]
        except TinygenError:
            continue
        if refused:
            samples = feeds(3, graph.tensors[graph.inputs[0]].shape)
            want = tflm_outputs(path.read_bytes(), samples, tmp_path)
            assert np.array_equal(np.stack([evaluate(graph, sample)[0] for sample in samples]), want), path.name
            found += 1
    print(found)
