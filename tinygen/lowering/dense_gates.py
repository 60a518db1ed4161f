"""Gated convolutions that cost more than all of their channels do: computed with all, the dead ones set to zero.

Predicted cycles decide: where the number of live channels depends on the input, the mean over a data set.
Kernels with weights as code are left out: whether there is flash for them is decided later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.softmax_numerator import SoftmaxNumerator
from tinygen.ir.ops.top_k import TopK
from tinygen.lowering.densities import at_density
from tinygen.lowering.gate_rewriting import can_be_dense, dense_graph, gated_nodes, whole_node
from tinygen.lowering.lifetimes import live_bytes
from tinygen.lowering.place import least_scratch
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.scratch import budget_without_limit, spend_scratch
from tinygen.lowering.select import COMPACT, Choice, Family, choose_without_code

_GATE = (TopK, PositiveChannels, FullyConnected, SoftmaxNumerator, ChannelStatistic)
"""What a gate is made of, from its list back to the layer's input."""
_NEVER_CHEAP = float("inf")
_ROUNDS = 8
_WORD = 4
"""Kernels fill up channels to whole words."""


class Gates(StrEnum):
    """Which gated convolutions compute their live channels alone: those where that saves cycles, all, or none."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class GateDecision:
    """How a gated convolution is computed, and the predicted cycles that decide it.

    Attributes:
        name: the layer's.
        channels: of its output, live and dead.
        live: number of live outputs; the mean over a data set where it depends on the input, None without one.
        gated: cycles of the convolution of live channels; without a data set those of all, the worst case.
        dense: cycles of the convolution of all channels, with what masks, gathers and scatters around it; None where it
            cannot be computed so.
        gate: cycles of the gate, which runs in either case.
        ungated: cycles of the same layer without a gate.
        break_even: the most live channels with which computing them alone costs less than computing all; 0 for none.
        pays_with: the most live channels with which the layer and its gate cost less than the layer without one; 0 for
            none.
        all_computed: whether all channels are computed.
        dynamic: whether the number of live channels depends on the input.
    """

    name: str
    channels: int
    live: float | None
    gated: float
    dense: float | None
    gate: float
    ungated: float
    break_even: int
    pays_with: int
    all_computed: bool
    dynamic: bool

    @property
    def costs_more(self) -> bool:
        """Whether live channels alone are computed although the layer without a gate would cost less."""
        return not self.all_computed and self.gated + self.gate > self.ungated

    @property
    def note(self) -> str:
        """A sentence where a gate saves nothing; "" otherwise."""
        if self.all_computed and self.dense is not None:
            return (
                f"{self.name}: its gate keeps {self._kept} channels, which takes about "
                f"{self.gated / self.dense:.2f} times the cycles of computing all: all are computed "
                f"(live ones alone cost less with at most {_share(self.break_even, self.channels)}; "
                f"--gates always computes them alone)"
            )
        if not self.costs_more:
            return ""
        ratio = f"{(self.gated + self.gate) / self.ungated:.2f} times the cycles of the layer without one"
        saves = f"saves cycles with at most {_share(self.pays_with, self.channels)} live"
        if self.live is None:
            return (
                f"{self.name}: with all of its {self.channels} channels live, its gate takes about {ratio}; it {saves} "
                f"(--profile decides by how many live on average)"
            )
        return f"{self.name}: its gate keeps {self._kept} channels, and takes about {ratio}: a gate {saves}"

    @property
    def _kept(self) -> str:
        kept = self.channels if self.live is None else self.live
        return f"{kept:.0f} of {self.channels}" if kept == round(kept) else f"{kept:.1f} of {self.channels}"


def _share(count: int, channels: int) -> str:
    return f"{count} channels ({100 * count / channels:.0f} %)"


@dataclass(frozen=True)
class GateCosts:
    """What decides.

    Attributes:
        family: of kernels; only tinygen's own know what they cost.
        isa: what the board's core offers.
        gates: which layers compute live channels alone.
        live: for each counted list, by its tensor, how many channels live for each input of a data set; empty without
            one.
    """

    family: str
    isa: Collection[str]
    gates: Gates = Gates.AUTO
    live: Mapping[str, np.ndarray] = field(default_factory=dict)


def dense_gates(graph: Graph, costs: GateCosts) -> tuple[Graph, tuple[GateDecision, ...]]:
    """The graph, which means the same, and how each gated layer is computed, in the graph's order. Those in branches,
    and those with mixed weights, stay as they are.
    """
    nodes = list(gated_nodes(graph))
    if not nodes:
        return graph, ()
    chooser = _Chooser(graph, nodes, costs)
    chosen = chooser.chosen()
    return dense_graph(graph, chosen), tuple(chooser.decision(node, chosen) for node in nodes)


class _Chooser:
    """Chooses layers, by the predicted cycles of the whole graph with each set of them."""

    def __init__(self, graph: Graph, nodes: list[Node], costs: GateCosts) -> None:
        self.graph, self.nodes, self.costs = graph, nodes, costs
        self.family = Family.REFERENCE if costs.family == Family.REFERENCE else Family.TINYGEN
        self.makers = {name: node for node in graph.nodes() for name in node.op.outputs}
        self._choices: dict[Hashable, Choice] = {}
        self._densities: dict[Fraction, dict[str, KernelPlan]] = {}
        self._totals: dict[frozenset[str], float] = {}
        self.plans = self._planned(graph)

    @cached_property
    def able(self) -> list[str]:
        """Layers that may be computed with all channels."""
        return [node.op.name for node in self.nodes if can_be_dense(self.graph, node.op.name)]

    def chosen(self) -> frozenset[str]:
        """Layers that are computed with all channels."""
        if self.costs.gates is Gates.NEVER:
            return frozenset(self.able)
        if self.costs.gates is Gates.ALWAYS or self.costs.family not in (Family.TINYGEN, COMPACT):
            return frozenset()
        known = frozenset(node.op.name for node in self.nodes if node.op.name in self.able and self._is_known(node))
        return min((self._descended(start, known) for start in (frozenset[str](), known)), key=self.total)

    def _is_known(self, node: Node) -> bool:
        """Whether it is known how many channels of a layer live."""
        lists = [node.optional(index) for index in (2, 3)]
        return not isinstance(node.op, MaskedConv2D) or all(t is None or t.name in self.costs.live for t in lists)

    def _descended(self, start: frozenset[str], able: frozenset[str]) -> frozenset[str]:
        """One layer after the other is changed where that makes the graph cheaper."""
        found = start
        for _ in range(_ROUNDS):
            before = found
            for name in sorted(able):
                found = min(found, found ^ {name}, key=self.total)
            if found == before:
                break
        return found

    def total(self, names: frozenset[str]) -> float:
        """Cycles of the graph with these layers computed with all channels."""
        if names not in self._totals:
            self._totals[names] = self._total(dense_graph(self.graph, names))
        return self._totals[names]

    def _total(self, graph: Graph) -> float:
        try:
            plans = self._planned(graph)
        except UnsupportedError:
            return _NEVER_CHEAP
        return sum(self._mean_cycles(node, plans[node.op.name]) for node in graph.nodes())

    def _planned(self, graph: Graph) -> dict[str, KernelPlan]:
        """By layer the plan that it is likely to get, with the scratch that is left in the graph's order."""
        choices = [self._choice(node) for node in graph.nodes()]
        live = live_bytes(graph, least_scratch(choices))
        plans = spend_scratch(choices, live, budget_without_limit(max(live, default=0)))
        return {op.name: plan for op, plan in zip(graph.ops, plans, strict=True)}

    def _choice(self, node: Node) -> Choice:
        key = (node.op, tuple(tensor and tensor.shape for tensor in (*node.inputs, *node.outputs)))
        if key not in self._choices:
            self._choices[key] = choose_without_code(node, self.family, self.costs.isa)
        return self._choices[key]

    def _mean_cycles(self, node: Node, plan: KernelPlan) -> float:
        """Cycles of a layer; the mean over the data set where they depend on the input."""
        if plan.live_cycles is None:
            return plan.cycles
        masked = isinstance(node.op, MaskedConv2D)
        lists = [node.optional(index) for index in ((3, 2) if masked else (1, 1))]
        known = [None if one is None else self.costs.live.get(one.name) for one in lists]
        if all(one is None for one in known):
            return plan.cycles
        most = (node.input(1).shape[0], node.input(1).shape[3]) if masked else (node.output.shape[-1],) * 2
        live = np.broadcast_arrays(*(n if one is None else one for one, n in zip(known, most, strict=True)))
        return float(np.mean([plan.live_cycles(float(a), float(b)) for a, b in zip(*live, strict=True)]))

    def decision(self, node: Node, chosen: frozenset[str]) -> GateDecision:
        name, channels, plan = node.op.name, node.input(1).shape[0], self.plans[node.op.name]
        gated = self._mean_cycles(node, plan)
        more = self.total(chosen | {name}) - self.total(chosen - {name}) if name in self.able else _NEVER_CHEAP
        dense = None if more == _NEVER_CHEAP else gated + more
        gate, ungated = self._gate(node), self._alike(whole_node(node), node).cycles
        at = self._costs_of_live(node)
        return GateDecision(
            name=name,
            channels=channels,
            live=self._live(node),
            gated=gated,
            dense=dense,
            gate=gate,
            ungated=ungated,
            break_even=channels if dense is None else _most_below(at, dense, channels),
            pays_with=_most_below(at, ungated - gate, channels),
            all_computed=name in chosen,
            dynamic=isinstance(node.op, MaskedConv2D),
        )

    def _live(self, node: Node) -> float | None:
        live = node.optional(3)
        if live is None or not isinstance(node.op, MaskedConv2D):
            return float(node.output.shape[3])
        known = self.costs.live.get(live.name)
        return None if known is None else float(np.mean(known))

    def _alike(self, node: Node, gated: Node) -> KernelPlan:
        """The plan of a layer, with scratch for as many rows as the gated one has: with less, weights are read more
        often.
        """
        depth, gated_depth = (-(-one.input(0).shape[3] // _WORD) * _WORD for one in (node, gated))
        room = self.plans[gated.op.name].scratch_bytes * depth // gated_depth
        return replace(choose_without_code(node, self.family, self.costs.isa), room=room).fastest

    def _costs_of_live(self, node: Node) -> Callable[[int], float]:
        """The convolution's cycles by its number of live outputs, where all gates keep the same share."""
        outputs, _, _, inputs = node.input(1).shape
        plan = self.plans[node.op.name]
        listed = [node.optional(index) is not None for index in (3, 2)]

        def at(live: int) -> float:
            share = Fraction(live, outputs)
            if plan.live_cycles is not None:
                return plan.live_cycles(
                    *(float(n * share if own else n) for n, own in zip((outputs, inputs), listed, strict=True))
                )
            plans = self._planned_at(share)
            return (
                plans[node.op.name].cycles
                if plans
                else float(plan.cycles * (live / node.output.shape[3]) ** sum(listed))
            )

        return at

    def _planned_at(self, density: Fraction) -> dict[str, KernelPlan]:
        """The likely plans at another density; empty where that cannot be."""
        if density not in self._densities:
            graph = at_density(self.graph, density)
            self._densities[density] = {} if graph is None else self._planned(graph)
        return self._densities[density]

    def _gate(self, node: Node) -> float:
        """Cycles of what makes the layer's list of live outputs."""
        live = node.optional(3)
        name, found = live.name if live is not None else "", 0.0
        for kind in _GATE:
            maker = self.makers.get(name)
            if maker is not None and isinstance(maker.op, kind):
                found += self.plans[maker.op.name].cycles
                name = maker.op.inputs[0]
        return found


def _most_below(at: Callable[[int], float], limit: float, channels: int) -> int:
    """The most live channels that cost less than `limit`, in whole words: other numbers cost as much as the next
    word, or more.
    """
    step = _WORD if channels % _WORD == 0 and channels > 2 * _WORD else 1
    low, high = 0, channels // step
    while low < high:
        middle = -(-(low + high) // 2)
        low, high = (middle, high) if at(step * middle) < limit else (low, middle - 1)
    return step * low
