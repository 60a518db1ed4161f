"""A few pieces of generated C, as they should read. Refresh with: UPDATE_GOLDEN=1 pytest tests/emit"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support import integer_layers as layers
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.demo import MODEL
from tinygen.emit.model import emit_model
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board

GOLDEN = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{name} reads differently; if that is meant: UPDATE_GOLDEN=1 pytest tests/emit"


@pytest.mark.parametrize("name", ["digits.h", "digits.c"])
def test_demo_model(name: str) -> None:
    program = lower(simplify(load_model(MODEL)), isa=("c99", "dsp"))
    check(name, emit_model(program, "digits.tflite").files[name])


def test_add_kernel() -> None:
    x, y = (TensorSpec((1, 4, 4, 3), "int8", scale, zero) for scale, zero in ((0.1, -5), (0.2, 7)))
    spec = ModelSpec(
        BuiltinOperator.ADD, [x, y], [TensorSpec((1, 4, 4, 3), "int8", 0.25, 1)], **options("AddOptions"), version=2
    )
    program = lower(simplify(read_tflite(build(spec), name="sum")))
    check("sum_kernels.c", emit_model(program, "sum.tflite").files["sum_kernels.c"])


@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_packed_products(board: str) -> None:
    """Two bits by two bits, several products in one multiplication."""
    few = layers.levels(2)
    layer = layers.conv("few", (6, 9, 8), 6, (3, 3), x=few, w=layers.levels(2, signed=True), y=few)
    program = lower(simplify(layer.graph), family="compact", isa=load_board(board).isa)
    check(f"few_{board}_kernels.c", emit_model(program, "few").files["few_kernels.c"])
