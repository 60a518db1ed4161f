"""Damaged model files: a clear error or a model that works, never a traceback, a hang or a half-made directory."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinygen.demo import MODEL
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

CONTENT = MODEL.read_bytes()
SECONDS = 20.0


def outcome(content: bytes) -> str:
    """ "error" for a TinygenError, "fine" for a model that goes all the way to a program."""
    begun = time.monotonic()
    try:
        graph = simplify(read_tflite(content))
        if sum(node.op.macs(node) for node in graph.nodes()) < 1 << 27:
            evaluate(graph, [np.zeros(graph.tensors[n].shape, graph.tensors[n].dtype) for n in graph.inputs])
        lower(graph, isa=("c99", "dsp"))
        result = "fine"
    except TinygenError as error:
        assert error.what
        assert error.where
        result = "error"
    assert time.monotonic() - begun < SECONDS
    return result


def mutate(rng: random.Random) -> bytes:
    """One to eight bytes changed, most of them among the tables rather than the weights."""
    data = bytearray(CONTENT)
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        position = rng.randrange(len(data))
        if rng.random() < 0.7:
            position = rng.choice([rng.randrange(2000), len(data) - 1 - rng.randrange(9000)])
        data[position] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(data)


def run_mutations(first: int, count: int) -> Counter[str]:
    with np.errstate(all="ignore"):
        return Counter(outcome(mutate(random.Random(seed))) for seed in range(first, first + count))


def test_mutations() -> None:
    results = run_mutations(0, 80)
    print(dict(results))
    assert results["error"] > 20


@pytest.mark.long
def test_many_mutations() -> None:
    results = run_mutations(10_000, 2000)
    print(dict(results))
    assert results["error"] > 400


def test_truncations() -> None:
    lengths = sorted({0, 1, 4, 7, 8, 9, *range(10, len(CONTENT), 97)})
    results = Counter(outcome(CONTENT[:length]) for length in lengths)
    assert results["fine"] == 0, results


def test_random_bytes_behind_the_mark() -> None:
    for seed in range(100):
        noise = random.Random(seed).randbytes(3000)
        assert outcome(noise[:4] + b"TFL3" + noise[8:]) == "error"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b"not a model at all", CONTENT[:5000]])
def test_build_leaves_nothing_behind(tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "bad.tflite"
    model.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        build(model, tmp_path / "out", BuildOptions())
    assert "bad.tflite" in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tflite"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "nothing.tflite")


def test_unknown_operator() -> None:
    """An operator we lack is named, with its shapes and the page of those that there are."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from tests.support.tflite_builder import ModelSpec, TensorSpec
    from tests.support.tflite_builder import build as build_model

    spec = ModelSpec(BuiltinOperator.BITCAST, [TensorSpec((1, 7), "float32")], [TensorSpec((1, 7), "float32")])
    with pytest.raises(UnsupportedError) as caught:
        read_tflite(build_model(spec), where="net.tflite")
    text = str(caught.value)
    assert "BITCAST is not supported" in text
    assert "float32 [1,7]" in text
    assert "docs/reference/operators.md" in caught.value.fix
