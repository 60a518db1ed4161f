"""`tinygen farm`: a build on several emulated boards at once, held against the model."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.hil.farm_of_one import Farm, served
from tests.support.command import tinygen
from tests.support.switchable import CLASSES, random_inputs, small_network
from tests.targets.tools import requires_package
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.interpreter import evaluate
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.farm import FarmOptions, FarmReport, farm

NETWORK = small_network()
SWITCH = len(NETWORK.switches) - 1
COUNT = 9
MISSING = "/dev/ttyNOTHING0"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("farm")
    samples = random_inputs(NETWORK, COUNT, seed=4)
    named = {f"x{i}": np.stack(codes) for i, codes in enumerate(zip(*samples, strict=True))}
    np.savez(folder / "x.npz", **named, y=np.arange(COUNT) % CLASSES)  # type: ignore[arg-type]
    return build(MemoryModel(NETWORK, "net"), folder / "net", BuildOptions(board="f746zg")).folder


def wanted(folder: Path) -> np.ndarray:
    """What the model gives, a row per input."""
    x = np.load(folder.parent / "x.npz")
    samples = [[x[f"x{i}"][row] for i in range(len(x.files) - 1)] for row in range(COUNT)]
    return np.stack([evaluate(NETWORK.switches[SWITCH].graph, sample)[0] for sample in samples])


def options(folder: Path) -> FarmOptions:
    return FarmOptions(inputs=folder.parent / "x.npz", switch=NETWORK.names[SWITCH])


def test_three_boards_share_the_inputs(built: Path) -> None:
    told: list[int] = []
    ports = ["emulated"] * 3
    report = farm(built, ports, options(built), progress=lambda what, done, total: told.append(done))
    assert report.passed and told == list(range(1, COUNT + 1))
    assert [board.name for board in report.boards] == ["emulated 1", "emulated 2", "emulated 3"]
    right = wanted(built)
    assert report.samples == tuple(range(COUNT)) and report.outputs[0].tolist() == right.tolist()
    answers = right.reshape(COUNT, -1).argmax(1)
    assert report.correct == int((answers == np.arange(COUNT) % CLASSES).sum())


def test_a_board_that_is_not_there_is_named_and_harms_no_other(built: Path, tmp_path: Path) -> None:
    report = farm(built, ["emulated", MISSING], options(built))
    assert not report.passed and report.wrong == ()
    assert report.outputs[0].tolist() == wanted(built).tolist()
    assert report.boards[0].error == "" and MISSING in report.boards[1].error
    report.write(tmp_path / "out")
    content = json.loads((tmp_path / "out/farm-report.json").read_text())
    assert content["results"] == COUNT and content["boards"][0]["samples"] == list(range(COUNT))
    assert np.load(tmp_path / "out/outputs.npz")["sample"].tolist() == list(range(COUNT))


def test_no_board_at_all(built: Path, tmp_path: Path) -> None:
    report = farm(built, [MISSING], options(built))
    assert (report.samples, report.outputs, report.planned, report.passed) == ((), (), COUNT, False)
    report.write(tmp_path / "out")
    assert np.load(tmp_path / "out/outputs.npz")["sample"].tolist() == []


def test_wrong_results_are_found(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a board that computes something else."""
    from tinygen.verbs import farm as module

    monkeypatch.setattr(module, "from_memory", lambda data, tensor: np.zeros(tensor.shape, tensor.dtype))
    report: FarmReport = farm(built, ["emulated"], options(built))
    assert len(report.wrong) > 0 and not report.passed


@pytest.mark.parametrize(("ports", "what"), [([], "no board is named"), ([MISSING, MISSING], "named twice")])
def test_ports_that_cannot_be(built: Path, ports: list[str], what: str) -> None:
    with pytest.raises(TinygenError, match=what):
        farm(built, ports, options(built))


@pytest.mark.long
@requires_package("labgrid")
def test_places_of_a_labgrid_farm(built: Path, tmp_path: Path) -> None:
    """Two boards of a coordinator, and one that it does not know."""
    names = ("one", "two")
    with ExitStack() as stack:
        exports: dict[str, dict[str, object]] = {}
        for name in names:
            board = EmulatedBoard(load_board("f746zg"), built / "firmware.elf", Watch(count=False))
            port = stack.enter_context(served(board, "raw"))
            exports[name] = {"host": "127.0.0.1", "port": port, "protocol": "raw"}
        places = Farm(tmp_path, exports, {name: name for name in names})
        stack.callback(places.stop)
        places.start()
        ports = [f"labgrid://{places.address}/{name}" for name in (*names, "three")]
        report = farm(built, ports, options(built))
        assert report.outputs[0].tolist() == wanted(built).tolist()
        assert [bool(board.error) for board in report.boards] == [False, False, True]
        assert "there is no such place" in report.boards[2].error
        assert not places.holder("one") and not places.holder("two")


def test_command_line(built: Path, tmp_path: Path) -> None:
    command = ["farm", built, "--limit", "3", "--port", "emulated", "--out", tmp_path / "out"]
    done = tinygen(*command, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["results"] == 3, done.stderr
    done = tinygen(*command, "--port", MISSING)
    assert done.returncode == 1 and "3 of 3 inputs have a result" in done.stdout and "stopped" in done.stdout
    assert done.stderr.startswith(f"{MISSING}: the serial port cannot be opened") and "Traceback" not in done.stderr
    (tmp_path / "out/other").touch()
    assert tinygen(*command).returncode == 0 and (tmp_path / "out/other").exists()
    (tmp_path / "out/farm-report.json").unlink()
    done = tinygen(*command)
    assert done.returncode == 1 and "holds files" in done.stderr
