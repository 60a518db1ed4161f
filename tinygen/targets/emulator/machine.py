"""The machine: Unicorn with a board's memories and peripherals, running the firmware's own ELF.

The CPU runs only while somebody waits for it: `read` runs it until enough bytes have come out of the UART or the
emulated time is up. Time is what the cost function says of each executed block (one cycle per instruction, unless a
pipeline model is given: `tinygen.targets.cycles.board_cost`); while the firmware polls an empty UART, time jumps
ahead.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Board
from tinygen.targets.emulator.core import core_peripherals
from tinygen.targets.emulator.counting import FPU_DOUBLE, FPU_ON, Cost, Counter, make_counter
from tinygen.targets.emulator.faults import NOT_THUMB, UNDEFINED, Fault, Stop, fault_error, stack_overflow
from tinygen.targets.emulator.guarded import GuardedCost
from tinygen.targets.emulator.memory import PAGE, Memories
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral, Port
from tinygen.targets.emulator.peripherals import board_peripherals
from tinygen.targets.emulator.profile import Profile, make_profile
from tinygen.targets.emulator.pty import open_pty
from tinygen.targets.emulator.symbols import Symbols

try:
    import unicorn
    from unicorn import arm_const
except ImportError:  # the emulator is an extra; new_cpu says so when one is wanted
    unicorn = None

BUDGET = 4_000_000_000
_IDLE_JUMP = 20_000
_UNCOUNTED_ACCESS = 16
_PAINT = b"\xa5"
# Fields of app_model_t in firmware/app/app_model.h: `invoke` is the ninth word.
_INVOKE_FIELD = 8 * 4
_REGISTERS = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr")


class EmulatedBoard:
    """A board in memory, reset and ready to run.

    Args:
        board: what to emulate.
        elf: the firmware that would be flashed.
        count: count instructions per layer and function. Without, long runs are a third faster, but the
            cycle counter hardly moves and an endless loop is noticed only after `host_seconds`.
        strict: also stop at unaligned alignment that a core faults on; several times slower.
        cost: cycles of a block, see `Cost`.
        budget: instructions within which the firmware must look at its UART again.
        host_seconds: the same without counting.
        native: see `make_counter`.

    Attributes:
        edges: every change of the board's timestamp pin: cycles since reset, and whether it is high from then on.

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: the ELF does not fit the board's memory map, or nothing emulates the board.
    """

    def __init__(
        self,
        board: Board,
        elf: Path,
        *,
        count: bool = True,
        strict: bool | None = None,
        cost: Cost | None = None,
        budget: int = BUDGET,
        host_seconds: float = 600.0,
        native: bool | None = None,
    ) -> None:
        self._uc = new_cpu(board.core)
        self.board, self.elf, self.symbols = board, elf, Symbols(elf)
        self.counter: Counter = make_counter(native)
        self._count, self._budget, self._host_seconds = count, budget, host_seconds
        self._skipped = self._want = self._deadline = 0
        self._stopped = False
        self._fault: Exception | None = None
        self._access: Fault | None = None
        self._exception: int | None = None
        self._error: BoardError | None = None
        self.memories = Memories(self._uc, board.memories, elf)
        self.peripherals, self.uart = board_peripherals(board, lambda: self.cycles)
        self.uart.polled = self._polled
        self.peripherals += core_peripherals(board.core, lambda: self.cycles, self._fpu_switched)
        self.edges: list[tuple[int, bool]] = []
        self._watch_timestamps()
        self._map_peripherals()
        self._mark_inference()
        alignment = count if strict is None else strict
        guarded = GuardedCost(cost, self._keep_error) if cost else None
        self.counter.install(self._uc, blocks=count, alignment=alignment, cost=guarded)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid_access)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self._reset()

    @property
    def instructions(self) -> int:
        """Executed since reset; 0 without counting."""
        return self.counter.total

    @property
    def cycles(self) -> int:
        """Emulated time since reset; an estimate."""
        return self.counter.cycles + self._skipped

    def close(self) -> None:
        """Nothing to release; for symmetry with real boards."""

    def write(self, data: bytes) -> None:
        """Puts bytes on the line to the board's UART."""
        self.uart.received.extend(data)

    def set_baud(self, baud: int) -> None:
        """Sets the rate of the host's side, which begins at that of the board file."""
        self.uart.baud = baud

    def read(self, size: int, timeout: float) -> bytes:
        """Runs the board until `size` bytes have come, or `timeout` emulated seconds have passed.

        Returns:
            at most `size` bytes; fewer after the time-out.

        Raises:
            BoardError: the firmware crashed, broke a rule of the board, or ran without end.
        """
        self._want = size
        self._deadline = self.cycles + int(timeout * (self.board.core_hz or 1))
        while len(self.uart.sent) < size and self.cycles < self._deadline:
            self._run()
        data = bytes(self.uart.sent[:size])
        del self.uart.sent[:size]
        return data

    def pty(self) -> AbstractContextManager[str]:
        """A pseudo-terminal in front of the UART: gives its path, for pyserial and other programs.

        Raises:
            BoardError: on leaving, when the firmware crashed meanwhile.
        """
        return open_pty(self, self.uart.baud)

    def clear_profile(self) -> None:
        """Starts counting anew."""
        self.counter.clear()

    def profile(self, layers: int) -> Profile:
        """What inferences since `clear_profile` executed.

        An inference is all from entry to return of `app_model.invoke`; its layers are told apart by
        tg-profile, whose own instructions are left out. After tg-run all counts as layer 0's.
        """
        return make_profile(self.counter.rows(), self.symbols, layers)

    def stack_used(self) -> int:
        """Deepest stack so far, in bytes, found by what is left of the paint that reset put there."""
        bottom, top = self.symbols.address("__stack_bottom"), self.symbols.address("__stack_top")
        return len(self.memories.read(bottom, top - bottom).lstrip(_PAINT))

    def _watch_timestamps(self) -> None:
        pin = self.board.timestamp
        if pin is None:
            return
        for port in self.peripherals:
            if isinstance(port, Port) and port.name == f"GPIO{pin.port}":
                port.watched[pin.number] = lambda high: self.edges.append((self.cycles, high))

    def _map_peripherals(self) -> None:
        pages: dict[int, list[Peripheral]] = {}
        for peripheral in self.peripherals:
            for page in range(peripheral.base // PAGE * PAGE, peripheral.base + peripheral.size, PAGE):
                pages.setdefault(page, []).append(peripheral)
        for page, members in pages.items():
            self._uc.mmio_map(page, PAGE, self._load_register, (page, members), self._store_register, (page, members))

    def _load_register(self, uc: Any, offset: int, size: int, place: Any) -> int:
        return self._register(place, offset, size, None)

    def _store_register(self, uc: Any, offset: int, size: int, value: int, place: Any) -> None:
        self._register(place, offset, size, value)

    def _register(self, place: tuple[int, list[Peripheral]], offset: int, size: int, value: int | None) -> int:
        page, members = place
        address = page + offset
        if not self._count:
            self._skipped += _UNCOUNTED_ACCESS
        for member in members:
            if member.base <= address < member.base + member.size:
                try:
                    if value is None:
                        return member.load(address - member.base, size)
                    member.store(address - member.base, size, value)
                except Forbidden as error:
                    self._fault = self._fault or error
                    self._stop()
                return 0
        self._access = self._access or Fault("read" if value is None else "write", address, size)
        self._stop()
        return 0

    def _stop(self) -> None:
        self._stopped = True
        self._uc.emu_stop()

    def _polled(self) -> None:
        """The firmware looks at the UART's status: the one place to stop, as the read can be repeated.

        (A store that stops the CPU would be executed again.) While the firmware waits for a byte, time
        jumps ahead.
        """
        self.counter.limit = self.counter.total + self._budget
        if not self.uart.is_idle():
            return
        self._skipped += _IDLE_JUMP
        if len(self.uart.sent) >= self._want or self.cycles >= self._deadline:
            self._stop()

    def _fpu_switched(self, on: bool) -> None:
        features = 0
        if on and any(extension.startswith("fpu") for extension in self.board.isa):
            features = FPU_ON | (FPU_DOUBLE if "fpu-dp" in self.board.isa else 0)
        self.counter.features = features

    def _mark_inference(self) -> None:
        model = self.symbols.by_name.get("app_model")
        if model is not None:
            entry = self.memories.read(model + _INVOKE_FIELD, 4)
            self.counter.invoke = int.from_bytes(entry, "little") & ~1
            self.counter.observer = self.symbols.by_name.get("layer_finished", 0) & ~1

    def _keep_error(self, error: Exception) -> None:
        self._fault = self._fault or error
        self._stop()

    def _invalid_access(self, uc: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        self._access = self._access or Fault(access_kind(access), address, size)
        return False

    def _on_exception(self, uc: Any, number: int, user: Any) -> None:
        self._exception = number
        self._stop()

    def _reset(self) -> None:
        bottom, top = (self.symbols.by_name.get(name, 0) for name in ("__stack_bottom", "__stack_top"))
        if top > bottom:
            self.memories.write(bottom, _PAINT * (top - bottom))
        vectors = self.memories.read(self.board.link_flash.origin, 8)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, 0xFFFFFFFF)
        self._pc = int.from_bytes(vectors[4:], "little") | 1

    def _run(self) -> None:
        """Runs until a peripheral stops the CPU; raises what went wrong, and again when it is asked to go on."""
        if self._error is not None:
            raise self._error
        self._stopped = False
        self.counter.limit = self.counter.total + self._budget
        failure: Exception | None = None
        host_limit = 0 if self._count else int(self._host_seconds * 1e6)
        try:
            self._uc.emu_start(self._pc, 0xFFFFFFFE, host_limit, 0)
        except unicorn.UcError as error:
            failure = error
        pc = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
        self._pc = pc | 1
        limit = f"{self._budget:,} instructions without looking at its UART" if self.counter.limited else ""
        if not self._stopped and host_limit and self._uc.query(unicorn.UC_QUERY_TIMEOUT):
            limit = f"{self._host_seconds:g} seconds of this computer's time"
        counter = self.counter
        sp = self._uc.reg_read(arm_const.UC_ARM_REG_SP)
        if self._fault is not None and not isinstance(self._fault, Forbidden):
            raise self._fault
        if counter.lost:
            raise ToolchainError("more distinct blocks ran than the counter has room for", where=str(self.elf))
        wrong = self._fault or self._access or self._exception is not None or failure or limit
        if wrong or counter.illegal or stack_overflow(self.symbols, sp, sp):
            stop = self._state(pc, failure, limit)
            self._error = fault_error(self.board.name, self.board.memories, self.symbols, stop)
            raise self._error
        if not self._stopped:
            # WFI or WFE: without interrupts nothing ever wakes the core, so only time passes.
            self._skipped += max(self._deadline - self.cycles, 0)

    def _state(self, pc: int, failure: Exception | None, limit: str) -> Stop:
        illegal = self.counter.illegal
        return Stop(
            pc=self.counter.illegal_pc if illegal else pc,
            registers=core_registers(self._uc),
            forbidden=self._fault,
            access=self._access,
            exception=exception_of(self._uc, self._exception, failure),
            illegal=illegal,
            illegal_address=self.counter.illegal_address,
            failure=failure,
            limit=limit,
        )


def access_kind(access: int) -> str:
    """Unicorn's kind of invalid access, in words (see `Fault`)."""
    kinds = {
        unicorn.UC_MEM_WRITE_UNMAPPED: "write", unicorn.UC_MEM_READ_UNMAPPED: "read",
        unicorn.UC_MEM_FETCH_UNMAPPED: "fetch", unicorn.UC_MEM_WRITE_PROT: "flash write",
        unicorn.UC_MEM_FETCH_PROT: "fetch",
    }  # fmt: skip
    return kinds.get(access, "access")


def core_registers(uc: Any) -> dict[str, int]:
    """r0 to r12, sp and lr."""
    return {name: uc.reg_read(getattr(arm_const, f"UC_ARM_REG_{name.upper()}")) for name in _REGISTERS}


def exception_of(uc: Any, number: int | None, failure: Exception | None) -> int | None:
    """QEMU's number of the exception that ended a run; None when it was something else."""
    if number is not None or not isinstance(failure, unicorn.UcError):
        return number
    if failure.errno != unicorn.UC_ERR_INSN_INVALID:
        return None
    in_thumb_state = uc.reg_read(arm_const.UC_ARM_REG_XPSR) >> 24 & 1
    return UNDEFINED if in_thumb_state else NOT_THUMB


def new_cpu(core: str) -> Any:
    """A Unicorn engine of the given core, without memory.

    UC_MODE_MCLASS must not be set: with it Unicorn 2.1.4 ignores the CPU model.

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: it has no such core.
    """
    if unicorn is None:
        raise ToolchainError("Unicorn, the CPU emulator, is not installed", fix="pip install 'tinygen[emulator]'")
    models = {
        "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
        # The same instructions in other times.
        "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
        "cortex-m0plus-slow-multiplier": arm_const.UC_CPU_ARM_CORTEX_M0,
        "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
        "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
        "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
        "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
    }
    if core not in models:
        raise BoardError(f"there is no emulated {core}", fix=f"There are: {', '.join(models)}.")
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    uc.ctl_set_cpu_model(int(models[core]))
    # Unicorn's own FPU switches; whether the firmware may use it, CPACR decides (see `_fpu_switched`).
    uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
    uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)
    return uc
