"""Costs of networks with branches: worst, best, and expected over a data set."""

from __future__ import annotations

import pytest

from tests.support.branches import gated
from tests.support.gates import exits, images
from tinygen.ir.paths import all_paths, count_paths
from tinygen.lowering.costs import costs_of, has_branches, path_cost
from tinygen.lowering.layers import all_layers
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp")


def test_extremes_are_those_of_paths() -> None:
    for graph in (simplify(exits()), simplify(gated())):
        program = lower(graph, isa=ISA)
        costs = costs_of(program)
        paths = [path_cost(program, path) for path in all_paths(graph)]
        assert has_branches(program) and costs.expected is None and not costs.paths
        for part in ("cycles", "macs"):
            values = [getattr(cost, part) for cost in paths]
            assert min(values) < max(values) == pytest.approx(getattr(costs.worst, part))
            assert getattr(costs.best, part) == pytest.approx(min(values))


def test_the_worst_is_what_the_kernels_were_chosen_by() -> None:
    program = lower(simplify(exits()), isa=ISA)
    costs = costs_of(program)
    assert costs.worst.cycles == pytest.approx(sum(step.plan.cycles for step in program.steps))
    assert costs.worst.macs == sum(step.node.op.macs(step.node) for step in program.steps)


def test_expected_over_a_data_set() -> None:
    graph = simplify(exits())
    program = lower(graph, isa=ISA)
    counts = count_paths(graph, images())
    costs = costs_of(program, counts)
    mean = sum(path_cost(program, path).cycles * n for path, n in counts.items()) / len(images())
    assert costs.expected is not None and costs.expected.cycles == pytest.approx(mean)
    assert costs.best.cycles < mean < costs.worst.cycles
    assert sum(one.share for one in costs.paths) == pytest.approx(1)
    assert [one.share for one in costs.paths] == sorted((one.share for one in costs.paths), reverse=True)


def test_measured_cycles() -> None:
    """Layers as an emulated board would count them: each 100."""
    program = lower(simplify(exits()), isa=ISA)
    (path, *_) = all_paths(simplify(exits()))
    inner = program.steps[-1].branches[0]
    ran = len(program.layers) + len(inner.layers) + len(inner.layers[-1].branches[0].layers)
    cycles = [100.0] * len(list(all_layers(program)))
    assert path_cost(program, path, cycles).cycles == 100 * ran
    assert costs_of(program, None, cycles).worst.cycles == 100 * ran


def test_layers_are_numbered_as_they_finish() -> None:
    program = lower(simplify(exits()), isa=ISA)
    layers = list(all_layers(program))
    assert [layer.number for layer in layers] == list(range(len(layers)))
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names) and names[-1] == "first/1"
    order = ["first/0/gate", "first/0/second/0", "first/0/second/1", "first/0", "first/1"]
    assert [name for name in names if name in order] == order
    assert sum(layer.macs for layer in layers) > costs_of(program).worst.macs


def test_networks_without_branches_cost_the_same_always() -> None:
    graph = exits()
    head = graph.ops[:-3]
    program = lower(simplify(type(graph)("head", graph.tensors, head, graph.inputs, head[-1].outputs)), isa=ISA)
    costs = costs_of(program, {(): 5})
    assert not has_branches(program) and costs.worst == costs.best and costs.expected == costs.worst
    assert costs.worst.cycles == sum(step.plan.cycles for step in program.layers)
