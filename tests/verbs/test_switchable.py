"""Verbs on a switchable network: built once, then run, verified and inspected switch by switch."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import tinygen
from tests.support.board_batch import IN, M7, OUT, execute, link
from tests.support.command import tinygen as call
from tests.support.switchable import CLASSES, random_inputs, small_network
from tests.targets.wire import Wire, command_of
from tinygen.cli.tables import build_summary
from tinygen.errors import DeviceError, ModelError, TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import Device, open_device
from tinygen.hil.transports import ProcessTransport
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.network import Network
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, BuildReport, build
from tinygen.verbs.inspect import inspect_model
from tinygen.verbs.run import RunOptions, run
from tinygen.verbs.verify import VerifyOptions, verify

NETWORK = small_network()
INPUTS = random_inputs(NETWORK, 6, seed=3)


def outputs(network: Network, index: int, sample: list[np.ndarray]) -> list[list[int]]:
    return [y.tolist() for y in evaluate(network.switches[index].graph, sample)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    return build(MemoryModel(NETWORK, "net"), tmp_path_factory.mktemp("f746zg") / "net", BuildOptions())


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    options = BuildOptions(board="host")
    return build(MemoryModel(NETWORK, "net"), tmp_path_factory.mktemp("host") / "net", options)


@pytest.fixture
def device(native: BuildReport) -> Iterator[Device]:
    with open_device(native.folder) as device:
        yield device


def test_manifest(built: BuildReport) -> None:
    manifest = json.loads((built.folder / "manifest.json").read_text())
    assert manifest == built.as_json()
    entries = manifest["switches"]
    assert [entry["name"] for entry in entries] == list(NETWORK.names)
    # What stands at the top is the first switch's.
    for key in ("inputs", "outputs", "layers", "arena_bytes", "macs", "steps"):
        assert manifest[key] == entries[0][key]
    assert manifest["profile"]["cycles_predicted"] == entries[0]["profile"]["cycles_predicted"]
    cycles = [entry["profile"]["cycles_predicted"] for entry in entries]
    assert len(set(cycles)) == len(cycles) and entries[-1]["profile"]["cycles_predicted"] == min(cycles)
    for entry in entries:
        assert len(entry["profile"]["layers"]) == len(entry["layers"])
        weights = sum(layer["weight_bytes"] for layer in entry["layers"])
        assert sum(entry["constant_bytes"].values()) <= weights
        assert 0 < sum(entry["code_bytes"].values()) < manifest["flash_model_bytes"]


def test_flash_of_each_switch(built: BuildReport) -> None:
    """What is shared counts once; the sum of own and shared is what an independent firmware has."""
    network, entries = built.as_json()["network"], built.as_json()["switches"]
    for entry in entries:
        assert sum(entry["constant_bytes"].values()) == network["constant_bytes_apart"][entry["name"]]
    own = sum(entry["constant_bytes"]["own"] for entry in entries)
    apart = sum(network["constant_bytes_apart"].values())
    assert own < network["constant_bytes"] < apart
    text = (built.folder / "model/net_weights.c").read_text()
    assert text.count("] TG_ALIGNED(4) = {") < sum(len(entry["layers"]) for entry in entries) * 4
    flash = next(region for region in built.as_json()["memory"] if region["name"] == "flash")["parts"]
    assert network["constant_bytes"] <= flash["model weights"] < network["constant_bytes"] + 4 * 100
    # Two convolutions of 8 x 3 x 3 x 3 and 8 x 3 x 3 x 8, and a classifier of 5 x 128.
    assert network["float_bytes"] == 4 * (216 + 576 + 640)
    assert network["arena_bytes"] == 8 + max(entry["arena_bytes"] for entry in entries)


def test_report(built: BuildReport) -> None:
    page = (built.folder / "report.html").read_text()
    for entry in built.as_json()["switches"]:
        assert f"<td>{entry['name']}</td>" in page and f"{entry['profile']['cycles_predicted']:,}" in page


def test_models_that_cannot_be_switched(tmp_path: Path) -> None:
    """They say nothing of switches, and take none."""
    model = MemoryModel(Network("one", NETWORK.switches[:1]).first, "one")
    folder = build(model, tmp_path / "one", BuildOptions(board="host")).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["switches"] == [] and "network" not in manifest and not (folder / "governor").exists()
    with open_device(folder) as device:
        info = device.client.info()
        assert (info.switches, info.current) == ((), 0)
        device.select(0)
        with pytest.raises(TinygenError, match="no switch 1"):
            device.select(1)
        with pytest.raises(TinygenError, match="no switch 'w1a1'") as caught:
            device.select("w1a1")
        assert "no switches" in caught.value.fix
        with pytest.raises(DeviceError, match="no such switch"):
            device.client.set_switch(1)


def test_run(built: BuildReport, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.stack([sample[0] for sample in INPUTS]))
    for switch in (None, "w1a1", "w4a8", "w8a8_x0_5"):
        result = run(built.folder, tmp_path / "x.npy", RunOptions(switch=switch))
        index = 0 if switch is None else NETWORK.names.index(switch)
        got = [[y.tolist() for y in row.outputs] for row in result.rows]
        assert got == [outputs(NETWORK, index, sample) for sample in INPUTS]
        assert result.as_json().get("switch") == switch
        assert [layer["name"] for layer in result.as_json()["layers"]] == list(result.layers)
    with pytest.raises(TinygenError, match="no switch 'w3a3'") as caught:
        run(built.folder, tmp_path / "x.npy", RunOptions(switch="w3a3"))
    assert "w1a1, w2a2" in caught.value.fix


def test_verify(tmp_path: Path) -> None:
    tinygen.save(NETWORK, tmp_path / "net.tg")
    labels = [int(np.argmax(outputs(NETWORK, 4, sample))) for sample in INPUTS]
    np.savez(tmp_path / "x.npz", x=np.stack([sample[0] for sample in INPUTS]), y=labels)
    report = verify(tmp_path / "net.tg", tmp_path / "x.npz", BuildOptions(board="host"))
    assert report.identical and [c.switch for c in report.comparisons] == list(NETWORK.names)
    assert report.accuracy is not None and report.accuracy["w8a8 host"] == len(INPUTS)
    assert report.as_json()["pairs"][1] == {
        "switch": "w2a2",
        "pair": "semantics/host",
        "samples": 6,
        "mismatches": 0,
        "max_abs_diff": 0,
        "first_mismatch": None,
    }
    one = verify(
        tmp_path / "net.tg", tmp_path / "x.npz", BuildOptions(board="host"), VerifyOptions(switch="w2a2", limit=2)
    )
    assert [c.switch for c in one.comparisons] == ["w2a2"] and one.samples == 2
    with pytest.raises(ModelError, match="no switch 'w9'"):
        verify(tmp_path / "net.tg", tmp_path / "x.npz", BuildOptions(board="host"), VerifyOptions(switch="w9"))


def test_verify_names_the_switch_and_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong operator of one switch: that switch's pairs differ, at that layer, and no other's."""
    right = Conv2D.evaluate
    epilogues = [next(op for op in one.graph.ops if op.name == "layer1") for one in NETWORK]

    def wrong(self: Conv2D, node, values):  # type: ignore[no-untyped-def]
        results = right(self, node, values)
        if self.epilogue == epilogues[2].epilogue:  # type: ignore[attr-defined]
            results[0] ^= 1
        return results

    tinygen.save(NETWORK, tmp_path / "net.tg")
    np.save(tmp_path / "x.npy", np.stack([sample[0] for sample in INPUTS[:2]]))
    monkeypatch.setattr(Conv2D, "evaluate", wrong)
    report = verify(tmp_path / "net.tg", tmp_path / "x.npy", BuildOptions(board="host"))
    bad = [comparison for comparison in report.comparisons if comparison.mismatches]
    assert [comparison.switch for comparison in bad] == ["w4a4"] and not report.identical
    assert bad[0].where is not None and bad[0].where.layer == "layer1"


def test_inspect(tmp_path: Path) -> None:
    tinygen.save(NETWORK, tmp_path / "net.tg")
    content = inspect_model(tmp_path / "net.tg")
    assert [entry["name"] for entry in content["switches"]] == list(NETWORK.names)
    assert content["operators"] == content["switches"][0]["operators"]
    assert content["switches"][-1]["macs"] < content["macs"]


def test_intermediate_tensors(device: Device) -> None:
    """The trace is the current switch's."""
    for index in (4, 0, 5):
        device.select(index)
        found = device.intermediate(INPUTS[0])
        semantics = evaluate_all(simplify(NETWORK.switches[index].graph), INPUTS[0])
        assert found.keys() >= {"y0", "y1"}
        for name, codes in found.items():
            np.testing.assert_array_equal(codes, semantics[name])


class Kept(ProcessTransport):
    """A board that goes on when the host lets go of it."""

    def close(self) -> None:
        pass


def test_a_board_that_another_session_left_switched(native: BuildReport) -> None:
    """It starts with the first switch all the same."""
    board = Kept([str(native.folder / "firmware.elf")])
    DeviceClient(board).wait_for_boot()
    for switch in ("w4a8", "w8a8", None):
        with open_device(native.folder, transport=board) as device:
            assert device.client.info().current == 0
            if switch is not None:
                device.select(switch)
            index = 0 if switch is None else NETWORK.names.index(switch)
            assert [y.tolist() for y in device.infer(INPUTS[1])] == outputs(NETWORK, index, INPUTS[1])
    ProcessTransport.close(board)


@pytest.mark.long
def test_weights_in_ram(tmp_path: Path) -> None:
    folder = build(MemoryModel(NETWORK, "net"), tmp_path / "net", BuildOptions(board="host", weights="ram")).folder
    with open_device(folder) as device:
        for index in range(len(NETWORK.switches)):
            device.select(index)
            assert [y.tolist() for y in device.infer(INPUTS[1])] == outputs(NETWORK, index, INPUTS[1])


def _switch_at_random(device: Device, count: int, seed: int) -> None:
    rng = random.Random(seed)
    wanted = [[outputs(NETWORK, index, sample) for sample in INPUTS] for index in range(len(NETWORK.switches))]
    current = 0
    device.select(0)
    for _ in range(count):
        if rng.random() < 0.1:
            with pytest.raises(DeviceError, match="no such switch"):
                device.client.set_switch(rng.choice((len(NETWORK.switches), 2**32 - 1)))
        else:
            current = rng.randrange(len(NETWORK.switches))
            device.select(current)
        sample = rng.randrange(len(INPUTS))
        assert [y.tolist() for y in device.infer(INPUTS[sample])] == wanted[current][sample]


def test_random_switchings_through_the_protocol(device: Device) -> None:
    _switch_at_random(device, 150, 1)


@pytest.mark.long
def test_random_switchings_of_an_emulated_board(built: BuildReport) -> None:
    with open_device(built.folder) as device:
        _switch_at_random(device, 60, 2)
        info = device.client.info()
    assert info.switches == NETWORK.names and info.layers == 4


@pytest.fixture
def wire(native: BuildReport) -> Iterator[Wire]:
    with Wire(command_of(load_board("host"), native.folder / "firmware.elf")) as wire:
        wire.boot = wire.reply()
        yield wire


def test_protocol(wire: Wire) -> None:
    info = wire.ask("tg-info%")
    names = [f"m-tg-switch {index} {name}" for index, name in enumerate(NETWORK.names)]
    assert info[-10:-3] == [*names, "m-tg-current 0"] and info[-3] == "m-tg-layers 4"
    assert wire.ask("tg-switch 3%") == ["m-tg-current 3"]
    for command, answer in {
        "tg-switch 6%": "e-[no such switch]",
        "tg-switch 4294967295%": "e-[no such switch]",
        "tg-switch 4294967296%": "e-[tg-switch wants: switch]",
        "tg-switch%": "e-[tg-switch wants: switch]",
        "tg-switch -1%": "e-[tg-switch wants: switch]",
        "tg-switch 1 2%": "e-[tg-switch wants: switch]",
        "tg-switches%": "e-[Unknown command: tg-switches]",
        "tg-dump 4%": "e-[no such tensor]",
    }.items():
        assert wire.ask(command) == [answer]
        assert wire.ask("tg-info%")[-4] == "m-tg-current 3"


def test_command_line(tmp_path: Path, native: BuildReport) -> None:
    np.save(tmp_path / "x.npy", INPUTS[0][0])
    run = ["run", native.folder, "--inputs", tmp_path / "x.npy", "--switch"]
    done = call(*run, "w7")
    assert done.returncode == 1 and "no switch 'w7'" in done.stderr and "w1a1, w2a2" in done.stderr
    done = call(*run, "w8a8")
    assert done.returncode == 0 and "switch w8a8" in done.stdout


def test_tables(built: BuildReport) -> None:
    text = io.StringIO()
    Console(file=text, width=160).print(build_summary(built.manifest))
    for entry in built.as_json()["switches"]:
        assert f"{entry['profile']['cycles_predicted']:,}" in text.getvalue()
    assert "in independent firmwares" in text.getvalue() and "as float32 weights" in text.getvalue()


def test_governor_beside_the_firmware(built: BuildReport, tmp_path: Path) -> None:
    """Its C, the ladder and the model on an emulated core: every inference by the switch that the budget allows."""
    entries = built.as_json()["switches"]
    costs = {e["name"]: round(1000 * e["profile"]["microjoules_predicted"]) for e in entries}
    ladder = (built.folder / "governor/net_ladder.c").read_text()
    listed = re.findall(r"\{NET_(\w+), (\d+)U\}", ladder)
    assert [(name.lower(), int(cost)) for name, cost in listed] == sorted(costs.items(), key=lambda item: item[1])
    assert "nanojoules" in ladder
    for source in (*(built.folder / "governor").iterdir(), *(built.folder / "model").iterdir()):
        shutil.copy(source, tmp_path)
    count, budget = 40, 40 * (min(costs.values()) + max(costs.values())) // 2
    main = f"""
#include "governor.h"
#include "net_ladder.h"
#include <string.h>
void run_all(void);
void run_all(void)
{{
    governor_energy_t governor;
    net_t *const model = net_init(0, 0U);
    uint8_t *out = (uint8_t *){OUT:#x};
    const governor_setting_t *setting;
    governor_energy_init(&governor, net_ladder, NET_SWITCHES, {budget}U, {count}U);
    while ((setting = governor_energy_next(&governor)) != 0) {{
        const int32_t answer = net_set_switch(model, setting->which);
        memcpy(net_input(model), (const void *){IN:#x}, NET_INPUT_SIZE);
        net_invoke(model);
        memcpy(out, &answer, 4U);
        memcpy(out + 4, &setting->which, 4U);
        memcpy(out + 8, net_output(model), 4U * NET_OUTPUT_SIZE);
        out += 8U + 4U * NET_OUTPUT_SIZE;
    }}
}}
"""
    elf = link(main, sorted(tmp_path.glob("*.c")), tmp_path, M7, "zig", "-O2")
    size = 8 + 4 * CLASSES
    content = execute(elf, INPUTS[0][0].tobytes(), (count + 1) * size, M7)
    rows = np.frombuffer(content, "<i4").reshape(count + 1, -1)
    assert not rows[count].any() and not rows[:, 0].any()
    chosen = [int(which) for which in rows[:count, 1]]
    assert sum(costs[NETWORK.names[which]] for which in chosen) <= budget and len(set(chosen)) > 1
    for which, row in zip(chosen, rows, strict=False):
        assert [[row[2:].tolist()]] == outputs(NETWORK, which, INPUTS[0])
