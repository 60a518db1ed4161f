"""Functions and reductions on cores without an FPU: what stands for its instructions there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.differential import test_elementary, test_function_of_two, test_reduce, test_unary
from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M0PLUS, M4_SOFT, Core, run_on_board
from tests.support.cases import Case, models
from tests.support.differential import assert_same, random_codes
from tests.support.tflite_builder import build
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.targets.bare_cores import bare_cores
from tinygen.targets.board import Board

_CASES: dict[str, Case] = {
    name: case
    for module in (test_elementary, test_function_of_two, test_reduce, test_unary)
    for name, (case, _) in module.CASES.items()
}
_ISA = {M4_SOFT: ("c99", "dsp"), M0PLUS: bare_cores()["cortex-m0plus"].isa}


@pytest.mark.parametrize(
    "core", [M4_SOFT, M0PLUS, bare_cores()["esp32c3-core"]], ids=["cortex-m4-soft", "cortex-m0plus", "esp32c3"]
)
def test_cores_without_fpu(core: Core | Board, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    specs = [spec for name, case in _CASES.items() for spec in models(f"soft {name}", case, 1)]
    graphs = [read_tflite(build(spec), name=f"m{index}") for index, spec in enumerate(specs)]
    feeds = [[[random_codes(t, rng) for t in spec.runtime_inputs]] for spec in specs]
    isa = core.isa if isinstance(core, Board) else _ISA[core]
    programs = [lower(graph, family="tinygen", isa=isa) for graph in graphs]
    run = partial(run_on_bare_core, board=core) if isinstance(core, Board) else partial(run_on_board, core=core)
    for spec, graph, feed, [got] in zip(specs, graphs, feeds, run(programs, feeds, tmp_path), strict=True):
        assert_same(evaluate(graph, feed[0]), got, graph, spec.label)
