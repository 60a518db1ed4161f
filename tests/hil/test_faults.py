"""The fault table: recovered or a clean error; never a wrong result, never a hang.

`python -m pytest -m long tests/hil/test_faults.py` injects each kind 100 times on the host firmware, 5 times on the
emulated board, where that takes two minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from unittest.mock import ANY

import pytest

from tests.hil.devices import OTHER_BUILD, EmulatedDevice, TimedDevice, VirtualDevice, build_board, build_virtual, model
from tests.hil.fault_kinds import FROM_BYTES, KINDS, TO_BYTES, Trial, session, table, tally
from tests.hil.faults import BOOT_SECONDS, Fault, FaultyLine
from tinygen.hil.client import DeviceClient
from tinygen.hil.exchange import Exchange

BOARD = "f746zg"
Maker = tuple[Callable[[], TimedDevice], Path]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    folder = tmp_path_factory.mktemp("faults")
    ours = build_virtual(folder / "ours", model())
    return lambda: VirtualDevice(ours), build_virtual(folder / "other", model(OTHER_BUILD, 7))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    pytest.importorskip("unicorn")
    folder = tmp_path_factory.mktemp("faults")
    ours = build_board(BOARD, folder / "ours", model())
    return lambda: EmulatedDevice(BOARD, ours), build_board(BOARD, folder / "other", model(OTHER_BUILD, 7))


def _check(trials: dict[str, list[Trial]], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{name}, {len(next(iter(trials.values())))} of each kind\n{table(trials)}")
    for kind, each in trials.items():
        for number, trial in enumerate(each):
            assert trial.happened, f"{kind} {number}: did not happen"
            assert trial.outcome in KINDS[kind].outcomes, f"{kind} {number}: {trial}"


def test_host(host: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    _check(tally(5, *host), "host firmware", capsys)


def test_board(board: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    """Some kinds, none whose waiting takes long to emulate."""
    slow = ("for ever", "seconds late", "watchdog", "baud", "blocks", "one byte in")
    kinds = tuple(kind for kind in KINDS if not any(words in kind for words in slow))
    _check(tally(1, *board, kinds[2::3]), f"{BOARD}, emulated", capsys)


@pytest.mark.long
def test_host_100_times(host: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    _check(tally(100, *host), "host firmware", capsys)


@pytest.mark.long
def test_board_5_times(board: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    _check(tally(5, *board), f"{BOARD}, emulated", capsys)


def test_faults_are_drawn_from_the_whole_session(host: Maker) -> None:
    device = host[0]()
    device.read(4096, BOOT_SECONDS)
    line = FaultyLine(device, Fault(random.Random(0)))
    assert session(DeviceClient(line, 20.0, line.clock), line, random.Random(1)) == ""
    device.close()
    assert TO_BYTES <= line.told < TO_BYTES * 1.05 and FROM_BYTES <= len(line.said) < FROM_BYTES * 1.1


def _wrong(host: Maker, kind: str) -> int:
    return sum(trial.outcome == "wrong result" for trial in tally(10, *host, (kind,))[kind])


def test_without_the_seal_results_would_be_wrong(host: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the faults are ones that need it, and that the table shows wrong results; how many of ten depends on the
    cycles that this computer has counted."""
    kind = "another digit in the cycle count"
    assert _wrong(host, kind) == 0
    monkeypatch.setattr(Exchange, "_is_answer", lambda self, reply, text: True)
    assert _wrong(host, kind) > 5


def test_without_the_evidence_results_would_be_wrong(host: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "reset before any command, unnoticed"
    assert _wrong(host, kind) == 0
    monkeypatch.setattr(DeviceClient, "_ran", lambda self, *loaded: ANY)
    assert _wrong(host, kind) > 0
