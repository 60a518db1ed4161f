"""The C of switchable networks, as it should read, and what it shares. Refresh as test_golden.py says."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emit.test_golden import check
from tests.support import integer_layers as layers
from tests.support.host_batch import WARNINGS
from tests.support.switchable import (
    expected_bytes,
    random_inputs,
    small_network,
    switch_on_host,
    write_network,
)
from tests.targets.tools import requires_tool
from tinygen.demo import MODEL
from tinygen.emit.enumerators import Enumerators
from tinygen.emit.kernels import KernelWriter
from tinygen.emit.model import EmittedModel, emit_app_model, emit_model
from tinygen.emit.sharing import Shares, shares
from tinygen.errors import ModelError
from tinygen.frontends.load import load_network
from tinygen.ir.encodings import Affine
from tinygen.ir.network import Network, Switch
from tinygen.ir.tensor import Tensor
from tinygen.lowering.code_budget import coded_in_all
from tinygen.lowering.lower import choose_kernels, lower
from tinygen.lowering.network import STATE_BYTES, NetworkProgram, lower_network
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify, simplify_network

DSP = ("c99", "dsp")


def dense(name: str, w: layers.IntegerEncoding, scale: float = 1.0, zero: int = 0, seed: int = 1) -> Switch:
    """One dense layer, whose output has this scale and zero point."""
    graph = layers.dense("net", (16,), 4, x=layers.affine(-128), w=w, y=layers.INT32, seed=seed).graph
    y = Tensor("y", (1, 4), Affine("int32", (scale,), (zero,)))
    return Switch(name, replace(graph, tensors={**graph.tensors, "y": y}))


def emitted(*switches: Switch) -> EmittedModel:
    return emit_model(lower_network(Network("net", switches), isa=DSP), "net.tg")


@pytest.mark.parametrize("name", ["net.h", "net.c"])
def test_reads_well(name: str) -> None:
    model = emitted(dense("w1", layers.BINARY, 0.5), dense("w8", layers.INT8, 0.25), dense("again", layers.INT8, 0.25))
    check(f"switchable_{name}", model.files[name])


def test_one_switch_is_no_network() -> None:
    """The C, and its binding, of a network that has one switch is that of the graph."""
    network = load_network(MODEL)
    one = lower_network(simplify_network(network), isa=DSP)
    program = lower(simplify(network.first), isa=DSP)
    assert emit_model(one, "digits.tflite").files == emit_model(program, "digits.tflite").files
    assert emit_app_model(one, "digits.tflite", "0") == emit_app_model(program, "digits.tflite", "0")
    assert "switch" not in emit_model(program, "digits.tflite").files["digits.h"]


@pytest.mark.parametrize(
    "compiler", [pytest.param("gcc", marks=requires_tool("gcc")), pytest.param("zig", marks=pytest.mark.long)]
)
def test_no_warnings(compiler: str, tmp_path: Path) -> None:
    program = lower_network(small_network(), isa=DSP)
    sources = write_network(program, tmp_path / "model")
    (tmp_path / "app_model.c").write_text(emit_app_model(program, "test", "0" * 16))
    app = Path(__file__).parents[2] / "firmware/app"
    command = ["gcc"] if compiler == "gcc" else [sys.executable, "-m", "ziglang", "cc"]
    for source in (*sources, tmp_path / "app_model.c"):
        for flags in ([], ["-DNET_NO_STATIC_ARENA"]):
            done = subprocess.run(
                [*command, *WARNINGS, *flags, "-I", str(app), "-I", "model", "-c", str(source), "-o", "out.o"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr


@requires_tool("g++")
def test_header_in_cpp(tmp_path: Path) -> None:
    """C++ takes the header too."""
    write_network(lower_network(small_network(), isa=DSP), tmp_path)
    (tmp_path / "main.cpp").write_text('#include "net.h"\nint f(net_t *m) { return net_set_switch(m, NET_W2A2); }\n')
    command = ["g++", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-c", "main.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scales_that_differ_are_functions() -> None:
    """What is equal in all switches is a macro."""
    header = emitted(dense("a", layers.INT8, 0.5, 3), dense("b", layers.BINARY, 0.5, 3)).files["net.h"]
    assert "#define NET_OUTPUT_SCALE 5.0e-1f" in header and "#define NET_OUTPUT_ZERO_POINT (3)" in header
    assert "net_output_scale" not in header and "net_output_zero_point" not in header
    model = emitted(dense("a", layers.INT8, 0.5, 3), dense("b", layers.BINARY, 0.25, 4))
    header, source = model.files["net.h"], model.files["net.c"]
    assert "NET_OUTPUT_SCALE" not in header and "NET_OUTPUT_ZERO_POINT" not in header
    assert "float net_output_scale(const net_t *model);" in header
    assert "int32_t net_output_zero_point(const net_t *model);" in header
    assert re.findall(r"\.output_scale = (.*),", source) == ["5.0e-1f", "2.5e-1f"]
    assert re.findall(r"\.output_zero_point = (.*),", source) == ["3", "4"]


def test_equal_constants_are_there_once() -> None:
    """By content, however they are called; what one switch has alone bears its name."""
    both = emitted(dense("a", layers.INT8), dense("b", layers.INT8))
    alone = emit_model(lower(dense("a", layers.INT8).graph, isa=DSP), "net.tg")
    assert both.files["net_weights.c"] == alone.files["net_weights.c"]
    assert both.files["net_kernels.c"] == alone.files["net_kernels.c"]
    other = emitted(dense("a", layers.INT8), dense("b", layers.INT8, seed=2))
    text = other.files["net_weights.c"]
    assert "net_a_layer_weights[" in text and "net_b_layer_weights[" in text
    assert shares([switch.arrays for switch in both.switches])[0].own == 0
    assert shares([switch.arrays for switch in other.switches])[0].own >= 64
    third = emitted(dense("a", layers.INT8), dense("b", layers.INT8), dense("c", layers.INT8, seed=2))
    assert "/* a, b: layer weights" in third.files["net_weights.c"]


@pytest.mark.parametrize("name", ["invoke", "finished", "switches", "static_arena"])
def test_networks_called_as_something_of_their_c(name: str, tmp_path: Path) -> None:
    """Nothing in the C has the name of a function of the network, however network and switches are called."""
    switches = [dense(other, layers.INT8, seed=seed) for seed, other in enumerate(("invoke", "init", "layers_2", "t"))]
    network = Network(name, tuple(Switch(s.name, replace(s.graph, name=name)) for s in switches))
    inputs = random_inputs(network, 1)
    plan = [(index, 0) for index in range(len(switches))]
    got = switch_on_host(lower_network(network, isa=DSP), network, inputs, plan, tmp_path)
    assert got == expected_bytes(network, inputs, plan)


def test_shares() -> None:
    assert shares([{"x": 3, "y": 5}, {"y": 5}, {"z": 7, "y": 5}]) == (Shares(3, 5), Shares(0, 5), Shares(7, 5))


def test_one_arena() -> None:
    """As large as the largest, with the state before it."""
    network = simplify_network(small_network())
    program = lower_network(network, isa=DSP)
    apart = [lower(switch.graph, isa=DSP).memory.arena_bytes for switch in network]
    assert program.arena_bytes == STATE_BYTES + max(apart) and program.state_bytes == STATE_BYTES
    limit = program.arena_bytes - 8
    assert lower_network(network, isa=DSP, streaming=Streaming(limit)).arena_bytes <= limit


@pytest.mark.parametrize("name", ["switches", "layers", "arena_bytes", "no_such_switch", "output", "input_size", "h"])
def test_names_that_the_c_needs(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot be called '{name}'"):
        emitted(dense("a", layers.INT8), dense(name, layers.BINARY))


def test_symbols_of_the_api_stay_free() -> None:
    """A layer called "output" with an array "scale" does not take the name of a function."""
    network = small_network()
    switches = []
    for switch in network:
        ops = [replace(op, name={"layer1": "set", "layer0": "init"}.get(op.name, op.name)) for op in switch.graph.ops]
        switches.append(replace(switch, graph=replace(switch.graph, ops=tuple(ops))))
    model = emit_model(lower_network(replace(network, switches=tuple(switches)), isa=DSP), "net.tg")
    text = "\n".join(model.files[file] for file in ("net.c", "net_weights.c", "net_kernels.h"))
    symbols = re.findall(r"^(?:const )?\w+ \*?(net_\w+)[(\[]", text, re.MULTILINE)
    assert len(symbols) == len(set(symbols)) > 10


def test_code_budget_is_shared() -> None:
    """Weights as code of all switches come from one budget; equal code counts once."""
    conv = layers.conv("net", (6, 6, 4), 8, (3, 3), x=layers.levels(2), w=layers.TERNARY, y=layers.INT32, zeros=0.8)
    other = layers.conv(
        "net", (6, 6, 4), 8, (3, 3), x=layers.levels(2), w=layers.TERNARY, y=layers.INT32, zeros=0.8, seed=5
    )
    one, two = (choose_kernels(layer.graph, "tinygen", DSP) for layer in (conv, other))
    size = one.choices[0].fastest.code_bytes
    assert size > 0 and two.choices[0].fastest.code_bytes > 0
    pairs = [(chosen.graph, chosen.choices) for chosen in (one, two, one)]
    budget = max(size, two.choices[0].fastest.code_bytes)
    taken = coded_in_all(pairs, budget)
    assert [bool(names) for names in taken] in ([True, False, True], [False, True, False])
    assert all(coded_in_all(pairs, 2 * budget))
    assert not any(coded_in_all(pairs, min(size, two.choices[0].fastest.code_bytes) - 1))


def test_switch_of_an_error_is_named() -> None:
    """No stripes are small enough for an arena of nothing."""
    network = simplify_network(small_network())
    with pytest.raises(Exception, match="switch 'w1a1'"):
        lower_network(network, isa=DSP, streaming=Streaming(0))


def test_network_of_a_program() -> None:
    program = lower(dense("a", layers.INT8).graph, isa=DSP)
    network = NetworkProgram.of(program)
    assert not network.is_switchable and network.state_bytes == 0
    assert network.arena_bytes == program.memory.arena_bytes and network.first is program


def test_helpers_keep_their_names() -> None:
    """A kernel's helpers are called after it: `X_4` of `X`. The fourth kernel of that stem is not called so too."""
    writer = KernelWriter(NetworkProgram.of(lower(dense("a", layers.INT8).graph, isa=DSP)))
    images = [(8, 8, 4 + 4 * n) for n in range(6)]
    codes = {"x": layers.affine(-128), "w": layers.levels(4, True), "y": layers.affine(3)}
    graphs = [layers.conv("net", image, 8, (3, 3), **codes).graph for image in images]  # type: ignore[arg-type]
    programs = [lower(graph, isa=DSP) for graph in graphs]
    functions = [writer.call(Enumerators(program), step).function for program in programs for step in program.layers]
    text = "".join(function.body for function in writer.functions.values())
    defined = re.findall(r"^(?:TG_NOINLINE |static )?(?:inline )?void (\w+)\(", text, re.MULTILINE)
    assert len(set(functions)) == len(functions) == 6
    assert len(defined) == len(set(defined)) > 6
