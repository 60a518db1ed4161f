"""Models whose inputs and outputs are not simply what the first operator reads and the last one writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.differential import compare_models, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.cli import main
from tinygen.errors import ModelError
from tinygen.frontends.tflite import read_tflite

X = TensorSpec((1, 4), "int8", 0.1, 3, name="x")
UNUSED = TensorSpec((2, 3), "float32", name="unused")
Y = TensorSpec((1, 4), "int8", 0.1, 3, name="y")
FACTORS = TensorSpec((1, 4), "int8", 0.2, -3, data=np.array([[1, -2, 100, -128]], np.int8), name="factors")
WORDS = TensorSpec((3, 1), "int32", data=np.array([[-(2**31)], [7], [2**31 - 1]], np.int32), name="words")
SCALAR = TensorSpec((), "float32", data=np.array(1.5, np.float32), name="scalar")
LONG = TensorSpec((5,), "int64", data=np.arange(5) << 40, name="long")

ADD = ModelSpec(BuiltinOperator.ADD, [X, FACTORS], [Y], version=2, **options("AddOptions"))
SQUARE = ModelSpec(BuiltinOperator.MUL, [FACTORS, FACTORS], [Y], version=2, **options("MulOptions"))

LEGAL: dict[str, tuple[list[ModelSpec], list[TensorSpec], list[TensorSpec]]] = {
    "a constant that an operator reads": ([ADD], [X], [Y, FACTORS]),
    "constants that nothing reads": ([ADD], [X], [WORDS, Y, SCALAR, LONG]),
    "a constant alone": ([ADD], [X], [FACTORS]),
    "a constant twice": ([ADD], [X], [WORDS, Y, WORDS]),
    "the input, too": ([ADD], [X], [Y, X]),
    "the input alone": ([], [X], [X]),
    "an output twice": ([ADD], [X], [Y, Y]),
    "an input that nothing reads": ([ADD], [UNUSED, X], [Y]),
    "computed from constants": ([SQUARE], [X], [Y, X]),
}


def test_outputs_that_no_operator_writes() -> None:
    rng = np.random.default_rng(5)
    models = [build_chain(specs, inputs=inputs, outputs=outputs) for specs, inputs, outputs in LEGAL.values()]
    samples = [[[random_codes(t, rng) for t in inputs] for _ in range(3)] for _, inputs, _ in LEGAL.values()]
    compare_models(models, samples, list(LEGAL))


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [([X, FACTORS], [Y], "input 'factors' is a constant"), ([X], [], "has no outputs")],
)
def test_refused(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refusal:
        read_tflite(build_chain([ADD], inputs=inputs, outputs=outputs), where="net.tflite")
    assert str(refusal.value).startswith("net.tflite: ")
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("spec", "inputs", "outputs", "reason"), [(ADD, [X], [], "has no outputs"), (SQUARE, [], [Y], "has no inputs")]
)
def test_refused_without_a_traceback(
    spec: ModelSpec,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model, out = tmp_path / "net.tflite", tmp_path / "out"
    model.write_bytes(build_chain([spec], inputs=inputs, outputs=outputs))
    monkeypatch.setattr("sys.argv", ["tinygen", "build", str(model), "--board", "f746zg", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capfd.readouterr().err
    assert reason in said.replace("\n", " ")
    assert "Traceback" not in said
    assert not out.exists()
