"""Models on a bare core: the same codes as the semantics, and figures that repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.streaming_models import SMALL
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.bench.bare_models import BareModels
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import BoardError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain


def test_two_families_side_by_side() -> None:
    board = load_board("f746zg")
    programs = [
        lower(simplify(load_model(MODEL, f"digits_{family}")), family=family, isa=board.isa)
        for family in ("tinygen", "reference")
    ]
    bare = BareModels(programs, board, find_toolchain("zig", board), strict=True)
    graph = load_model(MODEL)
    tensor = graph.tensors[graph.inputs[0]]
    images = load_test_digits()[0][:3]
    counts: list[list[int]] = [[], []]
    for image in images:
        sample = [image.astype(tensor.dtype).reshape(tensor.shape)]
        want = evaluate(graph, sample)[0]
        for index in (0, 1):
            runs = [bare.run(index, sample) for _ in range(2)]
            np.testing.assert_array_equal(runs[0].outputs[0], want)
            assert runs[0].instructions == runs[1].instructions
            counts[index].append(runs[0].instructions)
    assert max(counts[0]) < min(counts[1]), "tuned kernels run fewer instructions than plain ones"


def test_an_arena_too_small_is_noticed() -> None:
    """The arena ends where memory ends: what a kernel writes beyond it is an error."""
    x, y = TensorSpec((1, 8, 8, 1), "int8", 0.1, 0), TensorSpec((1, 4, 4, 1), "int8", 0.1, 0)
    window = options("Pool2DOptions", filterHeight=2, filterWidth=2, strideH=2, strideW=2)
    spec = ModelSpec(BuiltinOperator.MAX_POOL_2D, [x], [y], **window, version=2)
    board = load_board("f746zg")
    program = lower(simplify(read_tflite(build(spec), name="pool")), isa=board.isa)
    assert program.memory.arena_bytes == 64 + 16 and program.offsets[program.outputs[0].name] == 64
    small = replace(program, memory=replace(program.memory, arena_bytes=72))
    bare = BareModels([small], board, find_toolchain("zig", board))
    with pytest.raises(BoardError, match="beyond the end of arena") as caught:
        bare.run(0, [np.zeros(x.shape, np.int8)])
    assert "pool_kernels.c:" in caught.value.where


def test_every_run_of_a_streaming_model_is_its_first() -> None:
    board = load_board("f746zg")
    graph = simplify(read_tflite(SMALL["accumulator"](), name="accumulator"))
    bare = BareModels([lower(graph, isa=board.isa)], board, find_toolchain("zig", board))
    sample = [np.full((1, 4), 10, np.int8)]
    for _ in range(2):
        np.testing.assert_array_equal(bare.run(0, sample).outputs[0], evaluate(graph, sample)[0])
