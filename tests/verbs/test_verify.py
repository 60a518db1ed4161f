"""verify names the first layer that differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.differential import random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec
from tests.support.tflite_builder import build as build_model
from tinygen.builds.compare import Comparison
from tinygen.builds.oracle_names import Oracle
from tinygen.demo import MODEL, load_test_digits
from tinygen.frontends.load import load_model
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import VerifyOptions, VerifyReport, verify


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    images, labels = load_test_digits()
    path = tmp_path / "digits.npz"
    np.savez(path, x=images[:5], y=labels[:5])
    return path


def test_other_kernel_sets(digits: Path) -> None:
    report = verify(MODEL, digits, BuildOptions(board="host"), VerifyOptions(oracles=[Oracle.OPTIMIZED]))
    pairs = [comparison.as_json()["pair"] for comparison in report.comparisons]
    assert pairs == ["litert-optimized/semantics", "semantics/host", "litert-ref/litert-optimized"]
    assert report.accuracy == dict.fromkeys(["litert-optimized", "litert-ref", "semantics", "host"], 5)


def _one_operator(folder: Path, name: str, dtype: str, *more: TensorSpec, shape: tuple[int, ...]) -> tuple[Path, Path]:
    """A model, and three random inputs."""
    scale = 0.1 if dtype == "int8" else None
    x, y = TensorSpec((1, 6, 4), dtype, scale, 3 if scale else 0), TensorSpec(shape, dtype, scale, 3 if scale else 0)
    path, inputs = folder / f"{name.lower()}.tflite", folder / "x.npz"
    path.write_bytes(build_model(ModelSpec(getattr(BuiltinOperator, name), [x, *more], [y])))
    rng = np.random.default_rng(1)
    np.savez(inputs, x=np.stack([random_codes(x, rng)[0] for _ in range(3)]))
    return path, inputs


def test_operators_that_the_reference_kernels_lack(tmp_path: Path) -> None:
    model, inputs = _one_operator(tmp_path, "CEIL", "float32", shape=(1, 6, 4))
    report = verify(model, inputs, BuildOptions(board="host"))
    assert [one.first for one in report.comparisons] == ["litert-optimized", "semantics"] and report.identical
    assert "LiteRT's reference kernels lack CEIL (version 1)" in " ".join(report.warnings)
    asked = verify(model, inputs, BuildOptions(board="host"), VerifyOptions(oracles=[Oracle.OPTIMIZED]))
    assert [one.first for one in asked.comparisons] == ["litert-optimized", "semantics"]


def test_the_reference_kernel_of_sum(tmp_path: Path) -> None:
    """It reads int8 as uint8."""
    axis = TensorSpec((1,), "int32", data=np.array([1], np.int32))
    model, inputs = _one_operator(tmp_path, "SUM", "int8", axis, shape=(1, 4))
    report = verify(model, inputs, BuildOptions(board="host"))
    assert [one.first for one in report.comparisons] == ["semantics"] and report.identical
    assert "reads signed codes as unsigned" in " ".join(report.warnings)
    asked = verify(model, inputs, BuildOptions(board="host"), VerifyOptions(oracles=[Oracle.OPTIMIZED]))
    assert [one.first for one in asked.comparisons] == ["litert-optimized", "semantics"]


def test_names_the_first_layer(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A semantics that is wrong in its second convolution: located there, on both sides of it."""
    right = Conv2D.evaluate

    def wrong(self: Conv2D, node, values):  # type: ignore[no-untyped-def]
        outputs = right(self, node, values)
        if self.name == second:
            outputs[0] ^= 64
        return outputs

    graph: Graph = load_model(MODEL)
    second = [op.name for op in graph.ops if isinstance(op, Conv2D)][1]
    monkeypatch.setattr(Conv2D, "evaluate", wrong)
    report = verify(MODEL, digits, BuildOptions(board="f746zg"))
    assert not report.identical
    for comparison in report.comparisons:
        assert comparison.where is not None, comparison.as_json()
        assert comparison.where.layer == second
        assert comparison.where.element == (0, 0, 0, 0)
        assert len(set(comparison.where.values)) == 2


def test_one_pair_that_differs_is_enough() -> None:
    pairs = [Comparison("litert", "semantics", samples=2), Comparison("semantics", "host", samples=2)]
    assert VerifyReport("m", "host", 2, tuple(pairs), None).identical
    for pair in pairs:
        pair.mismatches = 1
        assert not VerifyReport("m", "host", 2, tuple(pairs), None).identical
        pair.mismatches = 0
