"""`.tg` files of switchable networks: what is written is read again, equal arrays are there once, damage is named."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests.support.switchable import random_inputs, small_network
from tinygen.demo import MODEL
from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.load import load_model, load_network
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg import read_tg_network, write_tg
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network

NETWORK = small_network()
CONTENT = write_tg(NETWORK)


def test_round_trip(tmp_path: Path) -> None:
    tinygen.save(NETWORK, tmp_path / "net.tg")
    assert (tmp_path / "net.tg").read_bytes() == CONTENT
    again = load_network(tmp_path / "net.tg")
    assert (again.name, again.names) == (NETWORK.name, NETWORK.names) and write_tg(again) == CONTENT
    for sample in random_inputs(NETWORK, 2):
        for one, other in zip(NETWORK, again, strict=True):
            for a, b in zip(evaluate(one.graph, sample), evaluate(other.graph, sample), strict=True):
                np.testing.assert_array_equal(a, b)
    assert load_network(tmp_path / "net.tg", "other").name == "other"
    with pytest.raises(TinygenError, match="cannot name a model"):
        load_network(tmp_path / "net.tg", "int")


def test_equal_arrays_are_stored_once() -> None:
    """The first layer's weights are those of every switch of that width."""
    found = [tensor.data for one in NETWORK for tensor in one.graph.tensors.values() if tensor.data is not None]
    arrays, count = {array.tobytes() for array in found}, len(found)
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        entries = [name for name in archive.namelist() if name.startswith("arrays/")]
    assert len(entries) == len(arrays) < count


def test_a_network_of_one_switch() -> None:
    """Its graph has the network's name, so that either may be built."""
    one = Network("lonely", NETWORK.switches[:1])
    again = read_tg_network(write_tg(one))
    assert again.names == one.names and again.name == again.first.name == "lonely"
    assert read_tg_network(write_tg(one), "renamed").first.name == "renamed"


def test_one_graph_is_not_all(tmp_path: Path) -> None:
    tinygen.save(NETWORK, tmp_path / "net.tg")
    for model in (tmp_path / "net.tg", MemoryModel(NETWORK, "net")):
        with pytest.raises(ModelError, match="can be switched") as caught:
            load_model(model)
        assert "load_network" in caught.value.fix and "build, run and verify" in caught.value.fix


def test_models_that_cannot_be_switched() -> None:
    """Files of one graph, and graphs in memory, are networks of one switch."""
    network = load_network(MODEL, "mine")
    assert not network.is_switchable and network.name == network.first.name == "mine"
    graph = load_model(MODEL)
    model = MemoryModel(graph, "digits")
    assert load_network(model).first is graph and model.graph is graph
    assert load_network(model, "mine").first.name == "mine"
    assert load_network(MemoryModel(NETWORK, "net"), "mine").name == "mine"
    assert MemoryModel(NETWORK, "net").network is NETWORK


def test_build_ids_differ() -> None:
    """Of networks with other names, other switches, other order."""
    variants = [
        NETWORK,
        Network("other", NETWORK.switches),
        Network(NETWORK.name, NETWORK.switches[::-1]),
        Network(NETWORK.name, NETWORK.switches[1:]),
        small_network(seed=1),
    ]
    assert len({MemoryModel(network, "net").read_bytes() for network in variants}) == len(variants)
    assert MemoryModel(NETWORK, "a").read_bytes() == MemoryModel(small_network(), "b").read_bytes()


def rewritten(change: Callable[[dict[str, Any]], object]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    structure = json.loads(entries["graph.json"])
    change(structure)
    entries["graph.json"] = json.dumps(structure).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def switch(structure: dict[str, Any], index: int = 1) -> dict[str, Any]:
    return structure["network"]["switches"][index]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "old version": (lambda s: s.update(version=1), "holds None in place of a Graph"),
    "new version": (lambda s: s.update(version=3), "reads versions 1 and 2"),
    "no network": (lambda s: s.pop("network"), "holds None in place of a Network"),
    "a graph instead": (lambda s: s.update(network=switch(s)["graph"]), "'Graph' is no Network"),
    "no switches": (lambda s: s["network"].update(switches=[]), "network without switches"),
    "switches missing": (lambda s: s["network"].pop("switches"), "lacks its field switches"),
    "same name": (lambda s: switch(s).update(name="w1a1"), "same name"),
    "switch's name": (lambda s: switch(s).update(name="a; b"), "no name in C"),
    "number for a name": (lambda s: switch(s).update(name=3), "holds 3 in place of str"),
    "graph missing": (lambda s: switch(s).pop("graph"), "lacks its field graph"),
    "C name": (lambda s: s["network"].update(name="int"), "cannot name a model"),
    "unknown tensor": (lambda s: switch(s)["graph"]["ops"][0].update(inputs=["nothing"]), "no tensor 'nothing'"),
    "two outputs": (
        lambda s: switch(s)["graph"].update(outputs=switch(s)["graph"]["outputs"] * 2),
        "has 2 outputs",
    ),
    "other output": (lambda s: switch(s)["graph"].update(outputs=["y0"]), "output 'y0' is"),
    "array of another": (lambda s: switch(s)["graph"]["tensors"]["w1"].update(data={"array": 0}), "its array"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_wrong_structure(case: str) -> None:
    change, message = CHANGES[case]
    with pytest.raises(TinygenError, match=message) as caught:
        read_tg_network(rewritten(change), where="net.tg")
    assert caught.value.where.startswith("net.tg") or case == "C name"


def test_truncated_and_changed() -> None:
    """Every cut is an error; every changed byte is one, or gives a network that can still be written down."""
    for length in range(0, len(CONTENT), 499):
        with pytest.raises(ModelError):
            read_tg_network(CONTENT[:length])
    errors, rng = 0, random.Random(5)
    for _ in range(150):
        data = bytearray(CONTENT)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            write_tg(read_tg_network(bytes(data)))
        except TinygenError:
            errors += 1
    assert errors > 100
