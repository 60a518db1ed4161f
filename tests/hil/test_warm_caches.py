"""Latencies are those of warm caches, also of the first inference after a restart."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.hil import faults
from tests.hil.devices import EmulatedDevice
from tests.hil.faults import At, Fault, FaultyLine
from tests.hil.faulty import digits_on
from tinygen.builds.arrays import Samples
from tinygen.demo import load_test_digits
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import Device
from tinygen.hil.semantics import semantics_of
from tinygen.hil.session import Collected, Session
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator.counting import Watch

BOARD, COUNT = "h743zi", 3


class TimedBoard(EmulatedDevice):
    """Its caches are modelled."""

    def _watch(self) -> Watch:
        return Watch(cost=board_cost(load_board(BOARD), self._elf))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_on(BOARD, tmp_path_factory.mktemp("warm"))


def collected(folder: Path, fault: Fault) -> Collected:
    board = TimedBoard(BOARD, folder / "firmware.elf")
    board.read(4096, faults.BOOT_SECONDS)
    line = FaultyLine(board, fault)
    device = Device(folder, transport=line)
    device.client = DeviceClient(line, 20.0, line.clock, nonce=0)
    images, _ = load_test_digits()
    with device:
        return Session(device, semantics_of(folder, None), Samples((images[:COUNT],))).collect(layers=False)


@pytest.mark.parametrize("command", ["tg-run(?=%)", "tg-load "])
def test_a_restart_changes_no_latency(folder: Path, command: str) -> None:
    """The caches that it leaves empty are filled by an inference that is not timed."""
    quiet = collected(folder, Fault(random.Random(0)))
    # The first inference is not a result: the third is of the second input.
    fault = At(random.Random(0), "to", faults.restarted, 1, command.encode(), times=3)
    restarted = collected(folder, fault)
    assert fault.happened and restarted.incidents and not quiet.incidents
    assert [row.matches for row in restarted.rows] == [True] * COUNT
    assert [row.cycles for row in restarted.rows] == pytest.approx([row.cycles for row in quiet.rows], rel=1e-3)
