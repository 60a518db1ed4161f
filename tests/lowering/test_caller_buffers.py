"""Inputs and outputs in buffers of the caller: the same codes, inputs that survive, nothing written beside a buffer."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_batch import SANITIZERS, compile_host, run_on_host, write_sources
from tests.support.networks import Network, mobilenet
from tests.support.streaming_models import SMALL, frames
from tinygen.demo import MODEL
from tinygen.emit.model import emit_model
from tinygen.errors import UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network as Switches
from tinygen.ir.network import Switch
from tinygen.lowering.lifetimes import lay_out
from tinygen.lowering.lower import lower
from tinygen.lowering.network import lower_network
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.program import Io, Program
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify

ISA = ("c99", "dsp")


def digits() -> Graph:
    return simplify(load_model(MODEL))


def reshaped() -> Graph:
    """The input in another shape is the output: one buffer cannot be both."""
    network = Network()
    network.reshape(network.input(4, 4, 2), (1, 32))
    return network.graph("reshaped")


def two_outputs() -> Graph:
    """A tensor, and the same one in another shape."""
    network = Network(3)
    network.reshape(network.conv(network.input(6, 6, 3), 4), (1, 144))
    graph = network.graph("two_outputs")
    return replace(graph, outputs=(graph.ops[0].outputs[0], *graph.outputs))


def ends_in_place() -> Graph:
    """The last layer would write over its input, which is as large; and so would the first."""
    network = Network(5)
    network.relu(network.add_constant(network.relu(network.input(5, 5, 3)), 1, 5, 5, 3))
    return network.graph("ends_in_place")


def shrinks_in_place() -> Graph:
    """The last layer could write over its input, which is larger than a buffer for the output."""
    network = Network(7)
    network.depthwise(network.conv(network.input(8, 8, 3), 8), 3, 2)
    return network.graph("shrinks_in_place")


def one_layer() -> Graph:
    network = Network(6)
    network.conv(network.input(6, 6, 3), 4)
    return network.graph("one_layer")


def striped() -> Program:
    """A network whose first layers run in stripes, over an input that stays."""
    graph = simplify(mobilenet(size=32).graph("striped"))
    return lower(graph, isa=ISA, streaming=Streaming(), io=Io.CALLER)


def striped_beside() -> Program:
    """The same behind a layer of another input, whose output is there before the stripes."""
    network = Network(8)
    network.relu(network.input(12))
    network.conv(network.conv(network.input(12, 12, 2), 16), 2, 3, 2)
    graph = network.graph("striped_beside")
    assert len(graph.inputs) == len(graph.outputs) == 2
    program = lower(graph, isa=ISA, streaming=Streaming(striped=True), io=Io.CALLER)
    assert program.streamed is not None
    return program


def in_callers(graph: Graph, family: str = "tinygen") -> Program:
    return lower(graph, family=family, isa=ISA, io=Io.CALLER)


def test_same_codes_and_inputs_that_survive(tmp_path: Path) -> None:
    """One program under sanitizers; every buffer has its exact size."""
    graphs = [
        digits(),
        *(simplify(make()) for make in (reshaped, two_outputs, ends_in_place, shrinks_in_place, one_layer)),
    ]
    graphs += [simplify(read_tflite(model(), name=name)) for name, model in SMALL.items()]
    programs = [*map(in_callers, graphs), striped(), striped_beside()]
    programs.append(in_callers(replace(graphs[0], name="digits_plain"), "reference"))
    samples = [frames(program.graph, 3) for program in programs]
    found = run_on_host(programs, samples, tmp_path, keep=True)
    for program, feeds, got in zip(programs, samples, found, strict=True):
        stream = Stream(program.graph)
        for sample, row in zip(feeds, got, strict=True):
            for want, one in zip(stream.step(sample), row, strict=True):
                np.testing.assert_array_equal(want, one, err_msg=program.graph.name)


@pytest.mark.parametrize(
    ("make", "copied"), [(digits, 0), (one_layer, 0), (shrinks_in_place, 0), (reshaped, 2), (two_outputs, 2)]
)
def test_what_is_copied(make: object, copied: int) -> None:
    """Only what shares memory with another input or output."""
    program = in_callers(simplify(make()))  # type: ignore[operator]
    text = emit_model(program, "test").files[f"{program.graph.name}.c"]
    assert text.count("    memcpy(") == copied
    ports = {*program.graph.inputs, *program.graph.outputs}
    assert len(ports & program.ported.keys()) == len(ports) - copied


def test_an_output_never_begins_as_something_larger() -> None:
    """Else there would be no room for that in a buffer of the output's size."""
    graph = shrinks_in_place()
    plans = [KernelPlan(template="any", inplace=((0, 0),)) for _ in graph.ops]
    (output,) = graph.outputs
    assert lay_out(graph, plans).places[output].slot.size > graph.tensors[output].nbytes
    assert lay_out(graph, plans, caller=graph.outputs).ported[output] == (output, 0)


def test_the_arena_has_neither_inputs_nor_outputs() -> None:
    graph = digits()
    program, usual = in_callers(graph, "reference"), lower(graph, family="reference", isa=ISA)
    assert not program.offsets.keys() & {*graph.inputs, *graph.outputs}
    assert program.memory.arena_bytes <= usual.memory.arena_bytes
    assert in_callers(simplify(one_layer()), "reference").memory.arena_bytes == 0
    whole = lower(striped().graph, isa=ISA)
    assert striped().memory.arena_bytes < whole.memory.arena_bytes


def test_switchable_networks_are_refused() -> None:
    graph = one_layer()
    switches = Switches("two", (Switch("a", graph), Switch("b", graph)))
    with pytest.raises(UnsupportedError, match="several switches has its inputs and outputs in the arena"):
        lower_network(switches, io=Io.CALLER)


_BAD = r"""
#include <stdalign.h>
#include <string.h>
#include "one_layer.h"

static alignas(8) int8_t x[ONE_LAYER_INPUT_SIZE + 8], y[ONE_LAYER_OUTPUT_SIZE + 8], before[ONE_LAYER_OUTPUT_SIZE + 8];

int main(void)
{
    one_layer_t *m = one_layer_init(NULL, 0);
    memset(y, 0x5a, sizeof y);
    memset(before, 0x5a, sizeof before);
    if (one_layer_invoke(m, NULL, y) != ONE_LAYER_BAD_BUFFER) { return 1; }
    if (one_layer_invoke(m, x, NULL) != ONE_LAYER_BAD_BUFFER) { return 2; }
    if (one_layer_invoke(m, x + 4, y) != ONE_LAYER_BAD_BUFFER) { return 3; }
    if (one_layer_invoke(m, x, y + 1) != ONE_LAYER_BAD_BUFFER) { return 4; }
    if (memcmp(y, before, sizeof y) != 0) { return 5; }
    return one_layer_invoke(m, x, y) == 0 ? 0 : 6;
}
"""


def test_bad_buffers_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    sources = write_sources([in_callers(simplify(one_layer()))], tmp_path)
    (tmp_path / "main.c").write_text(_BAD)
    compile_host([tmp_path / "main.c", *sources], tmp_path / "bad", ["-std=c11", "-O0", *SANITIZERS])
    assert subprocess.run([tmp_path / "bad"], check=False, timeout=60).returncode == 0
