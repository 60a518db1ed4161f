"""What verify says of a library that rounds otherwise than LiteRT; the library itself is not needed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator
from rich.console import Console

from tests.support.manifests import a_manifest
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.builds.compare import Comparison
from tinygen.builds.library import library_semantics
from tinygen.builds.manifest import Manifest
from tinygen.cli.tables import verify_tables
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.verbs.verify import VerifyReport

KERNEL = "cmsis_nn_fully_connected"


@pytest.fixture
def graph() -> Graph:
    """output = 0.3 * input * [1, 2], rounded."""
    weights = TensorSpec((2, 1), "int8", 3.0, 0, 0, np.array([[1], [2]]))
    spec = ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        [TensorSpec((1, 1), "int8", 1.0, 0), weights],
        [TensorSpec((1, 2), "int8", 10.0, 0)],
        **options("FullyConnectedOptions"),
    )
    return read_tflite(build(spec), name="scaled")


def calling(layer: str, kernel: str) -> Manifest:
    """Of a build with one layer, by that kernel."""
    manifest = a_manifest()
    return replace(manifest, layers=(replace(manifest.layers[0], name=layer, kernel=kernel),))


def test_both_ways(graph: Graph) -> None:
    layer = graph.ops[0].name
    library = library_semantics(graph, calling(layer, KERNEL))
    assert library is not None
    inputs = [np.array([[code]], np.int8) for code in (0, 1, 2, 10)]
    # LiteRT scales 0.3, 0.6; 0.6, 1.2; 3, 6 once. The library's 0.3 is 0.6, then 1, then 1 / 2, then 1.
    assert [evaluate(graph, [x])[0].tolist() for x in inputs] == [[[0, 0]], [[0, 1]], [[1, 1]], [[3, 6]]]
    assert [library.infer([x])[0].tolist() for x in inputs] == [[[0, 0]], [[1, 1]], [[1, 1]], [[3, 6]]]
    found = library.differences[layer]
    assert (found.kernel, found.codes, found.differing, found.max_abs_diff) == (KERNEL, 8, 1, 1)
    assert found.sentence() == f"{layer} differs from LiteRT by up to 1 code, in 1 of 8"
    assert library.tensors([inputs[1]])[graph.outputs[0]].tolist() == [[1, 1]]
    assert found.codes == 8


def test_nothing_to_say(graph: Graph) -> None:
    """Our own kernels, and layers that a pass has renamed, follow the operators' meaning."""
    assert library_semantics(graph, calling(graph.ops[0].name, "fully_connected_s8")) is None
    assert library_semantics(graph, calling("renamed", KERNEL)) is None


def test_report_says_so(graph: Graph) -> None:
    layer = graph.ops[0].name
    library = library_semantics(graph, calling(layer, KERNEL))
    assert library is not None
    outputs = Comparison("semantics", "cmsis-nn")
    for index, code in enumerate((0, 1)):
        x = [np.array([[code]], np.int8)]
        outputs.add(index, evaluate(graph, x), library.infer(x))
    same = Comparison("cmsis-nn", "f746zg-emulated", samples=2)
    report = VerifyReport("m.tflite", "f746zg", 2, (same,), None, tuple(library.differences.values()), outputs)
    assert report.identical
    content = report.as_json()
    assert content["mismatches"] == 0 and content["identical"]
    assert content["library"]["layers"] == [
        {"layer": layer, "kernel": KERNEL, "codes": 4, "differing": 1, "max_abs_diff": 1}
    ]
    assert content["library"]["outputs"]["mismatches"] == 1
    text = io.StringIO()
    Console(file=text, width=150).print(verify_tables(report))
    assert f"{layer} differs from LiteRT by up to 1 code, in 1 of 4" in text.getvalue()
    assert "the model's outputs differ from LiteRT by up to 1 code, in 1 of 2 samples" in text.getvalue()
