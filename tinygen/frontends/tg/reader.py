"""`.tg` to Graph or Network. Trusts nothing in the file."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.memory import only_graph
from tinygen.frontends.names import check_c_name
from tinygen.frontends.npy import read_header
from tinygen.frontends.tg.check import check_codes, check_encoding
from tinygen.frontends.tg.decode import Decoder
from tinygen.frontends.tg.format import ARRAY_KINDS, FORMAT, GRAPH_VERSION, NETWORK_VERSION, STRUCTURE, array_entry
from tinygen.frontends.zips import DamagedError, read_zip
from tinygen.ir.branch import all_graphs
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.tensor import Tensor

# Exceptions of zipfile, json and NumPy on damaged files, and on excessive nesting.
_DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
)


def load_tg(path: Path, name: str | None = None) -> Graph:
    """The graph in a .tg file; arguments and errors are those of `load_tg_network`.

    Raises:
        ModelError: the file holds several graphs.
    """
    return only_graph(load_tg_network(path, name), str(path))


def read_tg(content: bytes, name: str | None = None, where: str = "model") -> Graph:
    """The same from bytes; `where` names the file in errors."""
    return only_graph(read_tg_network(content, name, where), where)


def load_tg_network(path: Path, name: str | None = None) -> Network:
    """Reads a .tg file.

    Args:
        path: the file.
        name: C identifier for the model; by default the name it was saved with.

    Raises:
        ModelError: the file cannot be read, is damaged, or was written by a newer version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return read_tg_network(content, name, str(path))


def read_tg_network(content: bytes, name: str | None = None, where: str = "model") -> Network:
    """The same from bytes; `where` names the file in errors."""
    try:
        network = _network(content)
        check_c_name(network.name if name is None else name)
        if name is not None or not network.is_switchable:
            network = _renamed(network, name or network.name)
        for switch in network:
            for graph in all_graphs(switch.graph):
                _check_tensors(graph)
        network.validate()
    except TinygenError as error:
        error.where = f"{where}: {error.where}" if error.where else where
        raise
    except _DAMAGE as error:
        raise ModelError(
            f"is damaged or no .tg file ({error})", where=where, fix="Check that the file was copied whole."
        ) from error
    return network


def _renamed(network: Network, name: str) -> Network:
    """The network with another name; a single graph gets the name as well, since it may be built alone."""
    switches = network.switches
    if len(switches) == 1:
        switches = (replace(switches[0], graph=replace(switches[0].graph, name=name)),)
    return Network(name, switches)


def _network(content: bytes) -> Network:
    entries = _entries(content)
    if STRUCTURE not in entries:
        raise ModelError(f"has no {STRUCTURE}")
    structure = json.loads(entries.pop(STRUCTURE), object_pairs_hook=_object, parse_constant=_no_number)
    if not isinstance(structure, dict) or structure.get("format") != FORMAT:
        raise ModelError(f"{STRUCTURE} is not that of a tinygen graph")
    version = structure.get("version")
    if version not in (GRAPH_VERSION, NETWORK_VERSION):
        raise ModelError(
            f"has version {version}, this tinygen reads versions {GRAPH_VERSION} and {NETWORK_VERSION}",
            fix="Read it with the version of tinygen that wrote it, or save it again.",
        )
    arrays: list[np.ndarray] = []
    while array_entry(len(arrays)) in entries:
        entry = array_entry(len(arrays))
        arrays.append(_array(entries.pop(entry), entry))
    if entries:
        raise ModelError(f"holds {', '.join(sorted(entries)[:3])}, which nothing refers to")
    if version == GRAPH_VERSION:
        return Network.of(Decoder(arrays).decode(structure.get("graph"), Graph, "graph"))
    network = Decoder(arrays).decode(structure.get("network"), Network, "network")
    assert isinstance(network, Network)
    return network


def _entries(content: bytes) -> dict[str, bytes]:
    """Content by name. Compressed entries are refused, since `save_tg` writes none."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
    if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in infos):
        raise ModelError("has compressed entries")
    return read_zip(io.BytesIO(content), len(content))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ModelError(f"an object in {STRUCTURE} has a key twice")
    return found


def _no_number(text: str) -> float:
    """Refuses NaN and Infinity, which Python's reader accepts but JSON does not have."""
    raise ModelError(f"{STRUCTURE} holds {text}")


def _array(content: bytes, where: str) -> np.ndarray:
    """A .npy file as the writer writes them."""
    try:
        header = read_header(content)
        if header.version != (1, 0):
            raise ModelError("is no .npy file of version 1.0", where=where)
        dtype = header.dtype
        if header.fortran or dtype.kind not in ARRAY_KINDS or dtype.byteorder == ">":
            raise ModelError(f"holds {dtype}, not plain little-endian numbers row by row", where=where)
        return np.frombuffer(content, dtype, offset=header.start).reshape(header.shape)
    except DamagedError as error:
        raise ModelError(f"is no plain array: {error}", where=where) from error


def _check_tensors(graph: Graph) -> None:
    names = [op.name for op in graph.ops]
    if len(set(names)) != len(names):
        raise ModelError("two operators have one name")
    for name in names:
        # The name becomes part of symbols in the C.
        if not re.fullmatch(r"\w+", name, flags=re.ASCII):
            raise ModelError(f"an operator cannot be called {name!r}")
    for name in (*graph.sources, *graph.sinks, *(name for op in graph.ops for name in (*op.inputs, *op.outputs))):
        if name and name not in graph.tensors:
            raise ModelError(f"there is no tensor '{name}'")
    for key, tensor in graph.tensors.items():
        _check_tensor(key, tensor)
    for state in graph.states:
        check_codes(graph.tensors[state.tensor].encoding, state.initial, f"state '{state.tensor}'")


def _check_tensor(key: str, tensor: Tensor) -> None:
    where = f"tensor '{key}'"
    if tensor.name != key:
        raise ModelError(f"is called '{tensor.name}' too", where=where)
    if any(size < 1 for size in tensor.shape) or math.prod(tensor.shape) > 2**31:
        raise ModelError(f"has shape {list(tensor.shape)}", where=where)
    check_encoding(tensor.encoding, tensor.shape, where)
    data = tensor.data
    if data is None:
        return
    if data.shape != tensor.shape or data.dtype != tensor.dtype:
        raise ModelError(f"is {tensor.describe()}, its array {data.dtype} {list(data.shape)}", where=where)
    check_codes(tensor.encoding, data, where)
