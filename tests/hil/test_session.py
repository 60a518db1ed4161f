"""Sessions with devices that fail: every result is the device's own, or there is none and the report says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.hil.faulty import (
    FaultyDevice,
    digits_on,
    goes_silent,
    is_unplugged,
    misses_the_command,
    resets,
    resets_quietly,
)
from tests.support.switchable import small_network
from tests.targets.build import build as build_dummy
from tests.targets.tools import requires_tool
from tinygen.builds.kept_model import read_kept_model
from tinygen.builds.manifest import read_manifest
from tinygen.demo import load_test_digits
from tinygen.errors import BoardError, DeviceError, TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.hil import client
from tinygen.hil.checks import Limits
from tinygen.hil.device import Device
from tinygen.hil.output import HilReport
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil

COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on("host", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, labels = load_test_digits()
    path = tmp_path_factory.mktemp("inputs") / "digits.npz"
    np.savez(path, x=images[:COUNT], y=labels[:COUNT])
    return path


@pytest.fixture(scope="module")
def right(folder: Path) -> list[list[int]]:
    graph = read_kept_model(folder, read_manifest(folder)).first
    return [evaluate(graph, [image])[0].tolist() for image in load_test_digits()[0][:COUNT]]


def statuses(report: HilReport) -> dict[str, str]:
    return {one["name"]: one["status"] for one in report.content["checks"]}


def message(report: HilReport, name: str) -> str:
    return next(str(one["message"]) for one in report.content["checks"] if one["name"] == name)


def assert_rows_are_right(report: HilReport, right: Sequence[object], count: int = COUNT) -> None:
    """Exactly the first `count` inputs, in order, each with its own result."""
    (part,) = report.content["switches"]
    assert [row["sample"] for row in part["rows"]] == report.outputs["sample"].tolist() == list(range(count))
    if count:
        assert report.outputs["y0"].tolist() == right[:count]
    assert all(row["matches"] for row in part["rows"])


def run(folder: Path, inputs: Path, device: FaultyDevice, **options: object) -> HilReport:
    return hil(folder, HilOptions(inputs=inputs, **options), transport=device)  # type: ignore[arg-type]


def elf(folder: Path) -> Path:
    return folder / "firmware.elf"


def test_all_is_well(folder: Path, inputs: Path, right: list[list[int]]) -> None:
    report = hil(folder, HilOptions(inputs=inputs, limits=Limits(min_accuracy=0.9)))
    assert report.passed
    assert statuses(report) == dict.fromkeys(
        ["boot", "build-id", "results", "bit-exact", "stable", "accuracy"], "passed"
    )
    assert_rows_are_right(report, right)
    (part,) = report.content["switches"]
    answers = [int(np.argmax(codes)) for codes in right]
    correct = sum(
        answer == label for answer, label in zip(answers, load_test_digits()[1][:COUNT].tolist(), strict=True)
    )
    assert part["accuracy"] == {"correct": correct, "of": COUNT, "accuracy": correct / COUNT}
    assert part["latency"]["source"] == "measured" and "nanoseconds" in part["latency"]["about"]
    assert part["energy"] == []
    assert all(row["attempts"] == 1 for row in part["rows"]) and not part["incidents"]


@pytest.mark.parametrize("command", ["tg-load", "tg-run", "tg-read"])
@pytest.mark.parametrize("fault", [resets, misses_the_command])
def test_a_device_that_is_reset_or_misses_a_command(
    folder: Path,
    inputs: Path,
    right: list[list[int]],
    command: str,
    fault: Callable[[FaultyDevice], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on with the input that it was at."""
    monkeypatch.setattr(client, "_REPLY_SECONDS", 0.4)
    device = FaultyDevice([elf(folder)], command, (4, 9), fault)
    report = run(folder, inputs, device, infer_seconds=0.4)
    assert_rows_are_right(report, right)
    assert statuses(report)["results"] == statuses(report)["bit-exact"] == "passed"


@pytest.mark.parametrize("command", ["tg-run", "tg-read"])
def test_a_reset_that_nobody_sees(folder: Path, inputs: Path, right: list[list[int]], command: str) -> None:
    """What a fresh device makes of no input is not taken for the input's result."""
    device = FaultyDevice([elf(folder)], command, (5,), resets_quietly)
    report = run(folder, inputs, device)
    assert_rows_are_right(report, right)
    (part,) = report.content["switches"]
    assert [one["sample"] for one in part["incidents"]] == [3]
    assert statuses(report)["stable"] == "passed"


def test_an_unplugged_board(folder: Path, inputs: Path, right: list[list[int]], tmp_path: Path) -> None:
    # The first inference is not counted.
    device = FaultyDevice([elf(folder)], "tg-run", (7,), is_unplugged)
    report = run(folder, inputs, device, limits=Limits(min_accuracy=0.9))
    assert not report.passed
    assert_rows_are_right(report, right, 5)
    assert statuses(report)["results"] == "failed"
    assert statuses(report)["bit-exact"] == "passed"
    begin = f"5 of {COUNT} inputs have their result; stopped at input 5: /dev/ttyTEST: the board went away"
    assert message(report, "results").startswith(begin)
    report.write(tmp_path / "out", tmp_path / "ci.xml")
    kept = np.load(tmp_path / "out/outputs.npz")
    assert kept["y0"].tolist() == right[:5]
    assert json.loads((tmp_path / "out/hil-report.json").read_text())["switches"][0]["completed"] == 5


def test_unplugged_before_the_first_result(folder: Path, inputs: Path) -> None:
    report = run(folder, inputs, FaultyDevice([elf(folder)], "tg-load", (1,), is_unplugged))
    assert_rows_are_right(report, [], 0)
    assert statuses(report)["bit-exact"] == statuses(report)["stable"] == "skipped"
    assert report.junit().count("<skipped") == 2


def test_high_water_marks(folder: Path, inputs: Path) -> None:
    """Those of the firmware: painted before the first inference, read after the last."""
    device = FaultyDevice([elf(folder)], "tg-run", (), resets)
    memory = run(folder, inputs, device, limit=3).content["switches"][0]["memory"]
    # Inputs and outputs lie in it; its last bytes may have been written with what the paint looks like.
    assert 0.9 * memory["arena_bytes"] < memory["arena_used_bytes"] <= memory["arena_bytes"]


@pytest.mark.parametrize("fault", [resets, resets_quietly])
def test_no_high_water_marks_after_a_restart(folder: Path, inputs: Path, fault: Callable[[FaultyDevice], bool]) -> None:
    """What start-up wrote is not taken for the model's need."""
    (part,) = run(folder, inputs, FaultyDevice([elf(folder)], "tg-run", (3,), fault), limit=3).content["switches"]
    assert part["completed"] == 3 and part["memory"]["arena_used_bytes"] is None


def test_interrupted(folder: Path, inputs: Path, right: list[list[int]]) -> None:
    """What there is by then is kept; other switches are not begun."""

    def wants_to_stop(device: FaultyDevice) -> bool:
        raise KeyboardInterrupt

    report = run(folder, inputs, FaultyDevice([elf(folder)], "tg-run", (6,), wants_to_stop))
    assert_rows_are_right(report, right, 4)
    assert message(report, "results") == f"4 of {COUNT} inputs have their result; stopped at input 4: interrupted"


def test_interrupted_after_the_last_input(folder: Path, inputs: Path, right: list[list[int]]) -> None:
    """While layers are timed: no result is lost."""

    def wants_to_stop(device: FaultyDevice) -> bool:
        raise KeyboardInterrupt

    report = run(folder, inputs, FaultyDevice([elf(folder)], "tg-profile", (1,), wants_to_stop))
    assert_rows_are_right(report, right)
    last = COUNT - 1
    assert report.content["switches"][0]["stopped"] == f"after input {last}: interrupted"


def test_a_device_that_hangs(
    folder: Path, inputs: Path, right: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_REPLY_SECONDS", 0.2)
    device = FaultyDevice([elf(folder)], "tg-run", (4,), goes_silent)
    report = run(folder, inputs, device, infer_seconds=0.2)
    assert_rows_are_right(report, right, 2)
    assert "stopped at input 2" in message(report, "results")
    assert "does not answer, in 4 attempts" in message(report, "results")
    assert {one["sample"] for one in report.content["switches"][0]["incidents"]} == {2}


def test_another_firmware_after_a_reset(folder: Path, inputs: Path, right: list[list[int]], tmp_path: Path) -> None:
    """No result is taken from it."""
    other = build_dummy(load_board("host"), "zig", tmp_path).elf
    report = run(folder, inputs, FaultyDevice([elf(folder), other], "tg-run", (4,), resets))
    assert_rows_are_right(report, right, 2)
    assert "runs build" in message(report, "results")


def test_another_firmware_from_the_start(folder: Path, inputs: Path, tmp_path: Path) -> None:
    other = build_dummy(load_board("host"), "zig", tmp_path).elf
    report = run(folder, inputs, FaultyDevice([other], "tg-run", (), resets))
    assert statuses(report)["boot"] == "passed" and statuses(report)["build-id"] == "failed"
    assert "Flash the firmware of this directory" in message(report, "build-id")
    assert_rows_are_right(report, [], 0)


def test_nobody_answers(folder: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_REPLY_SECONDS", 0.2)
    device = FaultyDevice([elf(folder)], "tg-run", (), resets)
    device.silent = True
    report = run(folder, inputs, device)
    assert statuses(report)["boot"] == "failed" and statuses(report)["build-id"] == "skipped"
    assert "does not answer" in message(report, "boot")


def test_a_firmware_that_computes_something_else(folder: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as what it is, and where it begins: here, by a semantics that is wrong in its second convolution."""
    real = Conv2D.evaluate
    second = [op.name for op in read_kept_model(folder, read_manifest(folder)).first.ops if isinstance(op, Conv2D)][1]

    def wrong(self: Conv2D, node, values):  # type: ignore[no-untyped-def]
        outputs = real(self, node, values)
        if self.name == second:
            outputs[0] ^= 64
        return outputs

    monkeypatch.setattr(Conv2D, "evaluate", wrong)
    report = hil(folder, HilOptions(inputs=inputs, limit=3))
    assert statuses(report)["bit-exact"] == "failed"
    assert statuses(report)["results"] == statuses(report)["stable"] == "passed"
    (part,) = report.content["switches"]
    assert part["first_mismatch"]["layer"] == second and part["first_mismatch"]["sample"] == 0
    assert part["mismatches"] == sum(not row["matches"] for row in part["rows"]) > 0
    assert f"layer {second}, element [0, 0, 0, 0]" in message(report, "bit-exact")


def test_a_switchable_network(tmp_path: Path) -> None:
    """A board that is reset gets its switch again, whichever it was."""
    network = small_network()
    folder = build(MemoryModel(network, "net"), tmp_path / "net", BuildOptions(board="host")).folder
    device = FaultyDevice([elf(folder)], "tg-run", (8, 15, 22), resets)
    report = hil(folder, HilOptions(limit=5), transport=device)
    assert [part["switch"] for part in report.content["switches"]] == list(network.names)
    assert {f"{name}/y0" for name in network.names} <= report.outputs.keys()
    for part in report.content["switches"]:
        assert part["completed"] == 5 and part["mismatches"] == 0
    assert sum(len(part["incidents"]) for part in report.content["switches"]) >= 3
    one = hil(folder, HilOptions(limit=5, switch="w2a2"))
    assert [part["switch"] for part in one.content["switches"]] == ["w2a2"]
    assert one.passed
    np.testing.assert_array_equal(one.outputs["w2a2/y0"], report.outputs["w2a2/y0"])
    assert 'name="bit-exact[w2a2]"' in one.junit()
    with pytest.raises(TinygenError, match="there is no switch 'w3a3'"):
        hil(folder, HilOptions(switch="w3a3"))


@pytest.fixture(scope="module")
def nucleo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on("f746zg", tmp_path_factory.mktemp("nucleo"))


def test_emulated_and_behind_a_terminal(nucleo: Path, inputs: Path, right: list[list[int]]) -> None:
    """The same results; what cannot be known of a port is not called measured."""
    here = hil(nucleo, HilOptions(inputs=inputs, limit=4))
    with EmulatedBoard(load_board("f746zg"), elf(nucleo)).pty() as port:
        there = hil(nucleo, HilOptions(inputs=inputs, limit=4, port=port))
    for report in (here, there):
        assert report.passed
        assert_rows_are_right(report, right, 4)
    (a,), (b,) = here.content["switches"], there.content["switches"]
    assert a["latency"]["source"] == a["energy"][0]["source"] == a["layers"][0]["source"] == "predicted"
    assert b["latency"]["source"] == b["layers"][0]["source"] == "reported"
    assert b["energy"][0]["source"] == "predicted" and "which is reported" in b["energy"][0]["about"]
    assert sum(layer["cycles"] for layer in a["layers"]) == pytest.approx(a["latency"]["cycles"]["median"], rel=0.01)
    assert a["layers"][0]["instructions"] and b["layers"][0]["instructions"] is None
    assert 0 < a["memory"]["stack_used_bytes"] < a["memory"]["stack_bytes"] == 4096
    assert there.content["device"] == {
        "name": "f746zg-serial",
        "engine": "serial",
        "port": port,
        "clock_hz": 216_000_000,
    }


def test_a_place_of_a_board_farm(nucleo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/hil/test_labgrid.py has the farm; here, that its places are asked for."""
    asked = []

    def place(name: str, baud: int) -> EmulatedBoard:
        asked.append((name, baud))
        return EmulatedBoard(load_board("f746zg"), elf(nucleo))

    monkeypatch.setattr("tinygen.hil.labgrid.LabgridTransport", place)
    report = hil(nucleo, HilOptions(limit=2, port="labgrid:desk"))
    assert report.passed and asked == [("labgrid:desk", 115200)]
    assert report.content["device"]["port"] == "labgrid:desk"
    assert report.content["switches"][0]["latency"]["source"] == "reported"


def test_several_twins_give_the_same_report(nucleo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.hil.twins.TURN", 3)
    reports = [hil(nucleo, HilOptions(limit=7, jobs=jobs)) for jobs in (1, 2)]
    first, second = (report.content["switches"] for report in reports)
    assert first == second
    assert len(first[0]["rows"]) == 7
    assert reports[0].content["inputs"] == {"source": "random, seed 0", "count": 7, "labels": False}


@requires_tool("qemu-system-arm")
def test_through_qemu(inputs: Path, right: list[list[int]], tmp_path: Path) -> None:
    """Results are QEMU's; it counts no cycles, so those are its twin's, of a few inferences."""
    folder = digits_on("netduinoplus2", tmp_path)
    report = hil(folder, HilOptions(inputs=inputs, port="qemu"))
    assert report.passed
    assert report.content["device"]["engine"] == "qemu"
    assert_rows_are_right(report, right)
    (part,) = report.content["switches"]
    assert part["latency"]["source"] == "predicted" and part["latency"]["inferences"] == 3
    assert all(row["cycles"] is None for row in part["rows"])


def test_an_emulated_board_that_crashes(nucleo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a real one that hangs: what there is until then is kept."""
    real = Device.timed
    count = 0

    def timed(self: Device, sample, *, keep=False):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        if count == 4:
            raise BoardError("writes to 0x10", where="main.c:7")
        return real(self, sample, keep=keep)

    monkeypatch.setattr(Device, "timed", timed)
    report = hil(nucleo, HilOptions(limit=5))
    assert message(report, "results") == "2 of 5 inputs have their result; stopped at input 2: main.c:7: writes to 0x10"


def test_what_a_build_directory_must_have(folder: Path, inputs: Path, tmp_path: Path) -> None:
    for port in ("auto", "qemu"):
        with pytest.raises(DeviceError, match="is no board"):
            hil(folder, HilOptions(port=port))
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    (other / "model.tg").write_bytes(b"another model")
    with pytest.raises(TinygenError, match="is not the model of this build"):
        hil(other)
    (other / "model.tg").unlink()
    with pytest.raises(TinygenError, match="holds no copy of its model"):
        hil(other)


def test_a_board_that_nothing_emulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its build directory keeps the model as all do: only a port is missing."""
    folder = digits_on("esp32", tmp_path)
    for port in (None, "emulated", "qemu"):
        with pytest.raises(BoardError, match="nothing emulates esp32"):
            hil(folder, HilOptions(port=port))
    monkeypatch.setattr("tinygen.hil.ports.serial_ports", lambda: ())
    with pytest.raises(DeviceError, match="no serial port has USB"):
        hil(folder, HilOptions(port="auto"))


def test_labels_for_accuracy(folder: Path) -> None:
    with pytest.raises(TinygenError, match="no labels"):
        hil(folder, HilOptions(limits=Limits(min_accuracy=0.5)))
