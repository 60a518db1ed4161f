"""The emulated board: it runs what a board would, and says what a board would only hang on."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from tests.targets.build import build, model_with_invoke
from tinygen.errors import BoardError, DeviceError
from tinygen.hil.client import DeviceClient
from tinygen.hil.transports import SerialTransport
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.peripheral import Forbidden


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("f746zg")


@pytest.fixture(scope="module")
def elf(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(board, "zig", tmp_path_factory.mktemp("dummy")).elf


def start(board: Board, elf: Path, *, count: bool = True) -> tuple[EmulatedBoard, DeviceClient]:
    emulated = EmulatedBoard(board, elf, Watch(count=count))
    client = DeviceClient(emulated)
    client.wait_for_boot()
    return emulated, client


def crash(board: Board, folder: Path, body: str, declarations: str = "") -> BoardError:
    """The error of a model whose inference does what it must not."""
    elf = build(board, "zig", folder, model_with_invoke(declarations, body)).elf
    _, client = start(board, elf)
    with pytest.raises(BoardError) as caught:
        client.run()
    return caught.value


def test_boots_at_full_speed(board: Board, elf: Path) -> None:
    emulated, client = start(board, elf)
    assert client.info().clock_hz == 216_000_000
    ((cycles, high),) = emulated.edges  # the timestamp pin waits high, and is not pulled low on the way there
    assert high and 0 < cycles < emulated.cycles


@pytest.mark.parametrize("name", ["l4r5zi", "netduinoplus2", "mps2-an500"])
def test_other_boards(name: str, tmp_path: Path) -> None:
    other = load_board(name)
    _, client = start(other, build(other, "zig", tmp_path).elf)
    assert client.info().clock_hz == other.clock.hclk_hz  # type: ignore[union-attr]


def test_inference(board: Board, elf: Path) -> None:
    emulated, client = start(board, elf)
    client.load(0, bytes(range(16)))
    emulated.clear_profile()
    layers, _ = client.profile()
    output = client.read(0)
    client.load(0, bytes(range(16)))
    client.run()
    assert client.read(0) == output
    assert len(layers) == 2
    profile = emulated.profile(2)
    assert all(profile.layers)
    assert profile.instructions == sum(block.instructions * block.count for block in profile.blocks)
    assert 0 < emulated.stack_used() < board.stack_bytes


def test_counts_repeat(board: Board, elf: Path) -> None:
    emulated, client = start(board, elf)
    counts = []
    for _ in range(2):
        client.load(0, bytes(16))
        emulated.clear_profile()
        client.profile()
        counts.append(emulated.profile(2).layers)
    assert counts[0] == counts[1]


def test_count_is_exact(board: Board, tmp_path: Path) -> None:
    """Ten executions of a block of known length are counted as such."""
    loop = '    __asm volatile("movs r3, #10\\n1: nop\\n nop\\n subs r3, #1\\n bne 1b" ::: "r3", "cc");'
    elf = build(board, "zig", tmp_path, model_with_invoke("", loop)).elf
    emulated, client = start(board, elf)
    emulated.clear_profile()
    client.run()
    blocks = [block for block in emulated.profile(2).blocks if block.count in (9, 10)]
    assert sum(block.instructions * block.count for block in blocks) in (36, 40)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_waits_for_the_end(board: Board, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised inside a callback it would be lost, and the cycles that the firmware reads there with it."""
    emulated, client = start(board, elf)
    cycles = []
    for _ in range(2):
        client.load(0, bytes(16))
        cycles.append(client.run())
    held, polled = [], emulated.uart.polled

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        held.append(True)
        polled()

    client.load(0, bytes(16))
    with monkeypatch.context() as patch:
        patch.setattr(emulated.uart, "polled", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.run()
    assert held and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    client.load(0, bytes(16))
    assert client.run() == cycles[1]


def test_a_reply_is_said_at_once(board: Board, elf: Path) -> None:
    """To stop the core at every byte that somebody reads takes longer than most inferences."""
    emulated, _ = start(board, elf)
    emulated.write(b"name%")
    reply, executed = emulated.read(1, timeout=1.0), emulated.instructions
    while not reply.endswith(b"m-ready\r\n"):
        reply += emulated.read(1, timeout=1.0)
    assert reply.startswith(b"m-name-") and emulated.instructions == executed


def test_what_was_said_before_a_fault_is_heard(board: Board, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulated, _ = start(board, elf)
    polled = emulated.uart.polled

    def forbidden() -> None:
        if len(emulated.uart.sent) >= 3:
            raise Forbidden("X", 0, "none")
        polled()

    monkeypatch.setattr(emulated.uart, "polled", forbidden)
    emulated.write(b"name%")
    assert emulated.read(1, timeout=1.0) + emulated.read(2, timeout=1.0) == b"m-n"
    with pytest.raises(BoardError, match="X = 0x0: none"):
        emulated.read(1, timeout=1.0)


def test_without_counting(board: Board, elf: Path) -> None:
    _, client = start(board, elf, count=False)
    client.load(0, bytes(range(16)))
    client.run()
    assert len(client.read(0)) == 16


def test_unmapped_write(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, "    *(volatile unsigned *)0x20050000U = 1U;")
    assert "write of 4 bytes at 0x20050000, just beyond the end of SRAM2 (0x2004c000-0x2004ffff)" in error.what
    assert "app_model.c:" in error.where
    assert "invoke" in error.where
    assert "sp=0x2000" in error.fix and "r12=" in error.fix


def test_unmapped_read(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, "    (void)*(volatile unsigned *)0xA0000004U;")
    assert "read of 4 bytes at 0xa0000004, where the board has nothing" in error.what


def test_write_to_flash(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, "    *(volatile unsigned *)0x08000000U = 1U;")
    assert "write to FLASH at 0x08000000, which is read-only" in error.what


def test_stack_overflow(board: Board, tmp_path: Path) -> None:
    recursion = (
        "static int deep(volatile int *last) { volatile int here[64]; here[0] = *last + 1;"
        " return *last == 0 ? 0 : deep(here) + here[0]; }"
    )
    error = crash(board, tmp_path, "    volatile int seed = 1;\n    (void)deep(&seed);", recursion)
    assert "stack overflow by at least" in error.what
    assert "the stack has 4096" in error.what


def test_undefined_instruction(board: Board, tmp_path: Path) -> None:
    error = crash(board, tmp_path, '    __asm volatile(".short 0xde00");')
    assert "cannot execute" in error.what


ENDLESS = "    for (volatile int i = 0;;) { (void)i; }"


@pytest.mark.parametrize("count", [True, False])
def test_endless_loop(board: Board, tmp_path: Path, count: bool) -> None:
    looping = build(board, "zig", tmp_path, model_with_invoke("", ENDLESS)).elf
    emulated = EmulatedBoard(board, looping, Watch(count=count), budget=1_000_000, host_seconds=0.5)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    with pytest.raises(BoardError, match=r"still running after (1,000,000 instructions|0.5 seconds)") as caught:
        client.run()
    assert "invoke" in caught.value.where


def test_many_inferences_are_no_endless_loop(board: Board, elf: Path) -> None:
    """The budget is for the time between two looks at the UART, not for the whole run."""
    emulated = EmulatedBoard(board, elf, budget=100_000)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    while emulated.instructions < 300_000:
        client.run()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"flash_wait_states": 3}, "needs 7 flash wait states, 3 are set"),
        ({"voltage_scale": 3}, "HCLK 216000000 Hz, at most 144000000 with over-drive at voltage scale 3"),
        ({"bypass": False}, "HSEBYP is 0, but the board has a clock signal on OSC_IN"),
        ({"over_drive": False}, "at most 180000000 without over-drive"),
        ({"apb1_div": 2}, "APB1 108000000 Hz, at most"),
        ({"pll": (2, 108, 2)}, "VCO input 4000000 Hz"),
        ({"pll": (4, 400, 4)}, "VCO 800000000 Hz"),
    ],
)
def test_forbidden_clock(board: Board, tmp_path: Path, changes: dict[str, object], rule: str) -> None:
    clock = board.clock
    assert clock is not None
    if "pll" in changes:
        m, n, p = changes["pll"]  # type: ignore[misc]
        changes = {"pll": dataclasses.replace(clock.pll, m=m, n=n, p=p)}  # type: ignore[type-var]
    broken = dataclasses.replace(board, clock=dataclasses.replace(clock, **changes))
    with pytest.raises(BoardError) as caught:
        start(board, build(broken, "zig", tmp_path).elf)
    assert rule in caught.value.what
    assert "clock.c:" in caught.value.where or "family.c:" in caught.value.where
    assert "RCC" in caught.value.what or "FLASH_ACR" in caught.value.what


def test_wrong_pin(board: Board, tmp_path: Path) -> None:
    """A UART on pins that are not switched to it says nothing on a real board."""
    assert board.uart is not None
    wrong = dataclasses.replace(board, uart=dataclasses.replace(board.uart, af=8))
    elf = build(wrong, "zig", tmp_path).elf
    with pytest.raises(BoardError, match="not in its alternate function"):
        start(board, elf)


def test_pseudo_terminal(board: Board, elf: Path) -> None:
    """pyserial speaks to the emulated board as to a real one."""
    emulated = EmulatedBoard(board, elf)
    with emulated.pty() as path:
        assert os.path.exists(path)
        client = DeviceClient(SerialTransport(path))
        client.wait_for_boot()
        assert client.info().name == "dummy"
        client.load(0, bytes(range(16)))
        client.run()
        assert len(client.read(0)) == 16
        client.close()


def test_a_crash_behind_a_pseudo_terminal_is_told(board: Board, tmp_path: Path) -> None:
    elf = build(board, "zig", tmp_path, model_with_invoke("", '    __asm volatile(".short 0xde00");')).elf
    with pytest.raises(BoardError, match="cannot execute"), EmulatedBoard(board, elf).pty() as path:
        client = DeviceClient(SerialTransport(path), infer_seconds=1.0)
        client.wait_for_boot()
        with pytest.raises(DeviceError):
            client.run()
        client.close()
