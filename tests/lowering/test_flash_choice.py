"""The frontier of flash against cycles, and the search for the firmware that fits."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tests.support.integer_layers import TERNARY, affine, conv, levels
from tests.support.switchable import small_graph
from tinygen.errors import UnsupportedError
from tinygen.lowering.code_budget import coded_layers
from tinygen.lowering.flash_choice import Option, Point, Way, fastest_within, fitting, frontier, shortlist
from tinygen.lowering.lower import choose_kernels, lower
from tinygen.lowering.select import COMPACT, choose, flash_of

DSP = ("c99", "dsp")


def random_layers(seed: int, layers: int, options: int) -> list[list[Option]]:
    """Faster options are larger, mostly; some parts are those of other layers."""
    rng = np.random.default_rng(seed)
    found = []
    for layer in range(layers):
        row = []
        for option in range(options):
            parts: dict[Hashable, int] = {(layer, option): int(rng.integers(50, 1000)), option: 300 * (option + 1)}
            kept = dict(list(parts.items())[: 1 + int(rng.integers(2))])
            row.append(Option(f"k{option}", int(rng.integers(100, 10_000)), kept))
        found.append(row)
    return found


def total(layers: list[list[Option]], chosen: tuple[int, ...]) -> tuple[int, int]:
    parts = {key: size for layer, i in zip(layers, chosen, strict=True) for key, size in layer[i].parts.items()}
    return sum(parts.values()), sum(layer[i].cycles for layer, i in zip(layers, chosen, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_frontier_is_that_of_all_choices(seed: int) -> None:
    layers = random_layers(seed, 6, 3)
    everything = sorted({total(layers, chosen) for chosen in product(range(3), repeat=6)})
    best = [pair for i, pair in enumerate(everything) if all(cycles > pair[1] for _, cycles in everything[:i])]
    points = frontier(layers)
    for point in points:
        assert total(layers, point.chosen) == (point.flash_bytes, point.cycles)
    assert [(point.flash_bytes, point.cycles) for point in points] == best


def test_what_pays_only_together_is_found_from_a_start() -> None:
    """A large array that both layers read is smaller than two small ones; neither layer alone goes over to it."""
    layers = [[Option("own", 10, {i: 100}), Option("shared", 12, {"array": 150})] for i in range(2)]
    assert frontier(layers)[0].chosen == (0, 0)
    assert [point.chosen for point in frontier(layers, [(1, 1)])] == [(1, 1), (0, 0)]


WAYS: tuple[Way, ...] = ((), (("a", 0),), (("a", 0),), (("a", 1),), (("a", 1), ("b", 0)), (("a", 1), ("b", 1)))


@pytest.mark.parametrize("seed", range(8))
def test_of_branches_the_slowest_counts(seed: int) -> None:
    """Two branches, in the second of which are two more."""
    layers = random_layers(seed, 6, 3)

    def worst(chosen: tuple[int, ...]) -> tuple[int, int]:
        trunk, first, second, third, fourth, fifth = (row[i].cycles for row, i in zip(layers, chosen, strict=True))
        return total(layers, chosen)[0], trunk + max(first + second, third + max(fourth, fifth))

    everything = sorted({worst(chosen) for chosen in product(range(3), repeat=6)})
    best = [pair for i, pair in enumerate(everything) if all(cycles > pair[1] for _, cycles in everything[:i])]
    points = frontier(layers, ways=WAYS)
    assert all(worst(point.chosen) == (point.flash_bytes, point.cycles) for point in points)
    assert [(point.flash_bytes, point.cycles) for point in points] == best


def test_equally_slow_branches_get_faster_together() -> None:
    """One of them alone would gain nothing."""
    layers = [[Option("small", 20, {(i, 0): 10}), Option("fast", 10, {(i, 1): 30})] for i in range(3)]
    points = frontier(layers, ways=[((0, i),) for i in range(3)])
    assert [point.chosen for point in points] == [(0, 0, 0), (1, 1, 1)] and points[-1].cycles == 10


def chain_of(*sizes: int) -> list[Point]:
    return [Point((i,), size, 1000 - i) for i, size in enumerate(sizes)]


def test_fastest_within() -> None:
    points = chain_of(10, 20, 30)
    assert [fastest_within(points, limit) for limit in (9, 10, 29, 30, 99)] == [-1, 0, 1, 2, 2]


@pytest.mark.parametrize("error", [-900, -40, 0, 40, 90, 900])
def test_firmware_is_never_larger_and_the_next_does_not_fit(error: int) -> None:
    points = chain_of(*range(1000, 3000, 50))

    def linked(index: int) -> int:
        return points[index].flash_bytes + error + index % 3

    low = -1
    for limit in range(900, 4000, 130):
        best, made = fitting(points, limit, linked, 6)
        assert best >= low
        low = best
        assert best < 0 or made[best] == linked(best) <= limit
        assert best == max((i for i in range(len(points)) if linked(i) <= limit), default=-1)
        assert len(made) <= 6


def test_what_cannot_be_linked_is_passed_over() -> None:
    points = chain_of(10, 20, 30, 40)
    assert fitting(points, 40, lambda i: None if i > 1 else points[i].flash_bytes, 6)[0] == 1
    assert fitting(points, 40, lambda i: None, 6) == (-1, {})
    # The smallest is tried, however many links were in vain.
    assert fitting(points, 40, lambda i: 35 if i == 0 else 50, 1)[0] == 0


def test_shortlist_has_what_families_choose() -> None:
    layer = conv("layer", (8, 8, 8), 8, (3, 3), x=affine(-128), w=TERNARY, y=affine(-128))
    (node,) = layer.graph.nodes()
    for coded in (True, False):
        found = shortlist(node, "tinygen", DSP, coded=coded)
        assert found.kernels[found.compact] == choose(node, COMPACT, DSP).kernel.name
        assert len(set(found.kernels)) == len(found.kernels)
    default = choose(node, "tinygen", DSP)
    assert default.fastest.code_bytes and default.kernel.name not in found.kernels


def test_kernels_are_those_named() -> None:
    layer = conv("layer", (8, 8, 8), 8, (3, 3), x=affine(-128), w=TERNARY, y=affine(-128))
    (node,) = layer.graph.nodes()
    for name in shortlist(node, "tinygen", DSP, coded=True).kernels:
        program = lower(layer.graph, isa=DSP, kernels={node.op.name: name})
        assert [step.kernel.name for step in program.layers] == [name]
    chosen = choose_kernels(layer.graph, "tinygen", DSP, {})
    assert not coded_layers(chosen.graph, chosen.choices, 10**6)
    assert chosen.choices[0].kernel is choose(node, COMPACT, DSP).kernel


def test_packing_of_activations_takes_no_more_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that was chosen for its size does not give way to a heavier one that reads packed codes."""
    graph = small_graph("net", levels(2, True), levels(2), channels=16)
    layer, named = graph.ops[1], "conv_2d_codes"
    chosen = choose_kernels(graph, "tinygen", DSP, {"layer1": named})
    packed = replace(graph, tensors={**graph.tensors, "y0": replace(graph.tensors["y0"], code_bits=2)})
    assert chosen.no_heavier(graph.node(layer)).kernel.name == named
    other = chosen.no_heavier(packed.node(layer))
    assert other.kernel.name != named and flash_of(other) < flash_of(chosen.choices[1])
    monkeypatch.setattr("tinygen.lowering.lower.flash_of", lambda choice: choice.kernel.name != named)
    with pytest.raises(UnsupportedError, match="more flash"):
        chosen.no_heavier(packed.node(layer))
