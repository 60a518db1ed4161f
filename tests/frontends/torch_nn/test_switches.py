"""Switchable modules to networks: every switch's integers against torch, code by code."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

import tinygen
from tests.support.switchable_networks import NETWORKS, float_network, images
from tests.support.tally import CODES, DIFFERING
from tests.support.torch_oracle import compare_with_torch
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.torch_nn import read_switches
from tinygen.ir.encodings import Binary, Levels
from tinygen.nn.switchable import SwitchSpec, calibrate_switches, extract, switchable

torch.set_num_threads(1)
FLOAT = SwitchSpec(32, 32)
WIDTHS = (1.0, 0.5)
USUAL = [SwitchSpec(w, a, width) for w, a in ((8, 8), (4, 4), (2, 2), (1, 4)) for width in WIDTHS]
SIGNED = [SwitchSpec(b, b, width) for b in (8, 4, 2, 1) for width in WIDTHS]


def made(name: str, switches: Sequence[SwitchSpec], family: str = "tanh") -> nn.Module:
    network = switchable(float_network(name), [*switches, FLOAT], family)
    calibrate_switches(network, [images(32)])
    return network


LATER = ("side-by-side", "separable")  # as "flattened" with another end, and as "usual" with depthwise layers


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LATER else name for name in NETWORKS]
)
def test_every_switch_means_what_torch_computes(name: str) -> None:
    specs = SIGNED if name == "xnor-order" else USUAL
    module, x = made(name, specs), images(40)
    network = tinygen.export_switches(module, x, name="net")
    assert network.names == tuple(spec.name for spec in specs) and network.name == "net"
    label = f"switches, {name}"
    for spec in specs:
        compared = compare_with_torch(extract(module, spec), x, label, name="net")
        assert compared.graph.ops == network.switch(spec.name).graph.ops
    assert CODES[label] > 10_000 and DIFFERING[label] <= 1e-3 * CODES[label]


@pytest.mark.parametrize(
    ("family", "specs"),
    [
        ("log", [SwitchSpec(3, 2), SwitchSpec(4, 4, 0.5)]),
        ("log-activations", [SwitchSpec(8, 3), SwitchSpec(2, 2, 0.5)]),
        ("scaled", [SwitchSpec(1, 2), SwitchSpec(2, 2, 0.5), SwitchSpec(4, 4)]),
        ("apsq", [SwitchSpec(1, 4), SwitchSpec(2, 2, 0.5)]),
        ("codebook", [SwitchSpec(4, 4), SwitchSpec(2, 4, 0.5)]),
    ],
)
def test_families(family: str, specs: list[SwitchSpec]) -> None:
    module, x = made("usual", specs, family), images(30)
    assert tinygen.export_switches(module, x).names == tuple(spec.name for spec in specs)
    for spec in specs:
        compare_with_torch(extract(module, spec), x, f"switches, {family}")


def test_switches_take_the_same_input_and_name_their_tensors_alike() -> None:
    """What firmware shares between switches is found by name."""
    network = tinygen.export_switches(made("xnor-order", SIGNED), images(1))
    graphs = [switch.graph for switch in network]
    assert len({(g.inputs, g.tensors[g.inputs[0]].encoding) for g in graphs}) == 1
    weights = [[name for name in g.tensors if name.endswith(".weight")] for g in graphs]
    assert all(names == ["0.weight", "3.weight", "7.weight", "11.weight"] for names in weights)
    shapes = [g.tensors["7.weight"].shape for g in graphs]
    assert shapes == [(12, 3, 3, 6), (6, 3, 3, 3)] * 4
    kinds = [type(g.tensors["3.weight"].encoding) for g in graphs]
    assert kinds == [Levels] * 6 + [Binary] * 2


def test_chosen_switches() -> None:
    module = made("usual", USUAL)
    network = read_switches(module, images(1), "net", ["w2a2", SwitchSpec(8, 8)])
    assert network.names == ("w2a2", "w8a8")
    with pytest.raises(UnsupportedError, match="switch w32a32 is not quantized"):
        read_switches(module, images(1), "net", ["w32a32"])
    with pytest.raises(UnsupportedError, match="there is no switch w3a3"):
        read_switches(module, images(1), "net", ["w3a3"])
    with pytest.raises(UnsupportedError, match="w2a2 is there twice"):
        read_switches(module, images(1), "net", ["w2a2", "w2a2"])
    with pytest.raises(UnsupportedError, match="an empty list of switches"):
        read_switches(module, images(1), "net", [])
    with pytest.raises(UnsupportedError, match=r"(?s)Sequential: none of its switches is quantized.*8 bits or fewer"):
        read_switches(switchable(float_network("usual"), [FLOAT]), images(1))


def test_what_is_not_exported() -> None:
    module = made("usual", [SwitchSpec(4, 4), SwitchSpec(2, 2)])
    with pytest.raises(UnsupportedError, match=r"(?s)has several switches.*export_switches"):
        tinygen.export(module, images(1))
    with pytest.raises(UnsupportedError, match="no module of it is switchable"):
        tinygen.export_switches(extract(module, "w4a4"), images(1))
    with pytest.raises(TinygenError, match="2 inputs of a switchable module"):
        tinygen.export_switches(module, [images(1), images(1)])
    blind = switchable(float_network("usual"), [SwitchSpec(4, 4)])
    with pytest.raises(ModelError, match=r"(?s)^switch w4a4, 0.input_quantizer.*range of the activations is not known"):
        tinygen.export_switches(blind, images(1))
