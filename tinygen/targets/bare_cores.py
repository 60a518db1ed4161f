"""Bare cores for measurements: a CPU, a compiler and memory without wait states, no board around them.

No firmware runs there: `tinygen bench` and the tests call the model's functions one by one (`BareCore`). Cycles are
those of the core alone, without the wait states of a product's flash.
"""

from __future__ import annotations

from collections.abc import Mapping

from tinygen.errors import BoardError
from tinygen.paths import resource
from tinygen.targets.board import Board, EmulatorSpec, Flashing, ToolchainFlags, ZigTarget
from tinygen.targets.boards import load_board

BARE = "bare"
"""The engine name of a bare core."""


def _core(core: str, title: str, isa: tuple[str, ...], toolchain: ToolchainFlags, name: str = "") -> Board:
    return Board(
        name=name or core,
        title=title,
        part="",
        core=core,
        isa=isa,
        memories=(),
        clock=None,
        uart=None,
        microphone=None,
        leds=(),
        timestamp=None,
        stream_pins=None,
        usb=None,
        flashing=Flashing(),
        platformio=None,
        run_current=None,
        timing=None,
        stack_bytes=4096,
        emulator=EmulatorSpec(engine=BARE, cpu_model=core),
        sources=(),
        include_dirs=(),
        toolchain=toolchain,
        path=resource("boards"),
    )


# Armv6-M: 16-bit Thumb instructions only, no unaligned access, no product above 32 bits.
_M0PLUS = ToolchainFlags(
    zig=ZigTarget("thumb-freestanding-eabi", "cortex_m0plus"),
    gcc=("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"),
)
# RV32IMC; the hardware handles unaligned accesses (esp-idf, migration guide 5.0, gcc).
_ESP32C3 = ToolchainFlags(
    zig=ZigTarget("riscv32-freestanding", "generic_rv32+m+c+zicsr+unaligned_scalar_mem"),
    gcc=("-march=rv32imc", "-misa-spec=2.2", "-mabi=ilp32", "-mno-strict-align", "-ffreestanding", "-fbuiltin"),
)
_CORES = (
    _core("cortex-m0plus", "Cortex-M0+, multiplication in 1 cycle", ("c99", "scalar", "armv6m"), _M0PLUS),
    _core("cortex-m0plus-slow-multiplier", "Cortex-M0+, multiplication in 32 cycles", ("c99",), _M0PLUS),
    _core("esp32c3", "RISC-V core of the ESP32-C3", ("c99", "rv32", "scalar"), _ESP32C3, "esp32c3-core"),
)


def bare_cores() -> Mapping[str, Board]:
    """The cores by name."""
    return {board.name: board for board in _CORES}


def board_or_core(name: str) -> Board:
    """Returns a bare core by its name, or else a board.

    Raises:
        BoardError: there is neither.
    """
    cores = bare_cores()
    if name in cores:
        return cores[name]
    try:
        return load_board(name)
    except BoardError as error:
        raise BoardError(
            error.what, where=error.where, fix=f"{error.fix} Cores without a board: {', '.join(cores)}."
        ) from error
