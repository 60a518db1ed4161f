"""Branches share memory: the arena is that of the largest; and what of a program says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.branches import gated, layers
from tests.support.gates import exits
from tinygen.emit.model import emit_model
from tinygen.emit.sharing import weight_bytes
from tinygen.errors import ModelError
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network, Switch
from tinygen.lowering.lower import lower
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.program import Program, Step, all_constants
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp")


def branch_step(program: Program) -> Step:
    return next(step for step in program.steps if isinstance(step.node.op, Branch))


def with_bodies(*bodies: str) -> Graph:
    return simplify(gated(size=16, bodies=bodies))


def test_the_arena_is_that_of_the_largest_branch() -> None:
    alone = [lower(with_bodies(body, body), isa=ISA) for body in ("relu", "conv", "deep")]
    both = lower(with_bodies("relu", "deep", "conv", "deep"), isa=ISA)
    sizes = [inner.memory.arena_bytes for inner in branch_step(both).branches]
    assert branch_step(both).plan.scratch_bytes == max(sizes) < sum(sizes)
    # The gate reads the same image, and is no larger.
    assert both.memory.arena_bytes == max(program.memory.arena_bytes for program in alone)


def test_cycles_are_those_of_the_slowest() -> None:
    cycles = {body: branch_step(lower(with_bodies(body), isa=ISA)).plan.cycles for body in ("relu", "deep")}
    step = branch_step(lower(with_bodies("relu", "deep"), isa=ISA))
    assert cycles["relu"] < cycles["deep"] == pytest.approx(step.plan.cycles, rel=0.2)
    macs = [sum(node.op.macs(node) for node in graph.nodes()) for graph in step.node.op.branches]  # type: ignore[attr-defined]
    assert step.node.op.macs(step.node) == max(macs) > 0


def test_layers_in_branches_have_names_and_constants() -> None:
    program = lower(with_bodies("conv", "deep"), isa=ISA)
    step = branch_step(program)
    assert step.branches[0].layers[0].node.op.name == "experts/0/conv_2d_0"
    emitted = emit_model(program, "test")
    kernels, weights = emitted.files["gated_kernels.c"], emitted.files["gated_weights.c"]
    assert "/* experts/1/conv_2d_0 by " in kernels and "gated_experts_1_conv_2d_0_weights" in kernels
    symbols = emitted.switches[0].arrays
    assert all(f" {symbol}[" in weights for symbol in symbols)
    assert {c.data.nbytes for c in all_constants(step)} <= set(symbols.values())
    assert weight_bytes(NetworkProgram.of(program)) == sum(symbols.values())


def test_kernels_in_branches_are_given_by_name() -> None:
    graph = with_bodies("conv", "deep")
    fast = branch_step(lower(graph, isa=ISA)).branches[1].layers[0]
    assert fast.kernel.name != "conv_2d_s8"
    named = lower(graph, isa=ISA, kernels={"experts/1/conv_2d_0": "conv_2d_s8"})
    first, second = (inner.layers[0] for inner in branch_step(named).branches)
    assert second.kernel.name == "conv_2d_s8" and first.kernel.name == fast.kernel.name


def test_equal_branches_share_kernels_and_constants() -> None:
    graph = gated(bodies=("conv", "relu"))
    *before, op = graph.ops
    assert isinstance(op, Branch)
    twice = replace(graph, ops=(*before, replace(op, branches=(*op.branches, op.branches[0]))))
    once, more = (emit_model(lower(simplify(one), isa=ISA), "t") for one in (graph, twice))
    assert once.switches[0].arrays.values() != {} and len(more.switches[0].arrays) == len(once.switches[0].arrays)


def test_passes_go_into_branches() -> None:
    """A layer whose output nothing reads is gone; what the branch takes and gives stays."""
    body = layers("conv", "int8", (1, 8, 8, 4), "int32", 3)
    dead = replace(body.ops[0], name="dead", outputs=("dead",))
    tensors = {**body.tensors, "dead": replace(body.tensors[body.ops[0].outputs[0]], name="dead")}
    graph = gated()
    *before, op = graph.ops
    assert isinstance(op, Branch)
    op = replace(op, branches=(replace(body, tensors=tensors, ops=(*body.ops, dead)),))
    (*_, after) = simplify(replace(graph, ops=(*before, op))).ops
    assert isinstance(after, Branch)
    assert [one.name for one in after.branches[0].ops] == [one.name for one in body.ops]
    assert after.branches[0].inputs == body.inputs and after.branches[0].outputs == body.outputs


def test_thresholds_of_switches_have_names_of_their_own() -> None:
    graph = simplify(exits())
    renamed = tuple(replace(state, threshold=f"1_{state.threshold}") for state in graph.states)
    network = Network("net", (Switch("a", replace(graph, states=renamed)), Switch("a_1", graph)))
    with pytest.raises(ModelError, match="called A_1_EXIT_1 in the C"):
        lower_network(network, isa=ISA)


@pytest.mark.parametrize("family", ["cmsis-nn", "esp-nn"])
def test_libraries_are_not_called_in_branches(family: str) -> None:
    graph = simplify(gated())
    only = replace(graph, ops=graph.ops[-1:], inputs=("index", "x"))
    only = replace(only, tensors={n: t for n, t in only.tensors.items() if n in ("index", "x", "y")})
    program = lower(only, family=family, isa=ISA)
    families = {step.kernel.family for inner in branch_step(program).branches for step in inner.layers}
    assert families <= {"tinygen", "reference"} and np.prod(only.tensors["x"].shape) > 0
