"""Programs that use each plan a tuned kernel offers, not only the one the lowering would pick."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tests.support.board_batch import M4, M7, Core, run_on_board
from tests.support.host_batch import run_on_host
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.lowering import lower as lowering
from tinygen.lowering import place
from tinygen.lowering.fuse import fuse
from tinygen.lowering.plan import registered_kernels
from tinygen.lowering.planner import Buffer, MemoryPlan, Overlay, aligned, plan_memory
from tinygen.lowering.program import Program
from tinygen.lowering.select import Choice, choose

DSP = ("c99", "dsp")
Feeds = Sequence[Sequence[np.ndarray]]
"""Per sample, the model's inputs."""


def tuned(node: Node, part: str = "") -> list[Choice]:
    """Every plan of every tuned kernel that matches, each as a choice of its own.

    But for weights as code: that is much C, and test_instruction_stream.py's. Sparse convolutions only where they are
    asked for, as in test_sparse_conv_2d.py.

    Args:
        part: of the kernels' names, to leave out others.
    """
    found = [
        Choice(kernel, (plan,))
        for kernel in registered_kernels()
        if kernel.op is type(node.op) and kernel.family == "tinygen" and kernel.isa in (*DSP, "dual-issue")
        if part in kernel.name and (part or not (kernel.is_sparse and "conv_2d" in kernel.name))
        for plan in kernel.variants(node)
        if not plan.code_bytes
    ]
    return found or [choose(node, "tinygen", DSP)]


def each_variant(graph: Graph, most: int | None = None, part: str = "") -> Iterator[Graph]:
    """The graph once per variant of the layer that has most; other layers go through theirs at the same time.

    Each has a name of its own; give it to `program`.

    Args:
        most: only so many, spread over all of them.
        part: see `tuned`.
    """
    count = max(len(tuned(node, part)) for node in fuse(graph, "tinygen", DSP).nodes())
    for index in np.unique(np.linspace(0, count - 1, min(most or count, count)).astype(int)):
        yield replace(graph, name=f"{graph.name}_v{index}")


def program(graph: Graph, isa: Sequence[str] = DSP, *, guarded: bool = True, part: str = "") -> Program:
    """The program of one graph that `each_variant` gave: layer by layer its variant, counted modulo theirs.

    Args:
        guarded: nothing shares memory, and the last layer's scratch ends where the arena does: AddressSanitizer sees
            what reaches beyond. Else memory is planned as usual, buffers in place and all.
        part: see `tuned`.
    """
    index = int(graph.name.rpartition("_v")[2])

    def pick(node: Node, family: str, _: Sequence[str]) -> Choice:
        choices = tuned(node, part)
        return choices[index % len(choices)]

    planner = _apart if guarded else plan_memory
    with patch.object(lowering, "choose", pick), patch.object(place, "plan_memory", planner):
        return lowering.lower(graph, isa=isa)


def _apart(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = (), **_: int) -> MemoryPlan:
    """One buffer behind the other, in order; scratch comes last."""
    offsets, end = [], 0
    for buffer in buffers:
        offsets.append(end)
        end += aligned(buffer.size)
    size = offsets[-1] + buffers[-1].size
    return MemoryPlan(tuple(offsets), size, size, False)


def check_variants(
    graphs: Sequence[Graph],
    feeds: Sequence[Feeds],
    *,
    cores: Sequence[tuple[Core, tuple[str, ...]]] = ((M7, (*DSP, "dual-issue")), (M4, DSP)),
    level: str = "-O2",
    compiler: str = "zig",
    host: bool = True,
    most: int | None = None,
    part: str = "",
) -> int:
    """Asserts that every variant gives what the semantics say: on the host under sanitizers, and on emulated cores.

    Args:
        most, part: which variants, see `each_variant`.

    Returns:
        how many programs were compared.
    """
    expected = [[evaluate(graph, sample) for sample in rows] for graph, rows in zip(graphs, feeds, strict=True)]
    cases = [(variant, i) for i, graph in enumerate(graphs) for variant in each_variant(graph, most, part)]

    def compare(who: str, run: Callable[[Path], list[list[list[np.ndarray]]]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            results = run(Path(folder))
        for (graph, i), rows in zip(cases, results, strict=True):
            for want, got in zip(expected[i], rows, strict=True):
                for a, b in zip(want, got, strict=True):
                    wrong = int((a != b).sum())
                    assert np.array_equal(a, b), f"{who}: {wrong} of {a.size} differ\n{_describe(graph, part)}"

    samples = [feeds[i] for _, i in cases]
    if host:
        compare("host", lambda folder: run_on_host([program(graph, part=part) for graph, _ in cases], samples, folder))
    for core, isa in cores:
        programs = [program(graph, isa, guarded=False, part=part) for graph, _ in cases]
        compare(
            f"{core} {compiler} {level}",
            lambda folder, p=programs, c=core: run_on_board(p, samples, folder, c, level, compiler),  # type: ignore[misc]
        )
    return len(cases)


def _describe(graph: Graph, part: str) -> str:
    steps = program(graph, part=part).steps
    return f"{graph.name}\n" + "\n".join(f"{s.kernel.name}: {s.node.describe()} {dict(s.plan.context)}" for s in steps)
