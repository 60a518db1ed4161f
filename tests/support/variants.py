"""Programs that use each plan a tuned kernel offers, not only the one the lowering would pick."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tests.support.bare_batch import run_on_bare_core
from tests.support.board_batch import M4, M7, Core, run_on_board
from tests.support.differential import count_models
from tests.support.host_batch import describe, run_on_host
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node, Op
from tinygen.lowering import lower as lowering
from tinygen.lowering import place
from tinygen.lowering.fuse import fuse
from tinygen.lowering.plan import registered_kernels
from tinygen.lowering.planner import Buffer, MemoryPlan, Overlay, aligned, plan_memory
from tinygen.lowering.program import Program
from tinygen.lowering.select import Choice, choose
from tinygen.targets.board import Board

DSP = ("c99", "dsp")
_DSP_AND_DUAL = (*DSP, "dual-issue")
Feeds = Sequence[Sequence[np.ndarray]]
"""Per sample, the model's inputs."""


def tuned(node: Node, part: str = "", isa: Sequence[str] = _DSP_AND_DUAL) -> list[Choice]:
    """Every plan of every tuned kernel that matches, each as a choice of its own.

    But for weights as code: that is much C, and test_instruction_stream.py's. Sparse convolutions only where they are
    asked for, as in test_sparse_conv_2d.py.

    Args:
        part: of the kernels' names, to leave out others.
        isa: kernels of any of these instruction sets.
    """
    found = [
        Choice(kernel, (plan,))
        for kernel in registered_kernels()
        if type(node.op) in kernel.ops and kernel.family == "tinygen" and kernel.isa in isa
        if part in kernel.name and (part or not (kernel.is_sparse and "conv_2d" in kernel.name))
        for plan in kernel.variants(node)
        if not plan.code_bytes
    ]
    return found or [choose(node, "tinygen", DSP if isa is _DSP_AND_DUAL else isa)]


@dataclass(frozen=True)
class Variant:
    """One way to compute a graph.

    Attributes:
        graph: with a name of its own.
        choices: of each layer, by its name and kind.
        index: which of them, counted modulo theirs; layers go through theirs at the same time.
    """

    graph: Graph
    choices: Mapping[tuple[str, type[Op]], list[Choice]]
    index: int
    part: str
    isa: Sequence[str] = _DSP_AND_DUAL

    def pick(self, node: Node, *_: object) -> Choice:
        """What stands for `choose` in the lowering.

        Raises:
            UnsupportedError: activations are packed; these plans are for bytes.
        """
        if any(tensor is not None and tensor.code_bits for tensor in (*node.inputs, *node.outputs)):
            raise UnsupportedError("variants are for bytes")
        choices = self.choices.get((node.op.name, type(node.op))) or tuned(node, self.part, self.isa)
        return choices[self.index % len(choices)]


def each_variant(
    graph: Graph,
    most: int | None = None,
    part: str = "",
    isa: Sequence[str] = _DSP_AND_DUAL,
    turn: tuple[int, int] = (0, 1),
) -> Iterator[Variant]:
    """The graph once per variant of the layer that has most.

    Args:
        most: only so many, spread over all of them.
        part, isa: see `tuned`.
        turn: of those, from which on, and one in how many.
    """
    nodes = fuse(graph, "tinygen", isa).nodes()
    choices = {(node.op.name, type(node.op)): tuned(node, part, isa) for node in nodes}
    count = max(len(found) for found in choices.values())
    found = np.unique(np.linspace(0, count - 1, min(most or count, count)).astype(int)).tolist()
    first, step = turn
    for index in found[first % min(step, len(found)) :: step]:
        yield Variant(replace(graph, name=f"{graph.name}_v{index}"), choices, index, part, isa)


def program(variant: Variant, isa: Sequence[str] | None = None, *, guarded: bool = True) -> Program:
    """The variant's program.

    Args:
        guarded: nothing shares memory, and by turns the last layer's scratch and the output end where the arena does:
            AddressSanitizer sees what reaches beyond. Else memory is planned as usual, buffers in place and all.
    """
    last = variant.graph.outputs[0] if variant.index % 2 == 0 else ""
    planner = partial(_apart, last=last) if guarded else plan_memory
    isa = isa or (DSP if variant.isa is _DSP_AND_DUAL else variant.isa)
    with patch.object(lowering, "choose", variant.pick), patch.object(place, "plan_memory", planner):
        return lowering.lower(variant.graph, isa=isa, mixed=())


def _apart(buffers: Sequence[Buffer], overlays: Sequence[Overlay] = (), *, last: str = "", **_: int) -> MemoryPlan:
    """One buffer behind the other, in order, scratch at the end; but the buffer of that name is the last."""
    offsets, end = [0] * len(buffers), 0
    order = sorted(range(len(buffers)), key=lambda index: buffers[index].name == last)
    for index in order:
        offsets[index] = end
        end += aligned(buffers[index].size)
    size = offsets[order[-1]] + buffers[order[-1]].size
    return MemoryPlan(tuple(offsets), size, size, False)


def check_variants(
    graphs: Sequence[Graph],
    feeds: Sequence[Feeds],
    *,
    cores: Sequence[tuple[Core | Board, tuple[str, ...]]] = ((M7, (*DSP, "dual-issue")), (M4, DSP)),
    level: str = "",
    compiler: str = "zig",
    host: bool = True,
    most: int | None = None,
    part: str = "",
    in_turn: bool = False,
    isa: Sequence[str] = _DSP_AND_DUAL,
    turns: int = 1,
    turn: int = 0,
) -> int:
    """Asserts that every variant gives what the semantics say: on the host under sanitizers, and on emulated cores.

    Args:
        cores: emulated ones, with their instruction sets; a Board is a bare core.
        most, part, isa: which variants, see `each_variant`.
        in_turn: every variant runs on one of the cores, not on each of them.
        turns: a graph is computed by one in so many of these variants, others by others; which graphs by which follows
            Thue and Morse's sequence, so that no cycle of shapes or encodings keeps step with it.
        turn: of the first graph.

    Returns:
        how many programs were compared.
    """
    batch = [
        _Case(variant, rows, [evaluate(graph, sample) for sample in rows])
        for number, (graph, rows) in enumerate(zip(graphs, feeds, strict=True))
        for variant in each_variant(graph, most, part, isa, (number.bit_count() + turn, turns))
    ]
    if host:
        _compare("host", batch, [program(case.variant) for case in batch], run_on_host)
    for number, (core, of_core) in enumerate(cores):
        share = batch[number % len(cores) :: len(cores)] if in_turn else batch
        if share:
            programs = [program(case.variant, of_core, guarded=False) for case in share]
            if isinstance(core, Board):
                run = partial(run_on_bare_core, board=core, compiler=compiler)
            else:
                run = partial(run_on_board, core=core, level=level, compiler=compiler)
            _compare(f"{core} {compiler} {level}", share, programs, run)
    kinds = [f"variants of {case.variant.graph.ops[-1].KIND}" for case in batch]
    count_models([case.variant.graph for case in batch], kinds)
    return len(batch)


@dataclass(frozen=True)
class _Case:
    variant: Variant
    feeds: Feeds
    expected: Sequence[Sequence[np.ndarray]]


def _compare(
    who: str,
    batch: Sequence[_Case],
    programs: Sequence[Program],
    run: Callable[[Sequence[Program], Sequence[Feeds], Path], list[list[list[np.ndarray]]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = run(programs, [case.feeds for case in batch], Path(folder))
    for case, one, rows in zip(batch, programs, results, strict=True):
        for want, got in zip(case.expected, rows, strict=True):
            for a, b in zip(want, got, strict=True):
                wrong = int((a != b).sum())
                assert np.array_equal(a, b), f"{who}: {wrong} of {a.size} differ\n{_describe(one)}"


def _describe(one: Program) -> str:
    contexts = "\n".join(f"    {dict(step.plan.context)}" for step in one.steps)
    return f"{one.graph.name}\n{describe(one)}\n{contexts}"
