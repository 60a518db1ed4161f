"""The application answers as the protocol says, on the host and on QEMU's boards."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.targets.build import build, project_with
from tests.targets.tools import requires_tool
from tests.targets.wire import Wire, command_of
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import build_elf, find_toolchain

QEMU = requires_tool("qemu-system-arm")
CASES = [("host", "zig")] + [(b, t) for b in ("netduinoplus2", "mps2-an500") for t in ("zig", "gcc")]
# Each board and each compiler once; all pairs in the long run.
USUAL = (("host", "zig"), ("netduinoplus2", "zig"), ("mps2-an500", "gcc"))
X = bytes(range(240, 256))
Y = bytes((2 * x + 1) % 256 for x in X)


def _marks(board: str, toolchain: str) -> list[pytest.MarkDecorator]:
    marks = [] if board == "host" else [QEMU]
    if toolchain == "gcc":
        marks.append(requires_tool("arm-none-eabi-gcc"))
    return marks if (board, toolchain) in USUAL else [*marks, pytest.mark.long]


@pytest.fixture(scope="module", params=[pytest.param(c, marks=_marks(*c), id="-".join(c)) for c in CASES])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path]:
    name, toolchain = request.param
    board = load_board(name)
    return board, build(board, toolchain, tmp_path_factory.mktemp(name)).elf


@pytest.fixture
def wire(built: tuple[Board, Path]) -> Iterator[Wire]:
    with Wire(command_of(*built)) as wire:
        wire.boot = wire.reply()
        yield wire


def test_the_banner_says_what_runs_and_how_fast(built: tuple[Board, Path], wire: Wire) -> None:
    hz = {"host": 1_000_000_000}.get(built[0].name, built[0].core_hz)
    assert wire.boot[0] == "m-timestamp-mode-performance"
    assert wire.boot[1].startswith("m-lap-us-") and wire.boot[-1] == "m-init-done"
    assert wire.boot[2] == f"m-tg-boot dummy 0123456789abcdef {hz}"
    # QEMU's STM32F405 has no RCC, which the firmware must survive and report.
    clock = ["e-[clock: RCC does not answer, clock assumed]"] if built[0].name == "netduinoplus2" else []
    assert wire.boot[3:-1] == clock


def test_info(built: tuple[Board, Path], wire: Wire) -> None:
    info = wire.ask("\r\n\r\ntg-info%")
    assert info[:2] == ["m-tg-name dummy", "m-tg-build 0123456789abcdef"]
    assert info[2] == f"m-tg-clock {wire.boot[2].split()[-1]}"
    assert info[3:6] == ["m-tg-input 0 16", "m-tg-output 0 16", "m-tg-layers 2"]
    assert info[6:] == ["m-tg-db 16", "m-tg-mode performance"]


def test_load_run_read(wire: Wire) -> None:
    assert wire.load(0, X) == []
    (cycles,) = wire.ask("tg-run%")
    assert cycles.startswith("m-tg-cycles ") and int(cycles.split()[1]) >= 0
    assert wire.read(0) == Y


def test_profile_adds_up(wire: Wire) -> None:
    assert wire.load(0, X) == []
    *layers, total = (line.split() for line in wire.ask("tg-profile%"))
    assert [line[:2] for line in layers] == [["m-tg-layer", "0"], ["m-tg-layer", "1"]]
    assert total == ["m-tg-cycles", str(sum(int(line[2]) for line in layers))]
    assert wire.read(0) == Y


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("hello%", "e-[Unknown command: hello]"),
        ("%", "e-[Unknown command: ]"),
        ("tg-infos%", "e-[Unknown command: tg-infos]"),
        ("tg-run 1%", "e-[Unknown command: tg-run]"),
        ("a\r\nm-ready%", "e-[Unknown command: a]"),
        ("x" * 80 + "%", f"e-[Unknown command: {'x' * 80}]"),
        ("x" * 81, "e-[command too long]"),
        ("tg-mode fast%", "e-[tg-mode wants: performance or energy]"),
        ("tg-mode energy 1%", "e-[tg-mode wants: performance or energy]"),
        ("db print 1 x%", "e-[Command 'db print' takes: bytes offset]"),
        ("db print 1 0 0%", "e-[Command 'db print' takes: bytes offset]"),
        ("tg-read%", "e-[tg-read wants: output]"),
        ("tg-read 1%", "e-[no such output]"),
        ("tg-read 4294967296%", "e-[tg-read wants: output]"),
        ("tg-load 0 16%", "e-[tg-load wants: input bytes crc32]"),
        ("tg-load 0 16 0 0%", "e-[tg-load wants: input bytes crc32]"),
    ],
)
def test_a_wrong_command_is_refused_and_the_next_one_works(wire: Wire, command: str, answer: str) -> None:
    assert wire.ask(command) == [answer]
    assert wire.ask("tg-info%")[0] == "m-tg-name dummy"


@pytest.mark.parametrize(
    ("index", "data", "answer"),
    [
        (1, X, "e-[no such input]"),
        (0, X + X, "e-[wrong number of bytes]"),
        (0, X[1:], "e-[wrong number of bytes]"),
    ],
)
def test_bytes_after_a_refused_load_are_not_taken_for_commands(
    wire: Wire, index: int, data: bytes, answer: str
) -> None:
    assert wire.load(index, data.replace(b"%", b"_") + b"tg-run%") == [answer]
    assert wire.load(0, X) == [] and len(wire.ask("tg-run%")) == 1 and wire.read(0) == Y


def test_commands_that_come_while_a_reply_goes_out_are_kept(wire: Wire) -> None:
    """As many bytes as a host sends without waiting, by the guide to EEMBC's runner."""
    wire.send(b"tg-info%" * 7)
    infos = [wire.reply() for _ in range(7)]
    assert all(info[0] == "m-tg-name dummy" and len(info) == 8 for info in infos)


def test_paint_and_marks(built: tuple[Board, Path], wire: Wire) -> None:
    assert wire.ask("tg-marks%") == []
    assert wire.ask("tg-paint%") == []
    painted = wire.ask("tg-marks%")
    assert painted[0] == "m-tg-arena 0 32"
    assert wire.load(0, X) == []
    assert wire.ask("tg-marks%")[0] == "m-tg-arena 16 32"
    wire.ask("tg-run%")
    marks = wire.ask("tg-marks%")
    assert marks[0] == "m-tg-arena 32 32"
    if built[0].is_host:
        assert len(marks) == 1
    else:
        used, size = (int(word) for word in marks[1].split()[1:])
        assert 64 <= used < 1024 and size == built[0].stack_bytes


def test_a_damaged_byte_is_noticed(wire: Wire) -> None:
    wire.send(f"tg-load 0 16 {zlib.crc32(X):08X}%".encode() + b"\x00" + X[1:])
    assert wire.reply() == ["e-[crc]"]
    wire.send(f"tg-load 0 16 {zlib.crc32(X):08X}%".encode() + X)
    assert wire.reply() == []


def test_a_gap_ends_a_load_after_half_a_second(wire: Wire) -> None:
    wire.send(b"tg-load 0 16 00000000%" + X[:9])
    start = time.monotonic()
    assert wire.reply() == ["e-[timeout]"]
    assert time.monotonic() - start > 0.4
    assert wire.load(0, X) == []


def test_the_application_is_clean_under_sanitizers(tmp_path: Path) -> None:
    board = load_board("host")
    toolchain = find_toolchain(None, board)
    kinds = ("undefined",) if toolchain.name == "zig" else ("address", "undefined")
    elf = build_elf(project_with(board, tmp_path), toolchain, sanitize=kinds).elf
    with Wire([str(elf)]) as wire:
        wire.reply()
        assert wire.load(0, X) == [] and len(wire.ask("tg-profile%")) == 3 and wire.read(0) == Y
        assert wire.ask("x" * 81) == ["e-[command too long]"]
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        assert wire.process.wait(timeout=20) == 0
