"""What holds for every board that comes with tinygen: a new file in boards/ is tested by being there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.targets.build import build, project_with
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.paths import resource
from tinygen.targets.board import Board, Pin
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.toolchain import build_elf, find_toolchain

BOARDS = {name: load_board(name) for name in list_boards()}
EMULATED = [name for name, board in BOARDS.items() if board.emulator.engine in ("unicorn", "qemu")]
STM32 = [name for name in EMULATED if any(source.startswith("firmware/stm32") for source in BOARDS[name].sources)]
# One of those that run the same firmware on the same register models.
KINDS = list({(BOARDS[name].sources, BOARDS[name].include_dirs): name for name in STM32}.values())
BOTH_COMPILERS = ("f746zg", "esp32c3")


def one_of_each_core(names: list[str]) -> list[object]:
    """The first board of each core; the others in the long run."""
    first = {BOARDS[name].core: name for name in reversed(names)}.values()
    return [name if name in first else pytest.param(name, marks=pytest.mark.long) for name in names]


def pins(board: Board) -> list[Pin]:
    """All that the file names, in its order."""
    uart = [board.uart.tx, board.uart.rx] if board.uart else []
    return [pin for pin in (*uart, *(led.pin for led in board.leds), board.timestamp) if pin is not None]


@pytest.mark.parametrize("name", BOARDS)
def test_facts(name: str) -> None:
    board = BOARDS[name]
    assert board.name == name
    assert "from memory" not in board.path.read_text(encoding="utf-8"), "a source is a document that was looked up"
    assert len(set(pins(board))) == len(pins(board)), "a pin is used twice"
    roles = [led.role for led in board.leds]
    assert len(set(roles)) == len(roles), "two lights have the same role, so one is never lit"
    assert not board.leds or "ready" in roles
    root = resource("boards").parent
    for path in (*board.sources, *board.include_dirs):
        assert (root / path).exists(), path
    assert board.usb is None or (board.usb.vid > 0 and (board.flashing.methods or board.is_project_only))
    for method, needs in (
        ("openocd", board.flashing.openocd),
        ("pyocd", board.flashing.pyocd),
        ("mass-storage", board.flashing.volume),
    ):
        assert method not in board.flashing.methods or needs, f"{method} needs its own key"


def compilers() -> list[object]:
    """Every emulated board with each of its compilers; in the default run the second one for one board of a kind."""
    cases: list[object] = []
    for name in EMULATED:
        flags = BOARDS[name].toolchain
        if flags.zig:
            cases.append((name, "zig"))
        if flags.gcc:
            tool = "arm-none-eabi-gcc" if BOARDS[name].core.startswith("cortex") else "riscv64-unknown-elf-gcc"
            long = [] if name in BOTH_COMPILERS else [pytest.mark.long]
            cases.append(pytest.param(name, "gcc", marks=[requires_tool(tool), *long], id=f"{name}-gcc"))
    return cases


def level(peripherals: list[Peripheral], pin: Pin) -> bool:
    """Whether the pin is an output and high."""
    port = next(p for p in peripherals if p.name == f"GPIO{pin.port}")
    return bool(port.is_high(pin.number))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "toolchain"), compilers())
def test_runs(name: str, toolchain: str, tmp_path: Path) -> None:
    """The firmware reaches full speed, speaks at the right rate on the right pins, computes, and lights its lights."""
    board = BOARDS[name]
    emulated = EmulatedBoard(board, build(board, toolchain, tmp_path).elf)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    assert client.info().clock_hz == board.core_hz
    data = bytes(range(16))
    client.load(0, data)
    client.run()
    assert client.read(0) == bytes(2 * x + 1 & 0xFF for x in data)
    for led in board.leds:
        assert level(emulated.peripherals, led.pin) == (led.role == "ready"), led.name
    assert board.timestamp is None or level(emulated.peripherals, board.timestamp), "it is high between measurements"
    assert 0 < emulated.stack_used() < board.stack_bytes


def failure(board: Board, elf: Path) -> BoardError:
    """What the emulated board says of a firmware that must not boot."""
    with pytest.raises(BoardError) as caught:
        DeviceClient(EmulatedBoard(board, elf)).wait_for_boot()
    return caught.value


@pytest.mark.parametrize("name", one_of_each_core(STM32))
def test_too_few_wait_states(name: str, tmp_path: Path) -> None:
    board = BOARDS[name]
    clock = board.clock
    assert clock is not None and clock.flash_wait_states > 0
    hasty = dataclasses.replace(clock, flash_wait_states=clock.flash_wait_states - 1)
    wrong = dataclasses.replace(board, clock=hasty)
    said = failure(board, build(wrong, "zig", tmp_path).elf).what
    assert f"needs {clock.flash_wait_states} flash wait states, {hasty.flash_wait_states} are set" in said


@pytest.mark.parametrize("name", one_of_each_core(STM32))
def test_at_9600_baud(name: str, tmp_path: Path) -> None:
    """As MLPerf Tiny's energy mode wants it: the divisor must reach that far down from the UART's clock."""
    board = BOARDS[name]
    assert board.uart is not None
    slow = dataclasses.replace(board, uart=dataclasses.replace(board.uart, baud=9600))
    client = DeviceClient(EmulatedBoard(slow, build(slow, "zig", tmp_path).elf))
    client.wait_for_boot()
    assert client.info().name == "dummy"


@pytest.mark.parametrize("name", one_of_each_core(KINDS))
def test_uart_on_pins_of_something_else(name: str, tmp_path: Path) -> None:
    board = BOARDS[name]
    assert board.uart is not None
    wrong = dataclasses.replace(board, uart=dataclasses.replace(board.uart, af=board.uart.af ^ 3))
    assert "not in its alternate function" in failure(board, build(wrong, "zig", tmp_path).elf).what


@pytest.mark.parametrize("name", one_of_each_core(KINDS))
def test_a_firmware_that_does_not_wait(name: str, tmp_path: Path) -> None:
    """Oscillators, PLLs and regulators take their time; code that goes on at once fails on some real boards."""
    board = BOARDS[name]
    project = project_with(board, tmp_path)
    wait = tmp_path / "firmware/stm32/clock_wait.c"
    text = wait.read_text(encoding="utf-8")
    body = text[text.index("    const deadline_t") : text.rindex("}")]
    wait.write_text(text.replace(body, "    return address != 0 && mask + value + ms > 0U;\n"), encoding="utf-8")
    error = failure(board, build_elf(project, find_toolchain("zig", board)).elf)
    assert "ready" in error.what and "clock" in error.where
