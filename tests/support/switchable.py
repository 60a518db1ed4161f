"""Random networks of several switches, and many switchings of one in a single program, on the host or a core."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support import integer_layers as layers
from tests.support.board_batch import IN, LEVEL, M7, OUT, Core, execute, link
from tests.support.host_batch import SANITIZERS, compile_host
from tests.support.integer_layers import INT8, INT32, Layer, affine, conv, dense, levels, max_pool
from tinygen.emit.model import emit_model
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network, Switch
from tinygen.lowering.network import NetworkProgram

IMAGE = (8, 8, 3)
CLASSES = 5
INPUT = affine(-128)


def chain(name: str, parts: Sequence[Layer]) -> Graph:
    """Single layers one behind the other; each takes what the one before gives."""
    tensors, ops, last = {}, [], "x"
    for index, part in enumerate(parts):
        (op,) = part.graph.ops
        names = {"x": last, "y": f"y{index}"}
        names |= {t: f"{t}{index}" for t in part.graph.tensors if t not in names}
        for old, tensor in part.graph.tensors.items():
            tensors.setdefault(names[old], replace(tensor, name=names[old]))
        ops.append(replace(op, name=f"layer{index}", inputs=tuple(names[t] for t in op.inputs), outputs=(names["y"],)))
        last = names["y"]
    graph = Graph(name, tensors, tuple(ops), ("x",), (last,))
    graph.validate()
    return graph


def small_graph(name: str, w: IntegerEncoding, x: IntegerEncoding, *, channels: int = 8, seed: int = 0) -> Graph:
    """An int8 convolution, one with weights `w` on activations `x`, a pool, and an int8 classifier to int32."""
    size = (8, 8, channels)
    return chain(
        name,
        [
            conv("a", IMAGE, channels, (3, 3), x=INPUT, w=INT8, y=x, seed=seed),
            conv("b", size, channels, (3, 3), x=x, w=w, y=x, seed=seed),
            max_pool("c", size, (2, 2), (2, 2), x=x, sign="rising", seed=seed),
            dense("d", (4, 4, channels), CLASSES, x=x, w=INT8, y=INT32, seed=seed),
        ],
    )


def small_network(name: str = "net", seed: int = 0) -> Network:
    """Six switches: weights of 8 bits to 1, the same weights on other activations, and half the width."""
    made: dict[str, Graph] = {
        "w1a1": small_graph(name, layers.BINARY, layers.BINARY, seed=seed),
        "w2a2": small_graph(name, levels(2, True), levels(2), seed=seed),
        "w4a4": small_graph(name, levels(4, True), levels(4), seed=seed),
        "w4a8": small_graph(name, levels(4, True), INPUT, seed=seed),
        "w8a8": small_graph(name, INT8, INPUT, seed=seed),
        "w8a8_x0_5": small_graph(name, INT8, INPUT, channels=4, seed=seed),
    }
    network = Network(name, tuple(Switch(switch, graph) for switch, graph in made.items()))
    network.validate()
    return network


def random_inputs(network: Network, count: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Codes of each input, `count` times."""
    rng = np.random.default_rng(seed)
    tensors = [network.first.tensors[name] for name in network.first.inputs]
    return [[layers.random_codes(t.encoding, t.shape, rng) for t in tensors] for _ in range(count)]


Plan = Sequence[tuple[int, int]]
"""(what set_switch is asked for, which input), in turn; what is asked for may be no switch."""


def random_plan(network: Network, inputs: int, count: int, seed: int = 0, illegal: float = 0.1) -> Plan:
    rng = np.random.default_rng(seed)
    wrong = (len(network.switches), len(network.switches) + 1, 2**31, 2**32 - 1)
    return [
        (
            int(rng.choice(wrong)) if rng.random() < illegal else int(rng.integers(len(network.switches))),
            int(rng.integers(inputs)),
        )
        for _ in range(count)
    ]


def expected_bytes(network: Network, inputs: Sequence[Sequence[np.ndarray]], plan: Plan) -> bytes:
    """What the program of `_main` has to put out, by the integer semantics."""
    known: dict[tuple[int, int], bytes] = {}
    current, content = 0, []
    stream = Stream(network.first)
    for asked, index in plan:
        legal = asked < len(network.switches)
        if legal and asked != current:
            current, stream = asked, Stream(network.switches[asked].graph)
        if stream.graph.states or (current, index) not in known:
            results = zip(stream.graph.outputs, stream.step(inputs[index]), strict=True)
            known[current, index] = b"".join(stream.graph.tensors[name].to_memory(codes) for name, codes in results)
        content.append(struct.pack("<iI", 0 if legal else -1, current) + known[current, index])
    return b"".join(content)


_BODY = """
    {name}_t *m = {name}_init(0, 0);
    for (uint32_t n = 0U; n < {count}U; n++) {{
        uint32_t asked, index;
        GET(&asked, 4U);
        GET(&index, 4U);
        const int32_t answer = {name}_set_switch(m, asked);
        const uint32_t current = {name}_switch(m);
        memcpy({name}_input(m), inputs + index * {input}U, {input}U);
        {name}_invoke(m);
        PUT(&answer, 4U);
        PUT(&current, 4U);
        PUT({name}_output(m), {output}U);
    }}
"""


def _feed(network: Network, inputs: Sequence[Sequence[np.ndarray]], plan: Plan) -> bytes:
    tensor = network.first.tensors[network.first.inputs[0]]
    data = b"".join(tensor.to_memory(one[0]) for one in inputs)
    return data + b"".join(struct.pack("<II", *pair) for pair in plan)


def _main(network: Network, count: int, head: str) -> str:
    """C that follows a plan of `count` steps; `head` opens its function."""
    sizes = [_bytes(network.first, names) for names in (network.first.inputs, network.first.outputs)]
    body = _BODY.format(name=network.name, count=count, input=sizes[0], output=sizes[1])
    return f'#include "{network.name}.h"\n#include <stdint.h>\n#include <string.h>\n{head}{body}'


def _bytes(graph: Graph, names: Sequence[str]) -> int:
    (name,) = names
    return graph.tensors[name].nbytes


def write_network(program: NetworkProgram, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in emit_model(program, "test").files.items():
        (folder / name).write_text(text)
    return sorted(folder.glob("*.c"))


def switch_on_host(
    program: NetworkProgram, network: Network, inputs: Sequence[Sequence[np.ndarray]], plan: Plan, folder: Path
) -> bytes:
    """What a plan gives on the host, under sanitizers."""
    sources = write_network(program, folder)
    size = _bytes(network.first, network.first.inputs) * len(inputs)
    head = f"""#include <stdio.h>
#define GET(data, bytes) if (fread(data, 1, bytes, stdin) != (bytes)) {{ return 3; }}
#define PUT(data, bytes) if (fwrite(data, 1, bytes, stdout) != (bytes)) {{ return 4; }}
static uint8_t inputs[{size}];
int main(void)
{{
    GET(inputs, {size}U)
"""
    main = folder / "main_switching.c"
    main.write_text(_main(network, len(plan), head) + "    return 0;\n}\n")
    executable = folder / "switching"
    compile_host([main, *sources], executable, ("-O0", *SANITIZERS))
    done = subprocess.run(
        [executable], input=_feed(network, inputs, plan), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout


def switch_on_board(
    program: NetworkProgram,
    network: Network,
    inputs: Sequence[Sequence[np.ndarray]],
    plan: Plan,
    folder: Path,
    core: Core = M7,
    compiler: str = "zig",
) -> bytes:
    """The same on an emulated core."""
    sources = write_network(program, folder)
    head = f"""#define GET(data, bytes) (memcpy(data, in, bytes), in += (bytes))
#define PUT(data, bytes) (memcpy(out, data, bytes), out += (bytes))
void run_all(void);
void run_all(void)
{{
    const uint8_t *in = (const uint8_t *){IN:#x};
    uint8_t *out = (uint8_t *){OUT:#x};
    const uint8_t *const inputs = in;
    in += {_bytes(network.first, network.first.inputs) * len(inputs)}U;
"""
    elf = link(_main(network, len(plan), head) + "}\n", sources, folder, core, compiler, LEVEL.get())
    total = len(plan) * (8 + _bytes(network.first, network.first.outputs))
    return execute(elf, _feed(network, inputs, plan), total, core)
