"""Networks of several switches that keep something: another switch begins anew, the same one goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.hil.faulty import FaultyDevice, resets
from tests.support.integer_layers import random_codes
from tests.support.switchable import Plan, expected_bytes, random_plan, switch_on_board, switch_on_host
from tests.support.windows import WindowNetwork
from tinygen import save, to_streaming
from tinygen.emit.model import emit_model
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import open_device
from tinygen.hil.twins import TURN
from tinygen.ir.encodings import Affine, Encoding
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network, Switch
from tinygen.lowering.network import lower_network
from tinygen.passes.pipeline import simplify_network
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.farm import FarmOptions, farm
from tinygen.verbs.hil import HilOptions, hil
from tinygen.verbs.verify import verify

ISA = ("c99", "dsp")
WINDOW, HOP = 15, 3
INPUT = Affine("int8", (0.05,), (-128,))


def network(name: str = "net") -> Network:
    """Three switches of other layers, and another one that keeps nothing."""
    switches = []
    for index, word in enumerate(("wide", "narrow", "deep", "last")):
        rng = np.random.default_rng(index)
        net = WindowNetwork(rng, (1, WINDOW, 1, 6), INPUT)
        if word == "last":
            net.last_frames(HOP)
        else:
            for _ in range(1 + (word == "deep")):
                net.conv(8 if word == "wide" else 4, (3, 1))
        net.dense(3)
        y = net.tensors[net.x]
        net.tensors[net.x] = replace(y, encoding=_output(y.encoding))
        switches.append(Switch(word, net.graph(name=name)))
    return to_streaming(Network(name, tuple(switches)), hop=HOP)


def _output(encoding: Encoding) -> Encoding:
    assert isinstance(encoding, Affine)
    return replace(encoding, zero_point=(0,))


NET = network()
PROGRAM = lower_network(simplify_network(NET), isa=ISA)


def frames(count: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(7)
    return [[random_codes(INPUT, (1, HOP, 1, 6), rng)] for _ in range(count)]


def stays(plan: Plan) -> Plan:
    """The same with most switchings left out."""
    return [(plan[index // 4 * 4][0], which) for index, (_, which) in enumerate(plan)]


@pytest.mark.parametrize("run", [switch_on_host, pytest.param(switch_on_board, id="board")])
def test_another_switch_begins_anew(run: Callable[..., bytes], tmp_path: Path) -> None:
    inputs = frames(6)
    plan = stays(random_plan(NET, len(inputs), 240))
    assert [len(switch.graph.states) for switch in NET] == [2, 2, 3, 0]
    assert run(PROGRAM, NET, inputs, plan, tmp_path) == expected_bytes(NET, inputs, plan)


def test_how_the_c_reads() -> None:
    files = emit_model(PROGRAM, "net.tg").files
    kept = max(program.state_bytes for program in PROGRAM.programs)
    assert f"The model keeps up to {kept} bytes" in files["net.h"]
    assert "void net_reset(net_t *model);" in files["net.h"]
    assert files["net.c"].count("net_reset(model);") == 2
    reset = files["net.c"].split("void net_reset")[1].split("\n}\n")[0]
    assert reset.count("\n        break;") == 4
    assert [word in reset for word in ("NET_WIDE", "NET_NARROW", "NET_DEEP", "NET_LAST")] == [True, True, True, False]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("switched") / "net.tg"
    save(NET, path)
    return path


@pytest.mark.long
def test_verify(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.stack([sample[0] for sample in frames(12)]))
    report = verify(model, tmp_path / "x.npz", BuildOptions(board="f746zg"))
    assert report.identical, [comparison.as_json() for comparison in report.comparisons]
    assert {comparison.switch for comparison in report.comparisons} == set(NET.names)


def test_devices(model: Path, tmp_path: Path) -> None:
    """Over the protocol: switching, resetting, and a device that restarts."""
    folder = build(model, tmp_path / "host", BuildOptions(board="host"), profile=False).folder
    samples = frames(8)
    semantics = [Stream(switch.graph) for switch in NET]
    with open_device(folder) as device:
        assert device.keeps and device.info is not None
        assert device.info.state_bytes == max(program.state_bytes for program in PROGRAM.programs)
        for switch in (0, 2, 3, 2, 1):
            device.select(switch)
            semantics[switch].reset()
            for sample in samples:
                np.testing.assert_array_equal(device.step(sample)[0], semantics[switch].step(sample)[0])
        device.reset()
        np.testing.assert_array_equal(
            device.infer(samples[0])[0], Stream(NET.switch("narrow").graph).step(samples[0])[0]
        )
    client = DeviceClient(FaultyDevice([folder / "firmware.elf"], "tg-run", [1, 4], resets), infer_seconds=2.0)
    client.set_switch(2)
    semantics[2].reset()
    for sample in samples:
        found = client.infer([sample[0].tobytes()], keep=True).outputs[0]
        np.testing.assert_array_equal(np.frombuffer(found, np.int8), semantics[2].step(sample)[0][0])
    client.close()
    assert client.troubles


def test_many_inputs_are_one_stream(tmp_path: Path) -> None:
    """However many a turn of hil or a farm takes; also where the first switch keeps nothing."""
    save(replace(NET, switches=(NET.switch("last"), NET.switch("wide"))), tmp_path / "net.tg")
    folder = build(tmp_path / "net.tg", tmp_path / "host", BuildOptions(board="host"), profile=False).folder
    samples = frames(TURN + 10)
    np.savez(tmp_path / "x.npz", x=np.stack([sample[0] for sample in samples]))
    stream = Stream(NET.switch("wide").graph)
    expected = [stream.step(sample)[0] for sample in samples]
    report = hil(folder, HilOptions(inputs=tmp_path / "x.npz", switch="wide"))
    assert report.passed, report.content["checks"]
    (outputs,) = (found for name, found in report.outputs.items() if "y0" in name)
    np.testing.assert_array_equal(outputs, expected)
    farmed = farm(folder, ["emulated", "emulated"], FarmOptions(inputs=tmp_path / "x.npz", switch="wide"))
    assert farmed.passed, farmed.as_json()
    np.testing.assert_array_equal(farmed.outputs[0], expected)
