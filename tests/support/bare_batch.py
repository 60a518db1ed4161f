"""Runs many generated models on a bare core, one function call each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tests.support.board_batch import LEVEL
from tests.support.host_batch import sources_of, write_texts
from tinygen.bench import bare_models
from tinygen.bench.bare_models import BareModels
from tinygen.lowering.program import Program
from tinygen.targets.board import Board
from tinygen.targets.toolchain import build_flat, find_toolchain


def run_on_bare_core(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    board: Board,
    compiler: str = "zig",
) -> list[list[list[np.ndarray]]]:
    """Outputs per program, per sample, per model output; see `run_on_host`. Nothing is written to `folder`."""
    compiled = patch.object(bare_models, "build_flat", partial(build_flat, optimize=LEVEL.get()))
    # Nobody asks for cycles: to predict them takes longer than all the rest of an emulation that is this short.
    uncosted = patch.object(bare_models, "core_cost", return_value=None)
    with compiled, uncosted:
        models = BareModels(
            programs,
            board,
            find_toolchain(compiler, board),
            strict=True,
            write=partial(_write, marked=compiler == "zig"),
        )
    runs = [[models.run(index, sample).outputs for sample in feeds] for index, feeds in enumerate(samples)]
    return [
        [[codes.reshape(t.shape) for codes, t in zip(one, program.outputs, strict=True)] for one in rows]
        for program, rows in zip(programs, runs, strict=True)
    ]


def _write(programs: Sequence[Program], folder: Path, *, marked: bool) -> None:
    sources = sources_of(programs)
    texts = {"all_kernels.c": sources.kernels, "all_models.c": sources.models}
    write_texts(folder, {name: sources.whole(text, marked=marked) for name, text in texts.items()})
