"""Graph or Network to `.tg`. Equal models give equal bytes."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import TinygenError
from tinygen.files import write_file
from tinygen.frontends.tg.format import (
    ARRAY,
    ARRAY_KINDS,
    FLOAT,
    FORMAT,
    GRAPH_VERSION,
    NETWORK_VERSION,
    STRUCTURE,
    TYPE,
    array_entry,
)
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import is_left_out

# The oldest date of a zip entry, so that the bytes do not depend on the time of writing.
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX, _READABLE = 3, 0o644 << 16


def save_tg(model: Graph | Network, path: Path | str) -> None:
    """Writes a graph, or a network, to a file that `tinygen build` and `load_network` take; an earlier one is replaced.

    Args:
        model: is validated before it is saved.
        path: ends in `.tg`.

    Raises:
        TinygenError: the model is not valid, the name does not end in `.tg`, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".tg":
        raise TinygenError(f"a model is not saved as '{path.suffix}'", where=str(path), fix="Name a .tg file.")
    write_file(path, write_tg(model))


def write_tg(model: Graph | Network) -> bytes:
    """The bytes of the file."""
    model.validate()
    arrays: dict[bytes, int] = {}
    is_network = isinstance(model, Network)
    structure = {
        "format": FORMAT,
        "version": NETWORK_VERSION if is_network else GRAPH_VERSION,
        "network" if is_network else "graph": _encode(_saved(model), arrays),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, STRUCTURE, (json.dumps(structure, indent=1, allow_nan=False) + "\n").encode())
        for content, index in arrays.items():
            _add(archive, array_entry(index), content)
    return buffer.getvalue()


def _saved(model: Graph | Network) -> Graph | Network:
    if isinstance(model, Graph):
        return _touched(model)
    return replace(model, switches=tuple(replace(one, graph=_touched(one.graph)) for one in model.switches))


def _touched(graph: Graph) -> Graph:
    """Without tensors that have no elements and that nothing touches, as a TensorFlow Lite file's LSTM has them."""
    touched = {name for op in graph.ops for name in (*op.inputs, *op.outputs)} | {*graph.sources, *graph.sinks}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if tensor.size or name in touched}
    return replace(graph, tensors=tensors)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system, entry.external_attr = _UNIX, _READABLE
    archive.writestr(entry, content)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(buffer, little.reshape(array.shape), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _encode(value: Any, arrays: dict[bytes, int]) -> Any:
    """A value as JSON; arrays are collected in `arrays`, each content once, with its number."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return _encode(value.value, arrays)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {FLOAT: str(float(value))}
    if isinstance(value, np.ndarray) and value.dtype.kind in ARRAY_KINDS:
        return {ARRAY: arrays.setdefault(_npy(value), len(arrays))}
    if isinstance(value, tuple | list):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _encode(item, arrays) for key, item in value.items()}
    if is_dataclass(value):
        kept = [field for field in fields(value) if field.init and not is_left_out(value, field)]
        named = {field.name: _encode(getattr(value, field.name), arrays) for field in kept}
        return {TYPE: type(value).__name__} | named
    raise TinygenError(f"a {type(value).__name__} cannot be saved in a .tg file")
