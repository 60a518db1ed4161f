"""Networks of several switches: what goes together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import integer_layers as layers
from tinygen.errors import ModelError
from tinygen.ir.network import Network, Switch


def dense(name: str, w: layers.IntegerEncoding, inputs: int = 16) -> Switch:
    return Switch(name, layers.dense("net", (inputs,), 4, x=layers.affine(-128), w=w, y=layers.INT32, seed=1).graph)


def test_switches_of_one_network() -> None:
    network = Network("net", (dense("w8", layers.INT8), dense("w1", layers.BINARY)))
    network.validate()
    assert network.is_switchable and network.names == ("w8", "w1")
    assert network.switch("w1").graph is network.switches[1].graph
    with pytest.raises(ModelError, match="Switches: w8, w1"):
        network.switch("w2")
    assert not Network.of(network.first).is_switchable


def test_bad_networks() -> None:
    good = dense("w8", layers.INT8)
    with pytest.raises(ModelError, match="without switches"):
        Network("net", ()).validate()
    with pytest.raises(ModelError, match="same name"):
        Network("net", (good, good)).validate()
    with pytest.raises(ModelError, match="no name in C"):
        Network("net", (replace(good, name="W8"),)).validate()
    with pytest.raises(ModelError, match="input 'x'"):
        Network("net", (good, dense("other", layers.INT8, 17))).validate()
