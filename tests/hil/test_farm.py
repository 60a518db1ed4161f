"""Several boards at once: three emulated ones, of which some fail."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.hil import faults
from tests.hil.devices import (
    BUILD,
    OTHER_BUILD,
    EmulatedDevice,
    TimedDevice,
    VirtualDevice,
    build_board,
    build_virtual,
    model,
    right_outputs,
)
from tests.hil.faults import FOREVER, At, Fault, FaultyLine
from tinygen.errors import DeviceError, WrongBuildError
from tinygen.hil.answers import Inference
from tinygen.hil.client import DeviceClient
from tinygen.hil.farm import HEAD, FarmResult, Input, Target, run_each, run_shared

BOARD = "f746zg"
RANDOM = random.Random(5)
INPUTS = [(RANDOM.randbytes(64), RANDOM.randbytes(8)) for _ in range(30)]
Maker = Callable[[], TimedDevice]


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Maker, Maker]:
    """Host firmware of two builds: ours, and one that computes something else."""
    folder = tmp_path_factory.mktemp("farm")
    ours, other = build_virtual(folder / "ours", model()), build_virtual(folder / "other", model(OTHER_BUILD, 7))
    return lambda: VirtualDevice(ours), lambda: VirtualDevice(other)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    elf = build_board(BOARD, tmp_path_factory.mktemp("farm"), model())
    return lambda: EmulatedDevice(BOARD, elf)


class OwnLine(FaultyLine):
    """Ends its device, too."""

    def close(self) -> None:
        """As a line of a real board, once."""
        self.device.close()


def target(
    name: str, make: Maker, fault: Fault | None = None, *, later: threading.Event | None = None, **more: Any
) -> Target:
    """A board; one that comes `later` begins when that is set."""

    def connect() -> DeviceClient:
        assert later is None or later.wait(60.0)
        line = OwnLine(make(), fault or Fault(random.Random(0)))
        return DeviceClient(line, 20.0, line.clock)

    return Target(name, connect, **more)


def after(count: int, happening: faults.Happening) -> tuple[Fault, threading.Event]:
    """A fault at the `count`-th inference, and what is set then."""
    event = threading.Event()

    def happen(fault: At, rest: bytes) -> bytes:
        event.set()
        return happening(fault, rest)

    return At(random.Random(count), "to", happen, 1, rb"tg-run(?=%)", times=count), event


def assert_right(result: FarmResult, switch: int = 0) -> None:
    for inference, sample in zip(result.inferences, INPUTS, strict=True):
        assert inference is not None and inference.outputs == right_outputs(*sample, switch)


def test_inputs_are_shared(emulated: Maker) -> None:
    counts: list[int] = []
    result = run_shared([target(name, emulated, switch=1) for name in "abc"], INPUTS, counts.append)
    assert_right(result, switch=1)
    assert result.missing == () and counts == list(range(1, len(INPUTS) + 1))
    assert sorted(i for board in result.boards for i in board.samples) == list(range(len(INPUTS)))
    for board in result.boards:
        assert board.error == "" and len(board.cycles) == len(board.samples) and board.seconds > 0
        assert board.device is not None and board.device.build == BUILD


@pytest.mark.parametrize(
    "happening", [faults.unplugged(FOREVER, powered=True), faults.silence(FOREVER)], ids=["cable", "hang"]
)
def test_a_board_that_fails_harms_no_other(emulated: Maker, happening: faults.Happening) -> None:
    """What it was at is run by another."""
    fault, event = after(2, happening)
    targets = [target("a", emulated, later=event), target("b", emulated, fault), target("c", emulated, later=event)]
    result = run_shared(targets, INPUTS)
    assert_right(result)
    a, b, c = result.boards
    assert b.error and b.samples == [0]
    assert a.error == c.error == "" and sorted(a.samples + c.samples) == list(range(1, len(INPUTS)))


def test_a_board_that_recovers_says_so(makers: tuple[Maker, Maker]) -> None:
    fault, event = after(2, faults.restarted)
    targets = [target("a", makers[0], later=event), target("b", makers[0], fault)]
    result = run_shared(targets, INPUTS)
    assert_right(result)
    assert [board.error for board in result.boards] == ["", ""]
    assert any("has restarted" in trouble for trouble in result.boards[1].troubles)
    assert HEAD[4] == "recovered" and int(result.boards[1].row[4]) > 0 and result.boards[0].row[4] == "0"


def test_all_boards_fail(makers: tuple[Maker, Maker]) -> None:
    """What is there is kept, and what is not is said."""
    targets = [target(name, makers[0], after(3, faults.unplugged(FOREVER))[0]) for name in "ab"]
    result = run_shared(targets, INPUTS)
    assert all(board.error for board in result.boards)
    done = sorted(i for board in result.boards for i in board.samples)
    assert len(done) == 4 and result.missing == tuple(i for i in range(len(INPUTS)) if i not in done)
    for index in done:
        inference = result.inferences[index]
        assert inference is not None and inference.outputs == right_outputs(*INPUTS[index], 0)


def test_a_board_with_another_build(makers: tuple[Maker, Maker]) -> None:
    targets = [target("a", makers[0], build=BUILD), target("b", makers[1], build=BUILD)]
    result = run_shared(targets, INPUTS)
    assert_right(result)
    assert OTHER_BUILD in result.boards[1].error and result.boards[1].samples == []
    with pytest.raises(WrongBuildError, match="different builds"):
        run_shared([target("a", makers[0]), target("b", makers[1])], INPUTS)


def test_a_board_that_is_not_there(makers: tuple[Maker, Maker]) -> None:
    def connect() -> DeviceClient:
        raise DeviceError("no such port")

    result = run_shared([Target("a", connect), target("b", makers[0])], INPUTS)
    assert_right(result)
    assert result.boards[0].row == ("a", "0", "-", "-", "0") and result.boards[0].error == "no such port"


def test_each_board_its_own_build(makers: tuple[Maker, Maker]) -> None:
    one, two, three = run_each(
        [
            (target("a", makers[0], build=BUILD), INPUTS),
            (target("b", makers[1], build=OTHER_BUILD), INPUTS[:5]),
            (target("c", makers[0], after(2, faults.unplugged(FOREVER))[0], build=BUILD), INPUTS[:7]),
        ]
    )
    assert_right(one)
    for inference, (x, z) in zip(two.inferences, INPUTS[:5], strict=True):
        assert inference is not None
        assert inference.outputs[0] == bytes((7 * v + z[i % 8]) & 0xFF for i, v in enumerate(x))
    assert three.missing == tuple(range(1, 7)) and three.boards[0].error


def test_each_stream_begins_with_fresh_states(makers: tuple[Maker, Maker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the board ran before."""
    asked: list[str] = []
    infer = DeviceClient.infer

    def recorded(client: DeviceClient, inputs: Input, *, keep: bool) -> Inference:
        asked.append("keep" if keep else "alone")
        return infer(client, inputs)

    # This model has no states of its own.
    monkeypatch.setattr(DeviceClient, "reset", lambda client: asked.append("reset"))
    monkeypatch.setattr(DeviceClient, "infer", recorded)
    run_shared([target("a", makers[0])], INPUTS[:5], streams=[range(2), range(2, 5)])
    assert asked == ["reset", "keep", "keep", "reset", "keep", "keep", "keep"]


def test_a_board_left_in_a_higher_switch(makers: tuple[Maker, Maker]) -> None:
    def connect() -> DeviceClient:
        client = target("a", makers[0]).connect()
        client.set_switch(1)
        return client

    assert_right(run_shared([Target("a", connect)], INPUTS))


def test_names_must_differ(makers: tuple[Maker, Maker]) -> None:
    with pytest.raises(DeviceError, match="several boards are called 'a'"):
        run_shared([target("a", makers[0]), target("a", makers[0])], INPUTS)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_run_keeps_its_results_and_lets_all_lines_go(makers: tuple[Maker, Maker]) -> None:
    closed: list[str] = []

    def connected(name: str) -> Callable[[], DeviceClient]:
        def connect() -> DeviceClient:
            client = target(name, makers[0]).connect()
            close = client.close
            client.close = lambda: (close(), closed.append(name))[1]  # type: ignore[method-assign, func-returns-value]
            return client

        return connect

    def interrupt(count: int) -> None:
        if count == 5:
            signal.raise_signal(signal.SIGINT)  # to the main thread

    found = run_shared([Target(name, connected(name)) for name in "abc"], INPUTS, interrupt)
    assert len(INPUTS) - len(found.missing) >= 5
    assert sorted(index for board in found.boards for index in board.samples) == [
        index for index, inference in enumerate(found.inferences) if inference is not None
    ]
    assert {board.error for board in found.boards} == {"interrupted"}
    assert sorted(closed) == ["a", "b", "c"]
    assert not [thread for thread in threading.enumerate() if "Thread-" in thread.name and thread.daemon]
