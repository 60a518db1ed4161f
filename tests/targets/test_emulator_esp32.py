"""Emulated ESP32-C3 and -C6: the firmware boots from RAM, maps its flash, and faults are said as on other boards."""

from __future__ import annotations

from pathlib import Path

import pytest
from unicorn import riscv_const

from tests.targets.build import build, model_with_invoke
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError, FitError
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.esp32 import EspUart, Pcr, System
from tinygen.targets.emulator.peripheral import Forbidden
from tinygen.targets.emulator.peripherals import board_peripherals

CHIPS = ("esp32c3", "esp32c6")
# gcc in the default run: test_every_board.py, test_runs.
TOOLCHAINS = ["zig", pytest.param("gcc", marks=[requires_tool("riscv64-unknown-elf-gcc"), pytest.mark.long])]


@pytest.fixture(params=CHIPS)
def board(request: pytest.FixtureRequest) -> Board:
    return load_board(request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {chip: build(load_board(chip), "zig", tmp_path_factory.mktemp(chip)).elf for chip in CHIPS}


def booted(board: Board, elf: Path) -> tuple[EmulatedBoard, DeviceClient]:
    emulated = EmulatedBoard(board, elf, Watch(cost=board_cost(board, elf)))
    client = DeviceClient(emulated)
    client.wait_for_boot()
    return emulated, client


@pytest.mark.parametrize("board", ["esp32c3", pytest.param("esp32c6", marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_inference(board: Board, tmp_path: Path, toolchain: str) -> None:
    result = build(board, toolchain, tmp_path)
    assert result.bin is None and result.flash_bytes < 14 * 1024
    assert sum(result.sizes.flash_by_group.values()) == result.flash_bytes
    assert sum(result.sizes.ram_by_group.values()) == result.ram_bytes
    emulated, client = booted(board, result.elf)
    assert client.info().clock_hz == 160_000_000
    client.load(0, bytes(range(16)))
    client.run()
    assert list(client.read(0)) == [2 * x + 1 for x in range(16)]
    cycles = client.run()  # the code is in the cache now
    emulated.clear_profile()
    layers, _ = client.profile()
    profile = emulated.profile(2)
    assert len(layers) == 2 and all(own > 0 for own in profile.layer_cycles)
    # The chip's own counter counts what the model of its pipeline says; here without the calls between layers, whose
    # code throws some of the model's out of the cache.
    assert cycles == pytest.approx(sum(profile.layer_cycles) - sum(profile.layer_stalls), rel=0.2)
    assert 0 < emulated.stack_used() < 1024
    assert isinstance(emulated.uart, EspUart) and emulated.uart.core_hz() == 160_000_000


# What the first byte of the input chooses.
BODY = """
    switch (static_arena.bytes[0]) {
    case 0: *(volatile uint32_t *)(uintptr_t)0x70000000U = 1U; break;
    case 1: *(volatile uint32_t *)(uintptr_t)0x60010000U = 1U; break;
    case 2: *(volatile uint32_t *)(uintptr_t)invoke = 1U; break;
    case 3: deep(); break;
    case 4: __asm volatile(".2byte 0"); break;
    case 5: __asm volatile("ebreak"); break;
    case 6: __asm volatile(".4byte 0x00b50553"); break;
    case 7: ((void (*)(void))(uintptr_t)0x20000000U)(); break;
    case 8: uart_set_baud(9600U); break;
    case 9: uart_set_baud(921600U); break;
    case 10: board_timestamp_pin(false); break;
    default: break;
    }
    for (volatile int i = 0;;) { (void)i; }
"""
DECLARATIONS = """static void invoke(app_observer_t *observer, void *context);
void uart_set_baud(uint32_t baud);
void board_timestamp_pin(bool high);
__attribute__((noinline)) static void deep(void)
{
    volatile uint8_t bytes[8192];
    for (uint32_t i = 8192U; i > 0U; i--) { bytes[i - 1U] = 1U; }
}
"""
FAULTS = [
    "write of 4 bytes at 0x70000000",
    "write of 4 bytes at 0x60010000",
    "which is read-only",
    "stack overflow by at least",
    "an illegal instruction",
    "EBREAK: a breakpoint without a debugger",
    "a floating-point instruction, but the core has no FPU",
    "fetch of 2 bytes at 0x20000000",
    "still running after 1,000,000 instructions",
    "still running after 1,000,000 instructions",
    "still running after 1,000,000 instructions",
]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    model = model_with_invoke(DECLARATIONS, BODY)
    return {chip: build(load_board(chip), "zig", tmp_path_factory.mktemp(chip), model).elf for chip in CHIPS}


def crash(board: Board, faulty: dict[str, Path], choice: int) -> tuple[EmulatedBoard, BoardError]:
    emulated = EmulatedBoard(board, faulty[board.name], budget=1_000_000)
    client = DeviceClient(emulated)
    client.wait_for_boot()
    client.load(0, bytes([choice] * 16))
    with pytest.raises(BoardError) as caught:
        client.run()
    return emulated, caught.value


@pytest.mark.parametrize("choice", range(len(FAULTS)))
def test_a_fault_is_told_with_its_line(board: Board, faulty: dict[str, Path], choice: int) -> None:
    _, error = crash(board, faulty, choice)
    assert FAULTS[choice] in error.what
    assert "(app_model.c:" in f"{error.where} {error.fix}"


@pytest.mark.parametrize(("choice", "baud"), [(8, 9600), (9, 921600), (10, 115200)])
def test_the_rate_is_what_was_asked_for(board: Board, faulty: dict[str, Path], choice: int, baud: int) -> None:
    emulated, _ = crash(board, faulty, choice)
    assert isinstance(emulated.uart, EspUart)
    assert emulated.uart.rate() == pytest.approx(baud, rel=0.002)


@pytest.mark.parametrize("chip", CHIPS)
def test_a_watchdog_that_is_left_running_bites(chip: str, plain: dict[str, Path]) -> None:
    emulated = EmulatedBoard(load_board(chip), plain[chip])
    for peripheral in emulated.uart.watched:  # type: ignore[attr-defined]
        peripheral.write = lambda offset, value: None  # as if the firmware had not stopped it
    with pytest.raises(BoardError, match=r"TIMG0_WDTCONFIG0 = .*after 0.33 s it resets the chip"):
        emulated.read(10_000, timeout=2.0)


def test_flash_is_nowhere_before_it_is_mapped(board: Board, plain: dict[str, Path]) -> None:
    emulated = EmulatedBoard(board, plain[board.name])
    emulated._pc = emulated.symbols.address("main")
    with pytest.raises(BoardError, match="fetch"):
        emulated.read(1, timeout=1.0)


def test_the_trap_handler_reports(board: Board, plain: dict[str, Path]) -> None:
    """The emulated machine stops at a fault by itself; here the core is put where the hardware would go."""
    emulated, _ = booted(board, plain[board.name])
    for name, value in (("MCAUSE", 5), ("MEPC", 0x42011234), ("MTVAL", 0x70000000)):
        emulated._uc.reg_write(getattr(riscv_const, f"UC_RISCV_REG_{name}"), value)
    emulated._pc = emulated.symbols.address("trap_entry")
    assert emulated._pc % 256 == 0
    said = emulated.read(200, timeout=1.0).decode()
    assert said == "\r\ne-[fault: load access pc=42011234 address=70000000 mcause=00000005]\r\n"


def test_the_wrong_rate_is_garbage(board: Board, plain: dict[str, Path]) -> None:
    emulated = EmulatedBoard(board, plain[board.name])
    emulated.uart.baud = 9600
    said = emulated.read(20, timeout=1.0)
    assert b"m-tg-boot" not in said


def test_the_timestamp_pin(board: Board, faulty: dict[str, Path]) -> None:
    emulated, _ = crash(board, faulty, 10)
    assert [high for _, high in emulated.edges] == [True, False]


def test_what_does_not_fit(tmp_path: Path) -> None:
    board = load_board("esp32c3")
    much = "static volatile uint8_t much[600000];"
    model = model_with_invoke(much, "    much[observer == NULL ? 1 : 2] = 1U;")
    with pytest.raises(FitError, match="does not fit RAM"):
        build(board, "zig", tmp_path / "ram", model)
    many = "static const volatile uint32_t many[2200000] = {1, [2199999] = 1};"
    model = model_with_invoke(many, "    static_arena.bytes[0] = (int8_t)many[context == NULL ? 0 : 2199999];")
    with pytest.raises(FitError, match="does not fit flash"):
        build(board, "zig", tmp_path / "flash", model)


def test_a_full_buffer_is_not_an_empty_one(board: Board, plain: dict[str, Path]) -> None:
    """It holds 128 bytes: a count that 7 bits cannot say."""
    emulated = EmulatedBoard(board, plain[board.name], budget=1_000_000)
    DeviceClient(emulated).wait_for_boot()
    emulated.write(b"\r" * 128 + b"name%")
    assert emulated.read(len("m-name-dut-[tinygen]"), timeout=2.0) == b"m-name-dut-[tinygen]"


class Registers:
    """A chip's registers without a CPU."""

    def __init__(self, chip: str) -> None:
        self.peripherals, self.uart = board_peripherals(load_board(chip), lambda: 0)

    def write(self, address: int, value: int) -> None:
        for peripheral in self.peripherals:
            if peripheral.base <= address < peripheral.base + peripheral.size:
                peripheral.store(address - peripheral.base, 4, value)


RTC, LP_WDT, C3_TIMG0, C6_TIMG0, SYSTEM, PCR = 0x60008000, 0x600B1C00, 0x6001F000, 0x60008000, 0x600C0000, 0x60096000


@pytest.mark.parametrize(
    ("chip", "address", "value", "why"),
    [
        ("esp32c3", RTC + 0x90, 0, "does not hold the key 0x50d83aa1"),
        ("esp32c3", RTC + 0xAC, 1 << 31, "does not hold the key 0x8f1d312a"),
        ("esp32c3", C3_TIMG0 + 0x48, 0, "does not hold the key"),
        ("esp32c6", LP_WDT, 0, "does not hold the key"),
        ("esp32c6", LP_WDT + 0x1C, 1 << 18, "does not hold the key"),
        ("esp32c6", C6_TIMG0 + 0x48, 0, "does not hold the key"),
        ("esp32c3", SYSTEM + 0x08, 1, "the PLL runs at 480 MHz"),
        ("esp32c3", SYSTEM + 0x08, 6, "CPUPERIOD_SEL is 0"),
        ("esp32c3", SYSTEM + 0x58, 3 << 10, "SOC_CLK_SEL is 0"),
        ("esp32c6", PCR + 0x110, 3 << 16, "SOC_CLK_SEL is 0"),
        ("esp32c6", PCR + 0x110, 1 << 16, "flash would run at more than 80 MHz"),
        ("esp32c6", PCR + 0x118, 2 << 8, "CPU_HS_DIV_NUM is 0, 1 or 3"),
        ("esp32c3", 0x600C5004, 1, "the table changes while the cache is on"),
        ("esp32c6", 0x6000237C, 1 | 1 << 9, "the table changes while the cache is on"),
        ("esp32c6", 0x60002384, 1 << 3, "pages other than of 64 KiB"),
    ],
)
def test_what_the_chip_forbids(chip: str, address: int, value: int, why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        Registers(chip).write(address, value)


@pytest.mark.parametrize(
    ("chip", "writes", "hz"),
    [
        ("esp32c3", [], 20_000_000),
        ("esp32c3", [(SYSTEM + 0x58, 1 << 10)], 80_000_000),
        ("esp32c3", [(SYSTEM + 0x58, 1 << 10), (SYSTEM + 0x08, 5)], 160_000_000),
        ("esp32c6", [], 40_000_000),
        ("esp32c6", [(PCR + 0x1C, 5 << 8), (PCR + 0x110, 1 << 16), (PCR + 0x118, 1 << 8)], 80_000_000),
        ("esp32c6", [(PCR + 0x1C, 5 << 8), (PCR + 0x110, 1 << 16)], 160_000_000),
    ],
)
def test_clocks(chip: str, writes: list[tuple[int, int]], hz: int) -> None:
    registers = Registers(chip)
    for peripheral in registers.peripherals:
        if isinstance(peripheral, (System, Pcr)):
            peripheral.pll = None  # it runs; what that takes: test_emulator_esp32_pll.py
    for address, value in writes:
        registers.write(address, value)
    assert isinstance(registers.uart, EspUart) and registers.uart.core_hz() == hz
