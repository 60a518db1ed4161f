"""Table 3.1 of Raju's thesis from graphs alone, and what graphs with whole channels, heads and routers execute."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tinygen.bench.gated_networks import EXPERTS, IMAGE, M_CIFAR_NET, ConvLayer, Method, gated_network
from tinygen.ir.gated import gated_layers, gated_macs, macs_at

TABLE = {"0.9": 145.5, "0.7": 88.3, "0.5": 45.3, "0.3": 16.5, "0.25": 11.5}
"""Densities to millions of MAC, feature boosting and suppression over 4 experts (Raju 2022, table 3.1)."""
WHOLE = 174_299_904


def _network(density: str | None, experts: int = 0) -> tuple[int, Fraction]:
    kept = None if density is None else Fraction(density)
    graph = gated_network("m", M_CIFAR_NET, IMAGE, Method(kept, experts))
    layers = gated_layers(graph)
    assert len(layers) == len(M_CIFAR_NET)
    return gated_macs(graph).executed, macs_at(layers, kept or Fraction(1))


def test_the_static_network() -> None:
    graph = gated_network("m", M_CIFAR_NET, IMAGE, Method())
    assert sum(node.op.macs(node) for node in graph.nodes()) == WHOLE + 1920 and gated_layers(graph) == ()


@pytest.mark.parametrize("density", TABLE)
def test_table_3_1(density: str) -> None:
    """The thesis does not round channels, and counts no heads: both together are below 1 million."""
    executed, modelled = _network(density, EXPERTS)
    assert round(float(modelled) / 1e6, 1) == TABLE[density]
    alone, without = _network(density)
    # Mixing costs 2.94 % at a density of one half (section 3.4.2).
    if density == "0.5":
        assert round(100 * float(modelled / without - 1), 2) == 2.94
    assert 0 < executed - modelled < 1.8e6 and 0 < alone - without < 1.8e6


def test_experts_without_gates() -> None:
    executed, modelled = _network(None, EXPERTS)
    assert modelled == WHOLE + EXPERTS * 1_291_968
    assert executed == modelled + 3596 + 1920  # routers, classes


def test_live_channels_are_counted_whole() -> None:
    """5 of 9 and 3 of 5 channels at one half: k = ceil(density * channels)."""
    layers = (ConvLayer(9), ConvLayer(5, stride=2))
    macs = gated_macs(gated_network("m", layers, (8, 6, 3), Method(Fraction(1, 2), 2)))
    first, second = 48 * 9 * 5 * 3, 12 * 9 * 3 * 5
    assert macs.convolutions == first + second
    assert macs.mixing == 2 * (first // 48 + second // 12)
    assert macs.gates == 3 * 9 + 9 * 5 + 2 * (3 + 9) and macs.others == 5 * 10
    assert macs.whole == 48 * 81 * 3 + 12 * 45 * 9
