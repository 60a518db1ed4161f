"""What a build directory says of itself: the content of manifest.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinygen.emit.model import EmittedSwitch
from tinygen.errors import TinygenError
from tinygen.frontends.tg import load_tg_network
from tinygen.frontends.tg.writer import write_tg
from tinygen.ir.encodings import Affine, Binary
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.tensor import Tensor
from tinygen.lowering.program import Program, Step, constants_of

MANIFEST = "manifest.json"
MODEL_COPY = "model.tg"
"""The model as it was read, whatever its format: what a device's outputs are held against."""


def describe_program(program: Program, emitted: EmittedSwitch) -> dict[str, Any]:
    """The part of the manifest that does not depend on the board."""
    return {
        "model": program.graph.name,
        "inputs": [describe_tensor(program, tensor) for tensor in program.inputs],
        "outputs": [describe_tensor(program, tensor) for tensor in program.outputs],
        "states": [describe_tensor(program, program.graph.tensors[state.tensor]) for state in program.graph.states],
        "arena_bytes": program.memory.arena_bytes,
        "arena_lower_bound_bytes": program.memory.lower_bound_bytes,
        "arena_optimal": program.memory.optimal,
        "order": asdict(program.ordering),
        "stream": asdict(program.streamed) if program.streamed else None,
        "macs": sum(step.node.op.macs(step.node) for step in program.steps),
        "layers": [_layer(program, step, emitted) for step in program.layers],
        "arena": [
            {"name": b.name, "bytes": size, "offset": offset, "first": first, "last": last}
            for b, offset in zip(program.buffers, program.memory.offsets, strict=True)
            for first, last, size in b.pieces()
        ],
        "steps": [step.node.op.name for step in program.steps],
    }


def describe_simplification(source: Graph, graph: Graph) -> dict[str, Any]:
    """What the passes took away: whole layers, and channels of those that compute them."""
    narrower = {
        node.op.name: source.tensors[node.output.name].shape[-1] - node.output.shape[-1]
        for node in graph.nodes()
        if node.output.shape and node.op.macs(node)
    }
    kept = {op.name for op in graph.ops}
    return {
        "channels_removed": {name: count for name, count in narrower.items() if count},
        "layers_removed": [op.name for op in source.ops if op.name not in kept],
        "macs_removed": sum(node.op.macs(node) for node in source.nodes())
        - sum(node.op.macs(node) for node in graph.nodes()),
    }


def _layer(program: Program, step: Step, emitted: EmittedSwitch) -> dict[str, Any]:
    node = step.node
    return {
        "name": node.op.name,
        "op": node.op.KIND,
        "kernel": step.kernel.name,
        "function": emitted.functions[step.index],
        "macs": node.op.macs(node),
        "weight_bytes": sum(constant.data.nbytes for constant in constants_of(step)),
        "scratch_bytes": step.plan.scratch_bytes,
        "inputs": [t.describe() for t in node.inputs if t is not None and not t.is_constant],
        "outputs": [describe_tensor(program, tensor) for tensor in node.outputs],
    }


def describe_tensor(program: Program, tensor: Tensor) -> dict[str, Any]:
    """Name, type, shape, quantization and place of a tensor in the arena."""
    entry: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "bytes": tensor.nbytes,
        "offset": program.offsets[tensor.name],
    }
    if isinstance(tensor.encoding, Affine):
        entry |= {"scale": tensor.scale, "zero_point": tensor.zero_point}
    if isinstance(tensor.encoding, Binary):
        entry["packed"] = True
    return entry


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a build directory.

    Raises:
        TinygenError: the directory is not one that `tinygen build` wrote.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise TinygenError(
            "is not a build directory (no manifest.json)",
            where=str(folder),
            fix="Make one with: tinygen build MODEL --board BOARD --out DIR",
        ) from error
    except (OSError, ValueError) as error:
        raise TinygenError(f"cannot be read ({error})", where=str(path), fix="Build it again.") from error
    if not isinstance(content, dict) or "model" not in content:
        raise TinygenError("is not a manifest of tinygen's", where=str(path), fix="Build it again.")
    return content


def keep_model(source: Network, folder: Path) -> dict[str, str]:
    """Writes the model into a build directory; gives its entry in the manifest."""
    content = write_tg(source if source.is_switchable else source.first)
    (folder / MODEL_COPY).write_bytes(content)
    return {"name": MODEL_COPY, "sha256": hashlib.sha256(content).hexdigest()}


def read_kept_model(folder: Path, manifest: dict[str, Any]) -> Network:
    """The model that a build directory was made from.

    Raises:
        TinygenError: the build is of an older tinygen, or its copy of the model is not what it was.
    """
    entry = manifest.get("model_copy")
    path = folder / MODEL_COPY
    if entry is None or not path.is_file():
        raise TinygenError(f"holds no copy of its model ({MODEL_COPY})", where=str(folder), fix="Build it again.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise TinygenError("is not the model of this build", where=str(path), fix="Build it again.")
    return load_tg_network(path)


def section(manifest: dict[str, Any], switch: str | None) -> dict[str, Any]:
    """What a manifest says of a switch; of the first, or of the whole, where none is named.

    Raises:
        TinygenError: it has no switch of that name.
    """
    entries = manifest.get("switches") or []
    if switch is None:
        return manifest
    return entries[switch_index(manifest, switch)]


def keeps_states(manifest: dict[str, Any]) -> bool:
    """Whether the model keeps something from one inference to the next, by any of its switches."""
    return any(entry.get("states") for entry in manifest.get("switches") or [manifest])


def switch_index(manifest: dict[str, Any], switch: str) -> int:
    """The number of a switch.

    Raises:
        TinygenError: there is no switch of that name.
    """
    names = [entry["name"] for entry in manifest.get("switches") or []]
    if switch not in names:
        fix = f"Switches: {', '.join(names)}." if names else "It has no switches: leave --switch out."
        raise TinygenError(f"there is no switch '{switch}'", where=manifest["model"], fix=fix)
    return names.index(switch)
