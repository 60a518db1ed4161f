"""A client that is not ours: MLPerf Tiny's device protocol, line by line, over a pseudo-terminal and plain pyserial.

Nothing of hil/ is used. What is sent and expected is taken from public sources alone; each test names its own:

    api     github.com/mlcommons/tiny, benchmark/api/internally_implemented.{h,cpp}: what a device does
    submit  the same, benchmark/api/submitter_implemented.h
    runner  the same, benchmark/runner: device_under_test.py, serial_device.py and script.py: what the host sends
    guide   github.com/eembc/energyrunner, README.md: both modes, and how devices are found
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import serial

from tests.targets.build import build
from tests.targets.tools import requires_tool
from tests.targets.wire import command_of
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.pty import open_pty

BAUD = {"performance": 115200, "energy": 9600}  # guide, "Performance Mode vs. Energy Mode"
SECONDS = 30.0
BYTES_PER_COMMAND = 31  # runner, device_under_test.py
X = bytes((37 * i + 5) % 256 for i in range(16))
RESULTS = [f"{0.125 * (((2 * x + 1) % 256 ^ 0x80) - 0x80 - 1):.3f}" for x in X]
QEMU = requires_tool("qemu-system-arm")
# Both modes of the emulated board; the host's second one, and QEMU's, in the long run.
MARKS = {"host": {"energy": pytest.mark.long}, "netduinoplus2": dict.fromkeys(BAUD, (QEMU, pytest.mark.long))}
CASES = [
    pytest.param((board, mode), marks=MARKS.get(board, {}).get(mode, ()), id=f"{board}-{mode}")
    for board in ("f746zg", "host", "netduinoplus2")
    for mode in BAUD
]


class HeldBoard:
    """An emulated board that is reset only when the terminal is open, so that nothing of its start is missed."""

    def __init__(self, board: EmulatedBoard) -> None:
        self.board, self.reset = board, threading.Event()

    def write(self, data: bytes) -> None:
        self.board.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        return self.board.read(size, timeout) if self.reset.is_set() else b""

    def set_baud(self, baud: int) -> None:
        self.board.set_baud(baud)


@dataclass
class Device:
    """A device on a terminal.

    Attributes:
        line: 8 data bits, no parity, 1 stop bit.
        mode: "performance" or "energy".
        board: where it is emulated by us, so that its timestamp pin can be seen.
        boot: the lines of its start.
    """

    line: serial.Serial
    mode: str
    board: EmulatedBoard | None
    boot: list[str]

    def reply(self) -> list[str]:
        """Lines up to "m-ready", without it (api: EE_MSG_READY ends every reply)."""
        lines: list[str] = []
        while not lines or lines[-1] != "m-ready":
            text = self.line.read_until(b"\r\n")
            assert text.endswith(b"\r\n"), f"no m-ready after {lines} and {text!r}"
            lines.append(text[:-2].decode("ascii"))
        return lines[:-1]

    def ask(self, command: str) -> list[str]:
        """One command; '%' is its end (api: EE_CMD_TERMINATOR)."""
        self.line.write(command.encode("ascii") + b"%")
        return self.reply()

    def wait(self, seconds: float) -> None:
        """Lets time pass, the host's and the device's own: an emulated board's clock may be the slower one."""
        begun = self.board.cycles if self.board else 0
        time.sleep(seconds)
        end = time.monotonic() + SECONDS
        while self.board and self.board.cycles < begun + seconds * (self.board.board.core_hz or 0):
            assert time.monotonic() < end, "the emulated board stands still"
            time.sleep(0.02)

    def edges(self) -> list[tuple[int, bool]]:
        """Of the timestamp pin so far."""
        return list(self.board.edges) if self.board else []

    def load(self, data: bytes) -> list[str]:
        """As runner's DUT.load."""
        assert self.ask(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        last: list[str] = []
        for start in range(0, len(data), BYTES_PER_COMMAND):
            last = self.ask(f"db {data[start : start + BYTES_PER_COMMAND].hex()}")
        return last


@contextmanager
def emulated(board: Board, elf: Path, mode: str) -> Iterator[Device]:
    held = HeldBoard(EmulatedBoard(board, elf))
    with open_pty(held, BAUD[mode]) as path, serial.Serial(path, BAUD[mode], timeout=SECONDS) as line:
        held.reset.set()
        device = Device(line, mode, held.board, [])
        device.boot = device.reply()
        yield device


@contextmanager
def program(board: Board, elf: Path, mode: str) -> Iterator[Device]:
    """The host's program, or QEMU, with the terminal as standard input and output."""
    leader, follower = os.openpty()
    tty.setraw(follower)
    tty.setraw(leader)
    with serial.Serial(os.ttyname(follower), BAUD[mode], timeout=SECONDS) as line:
        process = subprocess.Popen(command_of(board, elf), stdin=leader, stdout=leader, stderr=subprocess.DEVNULL)
        try:
            device = Device(line, mode, None, [])
            device.boot = device.reply()
            yield device
        finally:
            process.kill()
            process.wait()
            os.close(leader)
            os.close(follower)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Of a board and a mode, each built once."""
    return cache(lambda name, mode: build(load_board(name), "zig", tmp_path_factory.mktemp(name), mode=mode).elf)


@pytest.fixture(scope="module", params=CASES)
def device(request: pytest.FixtureRequest, firmware: Callable[[str, str], Path]) -> Iterator[Device]:
    name, mode = request.param
    with (emulated if name == "f746zg" else program)(load_board(name), firmware(name, mode), mode) as device:
        yield device


def test_start(device: Device) -> None:
    """api: ee_benchmark_initialize; submit: EE_MSG_TIMESTAMP_MODE; reference devices: a timestamp follows."""
    assert device.boot[0] == f"m-timestamp-mode-{device.mode}"
    assert [bool(re.fullmatch(r"m-lap-us-\d+", line)) for line in device.boot[:2]] == [
        False,
        device.mode == "performance",
    ]
    assert device.boot[-1] == "m-init-done"
    if device.board:
        falls = [high for _, high in device.edges()[:3]]
        assert falls == ([True, False, True] if device.mode == "energy" else [True])


def test_name(device: Device) -> None:
    """api: EE_MSG_NAME; runner: DUT._get_name; guide, "Debugging Device Auto-detection"."""
    (line,) = device.ask("name")
    assert re.match(r"^m-(name)-dut-\[([^]]+)]$", line)


def test_profile(device: Device) -> None:
    """api: ee_profile_parse; runner: DUT._get_profile, which chooses the test by the model."""
    lines = device.ask("profile")
    assert lines == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"]


def test_help(device: Device) -> None:
    """api: ee_profile_parse, EE_FW_VERSION first."""
    lines = device.ask("help")
    assert lines[:2] == ["ULPMark for tinyML Firmware V0.0.1", ""]
    assert all(any(word in line for line in lines) for word in ("name", "timestamp", "db load", "infer", "results"))


def test_timestamp(device: Device) -> None:
    """submit: EE_MSG_TIMESTAMP; guide: a counter of at least 1 kHz, or a falling edge that is held for 1 us."""
    edges = len(device.edges())
    first, second = device.ask("timestamp"), device.ask("timestamp")
    if device.mode == "performance":
        times = [int(re.fullmatch(r"m-lap-us-(\d+)", line)[1]) for (line,) in (first, second)]  # type: ignore[index]
        assert times[1] > times[0]
        assert len(device.edges()) == edges
        return
    assert first == second == []
    if device.board:
        pulses = device.edges()[edges:]
        assert [high for _, high in pulses] == [False, True] * 2
        hold = (device.board.board.core_hz or 0) / 1e6
        assert all(end[0] - start[0] >= hold for start, end in zip(pulses[::2], pulses[1::2], strict=True))


def test_timestamps_count_the_time_in_between(device: Device) -> None:
    """guide: microseconds since boot time. No faster than the host's clock; an emulator may well be slower."""
    if device.mode == "energy":
        return
    begun = time.monotonic()
    (first,) = device.ask("timestamp")
    device.wait(0.3)
    (second,) = device.ask("timestamp")
    passed = int(second.removeprefix("m-lap-us-")) - int(first.removeprefix("m-lap-us-"))
    assert 0.25e6 < passed < (time.monotonic() - begun) * 1.2e6


def test_db(device: Device) -> None:
    """api: ee_buffer_parse."""
    assert device.ask("db load 5") == ["m-[Expecting 5 bytes]"]
    assert device.ask("db 0aFf") == []
    assert device.ask("db 10") == []
    assert device.ask("db 2030405060") == ["m-load-done"]  # "Disregard the remainder of the digits when done"
    assert device.ask("db print") == ["m-buffer-0a-ff-10-20-30"]
    assert device.load(X) == ["m-load-done"]
    text = [f"{byte:02x}" for byte in X]
    assert device.ask("db print") == [f"m-buffer-{'-'.join(text[:8])}", f"m-buffer-{'-'.join(text[8:])}"]
    assert device.ask("db print 3 6") == [f"m-buffer-{'-'.join(text[6:9])}"]  # help: print [N=16] [offset=0]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db 123", "e-[Insufficent number of hex digits]"),
        ("db 12x4", "e-[Invalid hex digit"),
        ("db load 17", "e-[Supplied buffer size 17 exceeds maximum of 16]"),
        ("db load 4294967297", "e-["),
        ("infer 0 0", "e-[Inference iterations must be >0]"),
        ("infer -1 0", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("infer 1 0", "e-[Input db has 2 bytes, expected 16]"),
        ("nonsense 1 2", "e-[Unknown command: nonsense]"),
        ("", "e-[Unknown command: ]"),
    ],
)
def test_errors(device: Device, command: str, answer: str) -> None:
    """api: every e-[...]; a reference device writes beyond its buffer where ours says what is wrong."""
    device.ask("db load 4")
    device.ask("db 1122")
    (line,) = device.ask(command)
    assert line.startswith(answer) and line.endswith("]")
    assert len(device.ask("name")) == 1


def test_infer(device: Device) -> None:
    """api: ee_infer; submit: th_results; runner: script.py, _gather_infer_results."""
    device.load(X)
    edges = len(device.edges())
    lines = device.ask("infer 3 2")
    laps = [int(line.removeprefix("m-lap-us-")) for line in lines if line.startswith("m-lap-us-")]
    assert [line for line in lines if not line.startswith("m-lap-us-")] == [
        "m-warmup-start-2",
        "m-warmup-done",
        "m-infer-start-3",
        "m-infer-done",
        f"m-results-[{','.join(RESULTS)}]",
    ]
    if device.mode == "performance":
        assert lines[3:5] == [f"m-lap-us-{lap}" for lap in laps] and len(laps) == 2 and laps[0] <= laps[1]
    else:
        assert not laps
        if device.board:
            assert [high for _, high in device.edges()[edges:]] == [False, True] * 2
    matched = re.match(r"^m-results-\[([^]]+)\]$", lines[-1])
    assert matched and [float(x) for x in matched[1].split(",") if x.strip()] == [float(x) for x in RESULTS]
    assert device.ask("results") == lines[-1:]


def test_infer_again_takes_the_same_input(device: Device) -> None:
    """api: the buffer stays; N is 1 and W is 10 unless said otherwise."""
    device.load(X)
    assert device.ask("infer")[-1] == device.ask("infer 7 0")[-1] == f"m-results-[{','.join(RESULTS)}]"
    lines = device.ask("infer")
    assert lines[0] == "m-warmup-start-10" and "m-infer-start-1" in lines


def test_commands_in_one_burst(device: Device) -> None:
    """guide, "Standard debug protocol", steps 5 to 7."""
    device.line.write(b"name%name%name%name%name%name%name%name%")
    assert [len(device.reply()) for _ in range(8)] == [1] * 8


@pytest.mark.parametrize(
    "garbage",
    [bytes(set(range(256)) - {ord("%")}), b"m-ready\r\n" * 30, b"db " + b"0" * 400, b"\r\n" * 50, b"name\x00"],
    ids=["bytes", "echo", "long", "ends of lines", "a zero"],
)
def test_garbage_costs_no_more_than_one_command(device: Device, garbage: bytes) -> None:
    """runner, serial_device.py, reset_port: a lone '%' ends what came before."""
    device.line.write(garbage)
    device.wait(0.6)  # as long as 400 bytes take at 9600 baud, and then some silence
    device.line.write(b"%")
    device.wait(0.2)
    device.line.write(b"name%")
    while (lines := device.reply()) != ["m-name-dut-[tinygen]"]:
        assert len(lines) == 1 and lines[0].startswith("e-[")


def test_a_terminal_at_the_wrong_rate(device: Device) -> None:
    """guide, "Common Problems": wrong baud rate. Garbage both ways; at the right rate it answers again."""
    if device.board is None:
        return  # pipes have no rate
    device.line.baudrate = BAUD["energy" if device.mode == "performance" else "performance"]
    device.line.timeout = 1.0
    device.wait(0.1)
    try:
        device.line.write(b"name%" * 4)
        assert b"m-" not in device.line.read(200)
    finally:
        device.line.baudrate = BAUD[device.mode]
        device.line.timeout = SECONDS
    device.wait(0.1)
    device.line.write(b"%")
    device.wait(0.5)
    device.line.reset_input_buffer()
    assert len(device.ask("name")) == 1


def test_no_results_before_an_inference(firmware: Callable[[str, str], Path]) -> None:
    """api: "results" alone. There are none that could be invented."""
    with program(load_board("host"), firmware("host", "performance"), "performance") as device:
        assert device.ask("results") == ["e-[no inference yet]"]
