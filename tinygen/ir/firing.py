"""Statistics of gates over a data set: how often each channel is live, and how many MAC inferences execute.

What is counted is that a channel was chosen, not that its activations differ from 0 (filter utilisation, Raju 2022,
section 3.4.3; unique clusters and core filters, Elkerdawy 2022, section 6.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.gated import GatedMacs, lists_of, macs_of
from tinygen.ir.graph import Graph
from tinygen.ir.ops.masked_conv_2d import counted
from tinygen.ir.paths import trace


@dataclass(frozen=True, eq=False)
class Firing:
    """One gate over a data set.

    Attributes:
        channels: its list, a tensor.
        counts: for how many inputs each channel was live; int64 [C].
        live: how many channels were live, for each input that reached the gate; int64 [N].
        clusters: number of distinct sets of live channels.
    """

    channels: str
    counts: np.ndarray
    live: np.ndarray
    clusters: int

    @property
    def never(self) -> np.ndarray:
        """Channels that were live for no input."""
        return np.flatnonzero(self.counts == 0)

    @property
    def core(self) -> np.ndarray:
        """Channels that were live for every input."""
        return np.flatnonzero(self.counts == len(self.live))


@dataclass(frozen=True, eq=False)
class Firings:
    """All gates of a graph, and what each input executed."""

    gates: tuple[Firing, ...]
    macs: tuple[GatedMacs, ...]


def firings(graph: Graph, samples: Iterable[Sequence[np.ndarray]]) -> Firings:
    """Runs the integer semantics over inputs; states are reset before each."""
    encodings = dict(lists_of(graph))
    masks: dict[str, list[np.ndarray]] = {name: [] for name in encodings}
    macs = []
    for sample in samples:
        values = trace(graph, sample).values
        macs.append(macs_of(graph, values))
        for name in masks.keys() & values.keys():
            masks[name].append(_mask(encodings[name], values[name]))
    return Firings(tuple(_firing(name, rows) for name, rows in masks.items() if rows), tuple(macs))


def _mask(encoding: ChannelList, values: np.ndarray) -> np.ndarray:
    live = counted(values, encoding.of) if encoding.counted else values.reshape(-1)
    return np.isin(np.arange(encoding.of), live)


def _firing(name: str, rows: Sequence[np.ndarray]) -> Firing:
    masks = np.array(rows)
    return Firing(name, masks.sum(axis=0), masks.sum(axis=1), len(np.unique(masks, axis=0)))


def firing_json(found: Firings) -> Mapping[str, object]:
    """What `inspect --inputs` prints."""
    executed = [one.executed for one in found.macs]
    return {
        "inputs": len(executed),
        "macs": {"least": min(executed), "mean": float(np.mean(executed)), "most": max(executed)},
        "gates": [
            {
                "list": gate.channels,
                "channels": len(gate.counts),
                "live": {
                    "least": int(gate.live.min()),
                    "mean": float(gate.live.mean()),
                    "most": int(gate.live.max()),
                },
                "never": len(gate.never),
                "core": len(gate.core),
                "clusters": gate.clusters,
                "counts": gate.counts.tolist(),
            }
            for gate in found.gates
        ],
    }
