"""`tinygen inspect`: the graph as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygen.builds.arrays import Inputs, load_samples
from tinygen.builds.plain import to_plain
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_network
from tinygen.ir.branch import Branch, all_graphs, branches_of
from tinygen.ir.epilogue import Tflite
from tinygen.ir.firing import firing_json, firings
from tinygen.ir.gated import gated_macs, lists_of
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Op
from tinygen.ir.tensor import Tensor
from tinygen.ir.thresholds import thresholds_of

if TYPE_CHECKING:  # what says nothing of a board need not load the kernels
    from tinygen.verbs.options import GatesOn


def inspect_model(
    path: Path,
    inputs: Inputs | None = None,
    on: GatesOn | None = None,
    read: Callable[[Path], Network] = load_network,
) -> dict[str, Any]:
    """Returns inputs, outputs and operators of a model file, as the frontend read them.

    Where the model can be switched, they are those of its first switch, and `switches` has all.

    Args:
        path: the file.
        inputs: to count over them which channels the first switch's gates choose, as `firing`.
        on: a board, to say how each gated layer is computed there, as `gated_layers`.
        read: reads the file.

    Raises:
        ModelError, UnsupportedError: see `load_network`.
    """
    network = read(path)
    content = {
        "model": network.name,
        "source": str(path),
        "file_bytes": path.stat().st_size,
        **_graph(network.first),
    }
    if inputs is not None:
        content["firing"] = _firing(network.first, inputs)
    if network.is_switchable:
        content["switches"] = [{"name": switch.name, **_graph(switch.graph)} for switch in network]
    if on is not None:
        content["gated_layers"] = layers = _gated_layers(network, on)
        for one in content.get("switches", ()):
            one["gated_layers"] = [layer for layer in layers if layer["switch"] == one["name"]]
    return content


def _gated_layers(network: Network, on: GatesOn) -> list[dict[str, Any]]:
    from tinygen.lowering.dense_gates import Gates
    from tinygen.passes.pipeline import simplify_network
    from tinygen.targets.boards import load_board
    from tinygen.verbs.gating import gated_network, require_counts
    from tinygen.verbs.job import isa_of

    options = on.options
    if options.profile is not None:
        require_counts(network)
    isa = isa_of(load_board(options.board))
    simple = simplify_network(network)
    found = gated_network(simple, options.kernels, isa, Gates(options.gates), options.profile)
    return list(to_plain(found.entries))


def _graph(graph: Graph) -> dict[str, Any]:
    return {
        "inputs": [_tensor(graph.tensors[name]) for name in graph.inputs],
        "outputs": [_tensor(graph.tensors[name]) for name in graph.outputs],
        "states": [_tensor(graph.tensors[state.tensor]) for state in graph.states if not state.threshold],
        "thresholds": [
            {"name": one.name.upper(), "value": one.value, "low": one.low, "high": one.high, "tensor": one.tensor.name}
            for one in thresholds_of(graph)
        ],
        "macs": sum(node.op.macs(node) for node in graph.nodes()),
        **({"macs_best": _best_macs(graph)} if any(branches_of(graph)) else {}),
        **_gated(graph),
        "constant_bytes": sum(t.nbytes for one in all_graphs(graph) for t in one.tensors.values() if t.is_constant),
        "operators": _operators(graph),
    }


def _firing(graph: Graph, inputs: Inputs) -> dict[str, Any]:
    if not any(lists_of(graph)):
        raise TinygenError("has no gates that choose channels", where=graph.name, fix="Leave out --inputs.")
    samples = load_samples(inputs, [graph.tensors[name] for name in graph.inputs])
    return dict(firing_json(firings(graph, map(samples.sample, range(len(samples))))))


def _gated(graph: Graph) -> dict[str, Any]:
    """The savings by gates, for a graph that has some."""
    found = gated_macs(graph)
    return {"gated_macs": asdict(found) | {"executed": found.executed}} if found.whole else {}


def _best_macs(graph: Graph) -> int:
    """MAC of the path that has the fewest."""
    return sum(
        min(map(_best_macs, node.op.branches)) if isinstance(node.op, Branch) else node.op.macs(node)
        for node in graph.nodes()
    )


def _operators(graph: Graph) -> list[dict[str, Any]]:
    return [
        {
            "name": node.op.name,
            "op": node.op.KIND,
            "inputs": [_tensor(t) for t in node.inputs if t is not None],
            "outputs": [_tensor(t) for t in node.outputs],
            "attributes": _attributes(node.op),
            "usual": _usual(node.op),
            "macs": node.op.macs(node),
            **_branches(node.op),
        }
        for node in graph.nodes()
    ]


def _branches(op: Op) -> dict[str, Any]:
    """The operators of each branch, for an operator that has branches."""
    return {"branches": [_graph(graph) for graph in op.branches]} if isinstance(op, Branch) else {}


def _attributes(op: object) -> dict[str, Any]:
    common = {"name", "inputs", "outputs", "branches"}
    values = {key: value for key, value in _fields(op).items() if key not in common and value is not None}
    return {key: _shown(value) for key, value in values.items()}


def _fields(op: object) -> dict[str, Any]:
    """Attributes, those of TFLite's epilogue among them."""
    values = dict(vars(op))
    if isinstance(values.get("epilogue"), Tflite):
        values |= vars(values.pop("epilogue"))
    return values


def _usual(op: Any) -> list[str]:
    """Names of the attributes that have their default."""
    usual = {one.name: one.default for one in (*fields(op), *fields(Tflite))}
    return [name for name, value in _fields(op).items() if value == usual[name]]


_FEW = 4


def _shown(value: Any) -> Any:
    """A value as JSON; per-channel parameters become their number."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple) and len(value) > _FEW:
        return f"{len(value)} values"
    return value if isinstance(value, int | float | str | tuple) else str(value)


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "encoding": str(tensor.encoding),
        "constant": tensor.is_constant,
    }
