"""The machine: Unicorn with a board's memories and peripherals, running the firmware's own ELF.

The CPU runs only while somebody waits for it: `read` runs it until enough bytes have come out of the
UART or the emulated time is up. Time is one cycle per executed instruction (an estimate that a
pipeline model will replace); while the firmware polls an empty UART, time jumps ahead.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.emulator import native
from tinygen.targets.emulator.core import core_peripherals
from tinygen.targets.emulator.faults import Fault, fault_error
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.profile import Profile, clear, read_profile
from tinygen.targets.emulator.stm32 import stm32_peripherals
from tinygen.targets.emulator.symbols import Symbols
from tinygen.targets.emulator.uart import CmsdkUart, Uart

try:
    import unicorn
    from unicorn import arm_const
except ImportError:  # the emulator is an extra; EmulatedBoard says so when it is used
    unicorn = None

PAGE = 0x1000
_IDLE_JUMP = 20_000
_BUDGET = 20_000_000_000
_PAINT = b"\xa5"
# Fields of app_model_t in firmware/app/app_model.h: `invoke` is the ninth word.
_INVOKE_FIELD = 8 * 4


class EmulatedBoard:
    """A board in memory, reset and ready to run.

    Args:
        board: what to emulate.
        elf: the firmware that would be flashed.
        count: count instructions per layer and function (a little slower).

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: the ELF does not fit the board's memory map.
    """

    def __init__(self, board: Board, elf: Path, *, count: bool = True) -> None:
        if unicorn is None:
            raise ToolchainError("Unicorn, the CPU emulator, is not installed", fix="pip install 'tinygen[emulator]'")
        self.board, self.elf = board, elf
        self.symbols = Symbols(elf)
        self.counter = native.Counter()
        self._skipped = 0
        self._fault: Exception | None = None
        self._access: Fault | None = None
        self._want = 0
        self._deadline = 0
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        self._uc.ctl_set_cpu_model(_cpu_model(board))
        self._map_memories()
        self._load()
        self.uart = self._add_peripherals()
        self._add_hooks(count)
        self._reset()

    @property
    def instructions(self) -> int:
        """Executed since reset."""
        return int(self.counter.total)

    @property
    def cycles(self) -> int:
        """Emulated time since reset."""
        return self.instructions + self._skipped

    def close(self) -> None:
        """Nothing to release; for symmetry with real boards."""

    def write(self, data: bytes) -> None:
        """Puts bytes on the line to the board's UART."""
        self.uart.received.extend(data)

    def read(self, size: int, timeout: float) -> bytes:
        """Runs the board until `size` bytes have come, or `timeout` emulated seconds have passed.

        Returns:
            at most `size` bytes; fewer after the time-out.

        Raises:
            BoardError: the firmware crashed, broke a rule of the board, or ran without end.
        """
        hertz = self.board.clock.hclk_hz if self.board.clock else 1
        self._want = size
        self._deadline = self.cycles + int(timeout * hertz)
        while len(self.uart.sent) < size and self.cycles < self._deadline:
            self._run()
        data = bytes(self.uart.sent[:size])
        del self.uart.sent[:size]
        return data

    def clear_profile(self) -> None:
        """Starts counting anew."""
        clear(self.counter)

    def profile(self, layers: int) -> Profile:
        """What inferences since `clear_profile` executed.

        Raises:
            ToolchainError: more distinct blocks ran than the counter has room for.
        """
        if self.counter.lost:
            raise ToolchainError(f"{self.counter.lost} blocks were not counted: the block table is full")
        return read_profile(self.counter, self.symbols, layers)

    def stack_used(self) -> int:
        """Deepest stack so far, in bytes."""
        bottom, top = self.symbols.address("__stack_bottom"), self.symbols.address("__stack_top")
        stack = bytes(self._uc.mem_read(bottom, top - bottom))
        return len(stack.lstrip(_PAINT))

    @contextmanager
    def pty(self) -> Iterator[str]:
        """A pseudo-terminal in front of the UART: gives its path, for pyserial and other programs."""
        import tty

        leader, follower = os.openpty()
        tty.setraw(follower)
        stop = threading.Event()
        thread = threading.Thread(target=self._bridge, args=(leader, stop), daemon=True)
        thread.start()
        try:
            yield os.ttyname(follower)
        finally:
            stop.set()
            thread.join()
            os.close(leader)
            os.close(follower)

    def _bridge(self, leader: int, stop: threading.Event) -> None:
        while not stop.is_set():
            readable, _, _ = select.select([leader], [], [], 0.001)
            if readable:
                self.write(os.read(leader, 4096))
            data = self.read(1, 0.005)
            if data:
                os.write(leader, data + self._drain())

    def _drain(self) -> bytes:
        data = bytes(self.uart.sent)
        self.uart.sent.clear()
        return data

    def _map_memories(self) -> None:
        for memory in self.board.memories:
            protection = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
            if memory.kind == "ram":
                protection |= unicorn.UC_PROT_WRITE
            for origin in (memory.origin, *memory.aliases):
                self._uc.mem_map(origin, -(-memory.size // PAGE) * PAGE, protection)

    def _load(self) -> None:
        with self.elf.open("rb") as file:
            for segment in ELFFile(file).iter_segments():
                if segment["p_type"] != "PT_LOAD" or not segment["p_filesz"]:
                    continue
                data, address = segment.data(), segment["p_paddr"]
                memory = next((m for m in self.board.memories if m.contains(address)), None)
                if memory is None or address + len(data) > memory.end:
                    raise BoardError(
                        f"{len(data)} bytes at {address:#010x} are outside the board's memories", where=str(self.elf)
                    )
                for origin in (memory.origin, *memory.aliases):
                    self._uc.mem_write(address - memory.origin + origin, data)

    def _add_peripherals(self) -> Uart:
        peripherals = core_peripherals(self.board.core, lambda: self.cycles)
        uart: Uart
        assert self.board.uart is not None
        if any(source.startswith("firmware/stm32") for source in self.board.sources):
            more, uart = stm32_peripherals(self.board)
            peripherals += more
        else:
            uart = CmsdkUart(self.board.uart.instance, self.board.uart.base, 0x1000)
            peripherals.append(uart)
        uart.polled = self._polled
        pages: dict[int, list[Peripheral]] = {}
        for peripheral in peripherals:
            for page in range(peripheral.base // PAGE * PAGE, peripheral.base + peripheral.size, PAGE):
                pages.setdefault(page, []).append(peripheral)
        for page, members in pages.items():
            self._uc.mmio_map(page, PAGE, self._load_register, (page, members), self._store_register, (page, members))
        return uart

    def _load_register(self, uc: Any, offset: int, size: int, place: Any) -> int:
        return self._register(place, offset, None)

    def _store_register(self, uc: Any, offset: int, size: int, value: int, place: Any) -> None:
        self._register(place, offset, value)

    def _register(self, place: tuple[int, list[Peripheral]], offset: int, value: int | None) -> int:
        page, members = place
        address = page + offset
        for member in members:
            if member.base <= address < member.base + member.size:
                try:
                    if value is None:
                        return member.load(address - member.base) & 0xFFFFFFFF
                    member.store(address - member.base, value)
                except Forbidden as error:
                    self._stop_with(error)
                return 0
        kind = "read" if value is None else "write"
        self._access = Fault(kind, address, 4)
        self._stop_with(None)
        return 0

    def _stop_with(self, error: Exception | None) -> None:
        self._fault = self._fault or error
        self._uc.emu_stop()

    def _polled(self) -> None:
        """The firmware looks at the UART's status: the one place to stop, as the read can be repeated.

        (A store that stops the CPU would be executed again.) While the firmware waits for a byte, time
        jumps ahead.
        """
        if self.uart.received:
            return
        self._skipped += _IDLE_JUMP
        if len(self.uart.sent) >= self._want or self.cycles >= self._deadline:
            self._uc.emu_stop()

    def _add_hooks(self, count: bool) -> None:
        self.counter.limit = _BUDGET
        model = self.symbols.by_name.get("app_model")
        if count and model is not None:
            entry = bytes(self._uc.mem_read(model + _INVOKE_FIELD, 4))
            self.counter.invoke = int.from_bytes(entry, "little") & ~1
            self.counter.observer = self.symbols.by_name.get("layer_finished", 0) & ~1
        if count:
            native.install(self._uc, unicorn.unicorn_py3.unicorn.uclib, self.counter)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid_access)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._exception)

    def _invalid_access(self, uc: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        kinds = {
            unicorn.UC_MEM_WRITE_UNMAPPED: "write", unicorn.UC_MEM_READ_UNMAPPED: "read",
            unicorn.UC_MEM_FETCH_UNMAPPED: "fetch", unicorn.UC_MEM_WRITE_PROT: "flash write",
            unicorn.UC_MEM_FETCH_PROT: "fetch",
        }  # fmt: skip
        self._access = self._access or Fault(kinds.get(access, "access"), address, size)
        return False

    def _exception(self, uc: Any, number: int, user: Any) -> None:
        self._access = self._access or Fault("exception", number, 0)
        uc.emu_stop()

    def _reset(self) -> None:
        self._uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
        self._uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
        bottom, top = (self.symbols.by_name.get(name, 0) for name in ("__stack_bottom", "__stack_top"))
        if top > bottom:
            self._uc.mem_write(bottom, _PAINT * (top - bottom))
        vectors = bytes(self._uc.mem_read(self.board.link_flash.origin, 8))
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._pc = int.from_bytes(vectors[4:], "little") | 1

    def _run(self) -> None:
        """Runs until a peripheral stops the CPU; raises what went wrong."""
        self._fault, self._access = None, None
        failure: Exception | None = None
        try:
            self._uc.emu_start(self._pc, 0xFFFFFFFE, 0, 0)
        except unicorn.UcError as error:
            failure = error
        pc = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
        self._pc = pc | 1
        if self._fault or self._access or failure or self.counter.limited:
            registers = {
                "sp": self._uc.reg_read(arm_const.UC_ARM_REG_SP),
                "lr": self._uc.reg_read(arm_const.UC_ARM_REG_LR),
            }
            limited = self.instructions if self.counter.limited else 0
            raise fault_error(
                self.board, self.symbols, pc, registers, self._fault, self._access, failure, limited
            )


def _cpu_model(board: Board) -> int:
    models = {
        "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
        "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
        "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
        "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
        "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
    }
    if board.core not in models:
        raise BoardError(f"no emulated core for {board.core}", where=board.name, fix=f"There are: {', '.join(models)}.")
    return int(models[board.core])
