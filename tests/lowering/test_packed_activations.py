"""Which activations are packed in RAM, what that saves, and that comparisons read them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.chains import Chain
from tests.support.integer_layers import Layer, affine, levels
from tinygen.builds.report import packed_text
from tinygen.errors import FitError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tg.reader import read_tg
from tinygen.frontends.tg.writer import write_tg
from tinygen.hil.device import open_device
from tinygen.ir.interpreter import evaluate_all
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Io, Program
from tinygen.lowering.scratch_search import cycles_of
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

DSP = ("c99", "dsp", "dual-issue")


def network(bits: int, channels: int = 32, side: int = 16) -> Layer:
    """Two wide layers, a pool, and a narrow end."""
    code = levels(bits)
    net = Chain("net", (side, side, 3), affine(-128))
    net.put(layers.conv("a", net.image, channels, (3, 3), x=affine(-128), w=affine(0), y=code))
    net.put(layers.conv("b", net.image, channels, (3, 3), x=code, w=levels(bits, True), y=code))
    net.put(layers.max_pool("c", net.image, (2, 2), (2, 2), x=code, sign="rising"))
    net.put(layers.conv("d", net.image, 4, (1, 1), x=code, w=levels(bits, True), y=affine(3)))
    return Layer(net.graph(), net.feeds(1, bits))


def packed(program: Program) -> dict[str, int]:
    return {name: tensor.code_bits for name, tensor in program.graph.tensors.items() if tensor.code_bits}


@pytest.mark.parametrize(("bits", "in_bits"), [(2, 2), (3, 4), (4, 4)])
def test_what_is_alive_at_the_peak_is_packed(bits: int, in_bits: int) -> None:
    program = lower(network(bits).graph, isa=DSP, family="compact")
    assert packed(program).items() >= {"t1": in_bits, "t2": in_bits}.items()
    wide = 16 * 16 * 32 * in_bits // 8
    scratch = program.steps[1].plan.scratch_bytes
    assert program.graph.tensors["t1"].nbytes == wide
    assert program.memory.arena_bytes == max(2 * wide + (scratch + 7) // 8 * 8, program.memory.lower_bound_bytes)


def test_layers_in_place_are_packed_together() -> None:
    """One alone would make the arena larger: layers between bytes and packed codes do not work in place."""
    code = levels(2)
    net = Chain("net", (9, 7, 3), affine(-128))
    net.put(layers.conv("first", net.image, 32, (3, 3), x=affine(-128), w=affine(0), y=code))
    for kernel, groups in (((3, 3), 32), ((1, 1), 1)) * 2:
        net.put(layers.conv("one", net.image, 32, kernel, x=code, w=levels(2, True), y=code, groups=groups))
    net.put(layers.sum_pool("mean", net.image, (9, 7), (1, 1), x=code, y=affine(3)))
    program = lower(net.graph(), isa=DSP, family="compact")
    assert packed(program) == {f"t{i}": 2 for i in range(1, 6)}
    wide = program.graph.tensors["t1"].nbytes
    assert program.memory.arena_bytes <= wide + max(step.plan.scratch_bytes for step in program.steps) + 192 + 8


def test_what_saves_nothing_stays_in_bytes() -> None:
    """Codes of 5 bits; inputs and outputs; tensors that are not at the peak; pixels of one word in any case."""
    assert not packed(lower(network(5).graph, isa=DSP, family="compact"))
    assert "t4" not in packed(lower(network(4).graph, isa=DSP, family="compact"))
    assert not packed(lower(network(4, channels=4).graph, isa=DSP, family="compact"))
    output = layers.conv("one", (16, 16, 3), 32, (3, 3), x=affine(-128), w=affine(0), y=levels(4))
    assert not packed(lower(output.graph, isa=DSP, family="compact"))
    plain = lower(network(2).graph, isa=DSP, family="reference")
    assert not packed(plain)


def test_within_a_limit_the_fastest() -> None:
    graph = network(4).graph
    smallest = lower(graph, isa=DSP, family="compact").memory.arena_bytes
    roomy = lower(graph, isa=DSP, family="compact", streaming=Streaming(40_000))
    in_bytes = lower(graph, isa=DSP, family="compact", streaming=Streaming(40_000, striped=False))
    assert cycles_of(roomy) <= cycles_of(in_bytes)
    tight = lower(graph, isa=DSP, family="compact", streaming=Streaming(smallest))
    assert (packed(tight) or tight.streamed) and tight.memory.arena_bytes <= smallest


def test_the_smallest_arena_is_of_stripes_or_packed() -> None:
    graph = network(4, side=8).graph
    smallest = lower(graph, isa=DSP, family="compact").memory.arena_bytes
    assert lower(graph, isa=DSP, family="compact", streaming=Streaming()).memory.arena_bytes <= smallest


def test_a_refusal_names_no_more_than_a_plain_build_takes() -> None:
    graph = network(2).graph
    plain = lower(graph, isa=DSP, family="compact").memory.arena_bytes
    with pytest.raises(FitError) as refused:
        lower(graph, isa=DSP, family="compact", streaming=Streaming(100))
    (said,) = re.findall(r"([\d,]+) at best", refused.value.what)
    assert plain >= int(said.replace(",", "")) == refused.value.excess["arena"] + 100


def test_stripes_or_packed_as_asked_for() -> None:
    graph = network(4, side=8).graph

    def asked(striped: bool, limit: int | None = None) -> Program:
        return lower(graph, isa=DSP, family="compact", streaming=Streaming(limit, striped=striped))

    whole = asked(False)
    assert packed(whole) and not whole.streamed
    roomy = asked(False, 40_000)
    assert not roomy.streamed and cycles_of(roomy) <= cycles_of(whole)
    assert packed(asked(False, whole.memory.arena_bytes))
    with pytest.raises(FitError, match="without stripes"):
        asked(False, whole.memory.arena_bytes // 2)
    stripes = asked(True)
    assert stripes.streamed and not packed(stripes)


def test_files_of_models_do_not_have_it() -> None:
    program = lower(network(4).graph, isa=DSP, family="compact")
    assert packed(program)
    assert not any(tensor.code_bits for tensor in read_tg(write_tg(program.graph)).tensors.values())


@pytest.mark.parametrize("io", Io)
def test_layer_by_layer(io: Io, tmp_path: Path) -> None:
    """What a device says of every layer's output is unpacked; the manifest and the report name the layers."""
    one = network(4)
    built = build(
        MemoryModel(one.graph, "net"), tmp_path, BuildOptions(board="host", kernels="compact", io=io), profile=False
    )
    assert packed_text(built.manifest) == "4 bits: layer1, layer2"
    with open_device(built.folder) as device:
        found = device.intermediate(one.feeds[0])
    want = evaluate_all(simplify(one.graph), one.feeds[0])
    assert {"t1", "t2", "t3"} <= found.keys()
    for name, codes in found.items():
        assert np.array_equal(codes, want[name]), name
