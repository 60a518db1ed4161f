"""The cost of inferences of a network with branches: runs every branch on the emulated board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tinygen.builds.arrays import Samples, load_samples
from tinygen.builds.decisions import ESTIMATED, PREDICTED, SettingEntry, cost_entry, describe_costs
from tinygen.builds.manifest import Manifest, Unfinished
from tinygen.emit.cycles import cycles_header
from tinygen.errors import TinygenError, ToolchainError
from tinygen.files import write_file
from tinygen.hil.device import Device, open_device
from tinygen.ir.branch import branches_of
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.paths import Path as Way
from tinygen.ir.paths import path_of
from tinygen.lowering.costs import costs_of, has_branches, path_cost
from tinygen.lowering.layers import all_layers
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program
from tinygen.verbs.gating import counts_channels
from tinygen.verbs.settings import Setting, settings_of

_EXAMPLES = 16
"""Paths of the data set that are run on an input of their own."""


@dataclass
class DataSet:
    """The paths that inputs take.

    Attributes:
        counts: number of inputs that take each path.
        examples: the first input of each path.
        settings: of the thresholds, and the paths that the inputs take with each; see `settings_of`.
    """

    counts: dict[Way, int] = field(default_factory=dict)
    examples: dict[Way, list[np.ndarray]] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()


def read_data_sets(network: Network, inputs: Path | None) -> list[DataSet]:
    """The paths that the inputs of a file take, for each switch; empty without a file, and without branches.

    Raises:
        TinygenError: it cannot be read, or every input costs the same.
    """
    branches = any(op for switch in network for op in branches_of(switch.graph))
    if inputs is not None and not branches and not counts_channels(network):
        raise TinygenError(
            "has no branches, and no layers whose number of live channels depends on the input: every input costs the "
            "same",
            where=network.name,
            fix="Leave --profile out.",
        )
    if inputs is None or not branches:
        return [DataSet() for _ in network]
    first = network.first
    samples = load_samples(inputs, [first.tensors[name] for name in first.inputs])
    found = [_paths(switch.graph, samples) for switch in network]
    if not network.is_switchable:
        # The governor of a switchable network chooses switches.
        found[0].settings = settings_of(first, samples)
    return found


def _paths(graph: Graph, samples: Samples) -> DataSet:
    found = DataSet()
    for index in range(len(samples)):
        sample = samples.sample(index)
        path = path_of(graph, sample)
        found.counts[path] = found.counts.get(path, 0) + 1
        found.examples.setdefault(path, sample)
    return found


def with_costs(
    manifest: Manifest, folder: Path, network: NetworkProgram, data: Sequence[DataSet], *, emulate: bool
) -> Manifest:
    """The manifest, and each of its switches, with costs, where there are branches; and a header beside the model's C.

    Args:
        folder: of the build.
        data: of each switch.
        emulate: run every branch in the emulated board, if the emulator is installed.
    """
    if not any(map(has_branches, network.programs)):
        return manifest
    found, source = [], ESTIMATED
    for index, (program, one) in enumerate(zip(network.programs, data, strict=True)):
        cycles = _measured(manifest, folder, index, program, one) if emulate else None
        costs = costs_of(program, one.counts, None if cycles is None else cycles.least)
        if cycles is not None:
            source = PREDICTED
            costs = replace(costs, worst=costs_of(program, None, cycles.most).worst)
        found.append((costs, sum(one.counts.values()), _settings(program, one.settings, cycles)))
    if manifest.board != "host":
        header = cycles_header(network.name, manifest.board_title, source, [costs for costs, _, _ in found])
        write_file(folder / "model" / f"{network.name}_cycles.h", header.encode())
    entries = [describe_costs(costs, source, count, entries) for costs, count, entries in found]
    pairs = zip(manifest.switches, entries, strict=bool(manifest.switches))
    switches = tuple(replace(switch, costs=entry) for switch, entry in pairs)
    return replace(manifest, costs=entries[0], switches=switches)


def _settings(program: Program, settings: Sequence[Setting], cycles: _Cycles | None) -> tuple[SettingEntry, ...]:
    """The cost of each setting of the thresholds, in ascending order."""
    entries = []
    for one in settings:
        expected = costs_of(program, one.counts, None if cycles is None else cycles.least).expected
        assert expected is not None
        most = [path_cost(program, path, None if cycles is None else cycles.most).cycles for path in one.counts]
        thresholds = {name.upper(): code for name, code in one.thresholds.items()}
        accuracy = None if one.accuracy is None else round(one.accuracy, 6)
        entries.append(SettingEntry(thresholds, cost_entry(expected), round(max(most)), accuracy))
    return tuple(sorted(entries, key=lambda entry: entry.expected.cycles))


def cycles_at_most(manifest: Manifest, folder: Path, switch: int, program: Program) -> list[int] | None:
    """Cycles of each layer by its number, in all branches; None if the emulator is not installed."""
    measured = _measured(manifest, folder, switch, program, DataSet())
    return None if measured is None else [round(cycles) for cycles in measured.most]


@dataclass(frozen=True)
class _Cycles:
    """Cycles of each layer in several inferences: the most (with cold caches) and the least (with warm ones)."""

    most: Sequence[float]
    least: Sequence[float]


def _measured(manifest: Manifest, folder: Path, switch: int, program: Program, data: DataSet) -> _Cycles | None:
    """Inferences in which each branch ran, each twice; None where the emulator is not installed."""
    zeros = [np.zeros(tensor.shape, tensor.dtype) for tensor in program.inputs]
    found: list[tuple[int, ...]] = []
    try:
        with open_device(Unfinished(folder, manifest), engine="unicorn", count=True) as device:
            device.select(switch)
            runs: list[tuple[Way, list[np.ndarray]]] = [(path, zeros) for path in covering_paths(program)]
            ordered = sorted(data.examples, key=lambda path: -data.counts[path])
            runs += [(path, data.examples[path]) for path in ordered[:_EXAMPLES]]
            for path, sample in (run for run in runs for _ in range(2)):
                _force(device, switch, program, dict(path))
                measured = device.measure(sample)
                assert measured.profile is not None
                found.append(measured.profile.layer_cycles)
    except ToolchainError:
        return None
    # Layers that did not run took none.
    each = [[cycles for cycles in layer if cycles] or [0] for layer in zip(*found, strict=True)]
    return _Cycles([max(layer) for layer in each], [min(layer) for layer in each])


def _force(device: Device, switch: int, program: Program, path: Mapping[str, int]) -> None:
    """Makes the next inferences take this path, regardless of their gates."""
    indices = {}
    for layer in all_layers(program):
        operator = layer.step.node.op.name
        if layer.branch is not None and operator in path:
            dtype = layer.step.node.input(0).dtype
            function = device.manifest.section(switch).layers[layer.number].function
            indices[function] = np.array(path[operator], dtype).tobytes()
    device.force_branches(indices)


def covering_paths(program: Program) -> list[Way]:
    """Paths on which every branch runs, as few as one operator behind the other allows."""
    each = []
    for step in program.layers:
        if step.branches:
            name = step.node.op.name
            each.append(
                [((name, n), *inner) for n, branch in enumerate(step.branches) for inner in covering_paths(branch)]
            )
    if not each:
        return [()]
    rows = zip_longest(*each)
    return [
        tuple(choice for part, all_of in zip(row, each, strict=True) for choice in (part or all_of[-1])) for row in rows
    ]
