"""Switches that read one array of 8-bit codes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support import integer_layers as layers
from tests.support.board_batch import M7, run_on_board
from tests.support.integer_layers import Layer
from tinygen.ir.interpreter import evaluate
from tinygen.ir.nesting import derived_codes
from tinygen.ir.network import Network, Switch
from tinygen.lowering.network import lower_network
from tinygen.passes.nest_weights import nest_weights
from tinygen.passes.pipeline import simplify_network

BITS = (8, 4, 2, 1)
INPUT = layers.affine(-128)
DSP = ("c99", "dsp")


def layer(bits: int, parent: np.ndarray, x: layers.IntegerEncoding = INPUT) -> Layer:
    """A convolution of 8 channels with the first of these codes [O, KH, KW, I]."""
    encoding = layers.BINARY if bits == 1 else layers.levels(bits, True)
    codes = derived_codes(parent[..., :8], 8, bits)
    return layers.conv(
        f"net_{bits}", (6, 6, 8), len(codes), (3, 3), x=x, w=encoding, y=layers.affine(3), seed=bits, weights=codes
    )


def switchable(changed: bool = False) -> tuple[Network, list[Layer]]:
    parent = layers.random_codes(layers.levels(8), (12, 3, 3, 8), np.random.default_rng(0))
    found = [layer(bits, parent) for bits in BITS]
    if changed:
        data = found[1].graph.tensors["w"].data
        assert data is not None
        data[3, 1, 1, 5] ^= 1
    return Network("net", tuple(Switch(f"w{b}", one.graph) for b, one in zip(BITS, found, strict=True))), found


def weights_of(network: Network) -> list[np.ndarray | None]:
    return [switch.graph.tensors["w"].nested_in for switch in network]


def test_finds_what_is_a_function_of_8_bits() -> None:
    network, _ = switchable()
    parent = network.first.tensors["w"].data
    assert [nested is parent for nested in weights_of(nest_weights(network))] == [True, True, True, True]
    assert weights_of(nest_weights(Network.of(network.first))) == [None]


def test_one_code_that_differs() -> None:
    network, _ = switchable(changed=True)
    assert [nested is not None for nested in weights_of(nest_weights(network))] == [True, False, True, True]


def test_a_corner_of_a_wider_layer() -> None:
    wide = layers.random_codes(layers.levels(8), (16, 3, 3, 12), np.random.default_rng(1))
    narrow = layer(8, wide[:12])
    whole = layers.conv(
        "net", (6, 6, 12), 16, (3, 3), x=layers.INT8, w=layers.levels(8, True), y=layers.INT32, weights=wide
    )
    network = Network("net", (Switch("narrow", narrow.graph), Switch("wide", whole.graph)))
    found = weights_of(nest_weights(network))
    assert all(one is whole.graph.tensors["w"].data for one in found)


def test_shared_in_flash_and_bit_exact() -> None:
    """`compact` reads one array in all switches; each gives what its graph means."""
    network, found = switchable()
    lowered = lower_network(simplify_network(network), family="compact", isa=DSP)
    arrays = [program.steps[0].plan.constants[0].data for program in lowered.programs]
    assert all(np.array_equal(arrays[0], array) for array in arrays)
    programs = [
        replace(program, graph=replace(program.graph, name=f"net_{bits}"))
        for bits, program in zip(BITS, lowered.programs, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_board(programs, [one.feeds for one in found], Path(folder), M7)
    for one, rows in zip(found, results, strict=True):
        for sample, got in zip(one.feeds, rows, strict=True):
            assert np.array_equal(evaluate(one.graph, sample)[0], got[0])


def test_not_where_bits_of_their_own_are_much_faster() -> None:
    """Binary weights and activations have kernels of their own."""
    parent = layers.random_codes(layers.levels(8), (12, 3, 3, 8), np.random.default_rng(0))
    network = Network("net", (Switch("w8", layer(8, parent).graph), Switch("w1a1", layer(1, parent).graph)))
    binary = layer(1, parent, layers.BINARY).graph
    nested = nest_weights(network).switches[1].graph.tensors["w"]
    graph = replace(binary, tensors={**binary.tensors, "w": nested})
    (program,) = lower_network(Network.of(graph), family="compact", isa=DSP).programs
    assert "nested" not in program.steps[0].kernel.name
