"""Random networks with branches, up to three within each other, as firmware: outputs, paths, layers and costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.branches import random_graph, random_samples
from tests.support.cases import draws
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.paths import Path as Way
from tinygen.ir.paths import path_of
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.run import run
from tinygen.verbs.verify import verify

COUNT = 3


def rows_of(graph: Graph, number: int) -> dict[str, np.ndarray]:
    """Every index of the outer branches, and of those within."""
    samples = [row for turn in range(2) for row in random_samples(graph, number + 100 * turn)]
    return {f"x{position}": np.stack(codes) for position, codes in enumerate(zip(*samples, strict=True))}


@pytest.mark.long
@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
def test_as_firmware(tmp_path: Path, board: str, toolchain: str) -> None:
    taken: set[Way] = set()
    for number, draw in enumerate(draws("branches as firmware", COUNT)):
        graph = random_graph(draw, "net")
        rows = rows_of(graph, number)
        model, options = MemoryModel(graph, "net"), BuildOptions(board=board, toolchain=toolchain)
        assert verify(model, rows, options).identical
        costs = build(model, tmp_path / str(number), options).manifest.costs
        assert costs is not None and costs.source == "predicted"
        for index, row in enumerate(run(tmp_path / str(number), rows).rows):
            path = path_of(graph, [codes[index] for codes in rows.values()])
            assert tuple(row.path.items()) == tuple(sorted(path))
            assert row.profile is not None and 0.9 * costs.best.cycles <= row.profile.cycles
            assert row.profile.cycles <= 1.05 * costs.worst.cycles
            taken.add(path)
    assert max(len(path) for path in taken) == 3 and len(taken) > 2 * COUNT
