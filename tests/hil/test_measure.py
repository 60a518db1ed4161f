"""Measurements by the benchmark's commands: inferences between two timestamps, modes, high-water marks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.targets.build import build
from tinygen.errors import DeviceError
from tinygen.hil.client import DeviceClient, LostError
from tinygen.hil.exchange import RefusedError
from tinygen.hil.transports import ProcessTransport, Transport
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard

X = bytes(range(16))


@dataclass
class Rig:
    client: DeviceClient
    board: EmulatedBoard | None


@pytest.fixture(scope="module", params=["f746zg", pytest.param("l4r5zi", marks=pytest.mark.long), "host"])
def elf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    board = load_board(request.param)
    return request.param, build(board, "zig", tmp_path_factory.mktemp(request.param)).elf


@pytest.fixture
def rig(elf: tuple[str, Path]) -> Iterator[Rig]:
    name, path = elf
    board = None if name == "host" else EmulatedBoard(load_board(name), path)
    transport: Transport = board or ProcessTransport([str(path)])
    client = DeviceClient(transport)
    client.wait_for_boot()
    yield Rig(client, board)
    client.close()


def test_window(rig: Rig) -> None:
    assert rig.client.info().db_bytes == 16
    rig.client.load_db(X)
    window = rig.client.measure(5, 2, [X])
    assert window.iterations == 5 and window.microseconds is not None and window.microseconds >= 0
    assert window.results == tuple(0.25 * x for x in X)
    assert rig.client.read(0) == bytes(2 * x + 1 for x in X)
    longer = rig.client.measure(500, 0, [X]).microseconds
    assert longer is not None and longer > window.microseconds


def test_other_codes_than_the_expected_ones(rig: Rig) -> None:
    rig.client.load_db(X)
    with pytest.raises(LostError, match="did not run on what was loaded"):
        rig.client.measure(1, 0, [bytes(16)])


def test_nothing_loaded(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="Input db has 0 bytes, expected 16"):
        rig.client.measure(1)
    with pytest.raises(RefusedError, match="wrong number of bytes"):
        rig.client.load_db(X[1:])
    rig.client.load_db(X)
    assert rig.client.measure(1).results


def test_modes(rig: Rig) -> None:
    rig.client.load_db(X)
    rig.client.set_mode("energy")
    assert rig.client.info().mode == "energy"
    before = len(rig.board.edges) if rig.board else 0
    window = rig.client.measure(3)
    assert window.microseconds is None and window.results[:3] == (0.0, 0.25, 0.5)
    if rig.board:
        (fall, _), (rise, _), (end, _), _ = rig.board.edges[before:]
        assert [high for _, high in rig.board.edges[before:]] == [False, True, False, True]
        assert fall + 1e-6 * (rig.board.board.core_hz or 0) <= rise < end
    rig.client.set_mode("performance")
    assert rig.client.info().mode == "performance" and rig.client.measure(3).microseconds is not None
    with pytest.raises(RefusedError, match="tg-mode wants"):
        rig.client.set_mode("turbo")


def test_mode_where_the_reply_is_lost(rig: Rig) -> None:
    """The device has changed, and nobody knows: it is found at the other rate."""
    if rig.board is None:
        return
    rig.client.info()
    rig.board.write(b"tg-mode energy%")
    rig.board.read(4096, 1.0)
    rig.client.set_mode("energy")
    assert rig.client.info().mode == "energy" and rig.client.troubles


def test_a_line_without_a_rate(rig: Rig) -> None:
    class Fixed:
        def __init__(self, inner: Transport) -> None:
            self.write, self.read, self.close = inner.write, inner.read, inner.close

    client = DeviceClient(Fixed(rig.client._transport))
    with pytest.raises(DeviceError, match="rate cannot be changed"):
        client.set_mode("energy")


def test_marks(rig: Rig) -> None:
    rig.client.paint()
    before = rig.client.marks()
    assert before.arena == (0, 32)
    rig.client.load_db(X)
    rig.client.measure(1)
    after = rig.client.marks()
    assert after.arena == (32, 32)
    if rig.board is None:
        assert after.stack is None
    else:
        assert after.stack is not None and after.stack[1] == rig.board.board.stack_bytes
        assert after.stack[0] <= rig.board.stack_used() < after.stack[1]
