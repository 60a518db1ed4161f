"""How the gated layers of a network are computed on a board."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinygen.builds.arrays import load_samples
from tinygen.builds.gates import GateEntry, gate_entry
from tinygen.errors import TinygenError
from tinygen.ir.firing import firings
from tinygen.ir.gated import lists_of
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.lowering.dense_gates import GateCosts, Gates, dense_gates


@dataclass(frozen=True)
class GatedNetwork:
    """A network as it is lowered.

    Attributes:
        network: layers that cost more gated are computed with all channels.
        entries: of all gated layers.
        notes: a sentence for each gate that saves nothing.
    """

    network: Network
    entries: tuple[GateEntry, ...] = ()
    notes: tuple[str, ...] = ()


def require_counts(network: Network) -> None:
    """
    Raises:
        TinygenError: no layer reads a list of its own length for each input: a data set decides nothing.
    """
    if not counts_channels(network):
        raise TinygenError(
            "no layer's number of live channels depends on the input", where=network.name, fix="Leave --profile out."
        )


def counts_channels(network: Network) -> bool:
    """Whether the number of live channels of any layer depends on the input."""
    return any(encoding.counted for switch in network for _, encoding in lists_of(switch.graph))


def gated_network(
    network: Network, family: str, isa: Collection[str], gates: Gates, profile: Path | None
) -> GatedNetwork:
    """Decides for each gated layer.

    Args:
        network: after the passes.
        family: of kernels.
        isa: what the board's core offers.
        profile: inputs over which live channels are counted, where their number depends on the input; None: such
            layers stay gated.

    Raises:
        TinygenError: the inputs cannot be read.
    """
    switches, entries, notes = [], [], []
    for switch in network:
        live = _live_channels(switch.graph, profile) if counts_channels(network) else {}
        graph, decisions = dense_gates(switch.graph, GateCosts(family, isa, gates, live))
        switches.append(replace(switch, graph=graph))
        label = switch.name if network.is_switchable else ""
        entries += [gate_entry(decision, label) for decision in decisions]
        notes += [f"switch {label}: {one.note}" if label else one.note for one in decisions if one.note]
    return GatedNetwork(replace(network, switches=tuple(switches)), tuple(entries), tuple(notes))


def _live_channels(graph: Graph, profile: Path | None) -> Mapping[str, np.ndarray]:
    """For each list, by its tensor, how many channels live for each input."""
    if profile is None:
        return {}
    samples = load_samples(profile, [graph.tensors[name] for name in graph.inputs])
    found = firings(graph, map(samples.sample, range(len(samples))))
    return {gate.channels: gate.live for gate in found.gates}
