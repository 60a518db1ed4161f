"""The machine: Unicorn with a board's memories and peripherals, running the firmware's own ELF.

The CPU runs only during reads: `read` runs it until enough bytes have come out of the UART or the emulated time is up.
Time is what the cost function says of each executed block (one cycle per instruction, unless a pipeline model is given:
`tinygen.targets.cycles.board_cost`); while the firmware polls an empty UART, time jumps ahead.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Board, Pin
from tinygen.targets.emulator.core import SystemControlSpace, set_cache_sizes
from tinygen.targets.emulator.counters import make_counter
from tinygen.targets.emulator.counting import WATCH, Counter, Watch
from tinygen.targets.emulator.cpu import Cpu
from tinygen.targets.emulator.cpus import new_cpu
from tinygen.targets.emulator.faults import Fault, Stop, fault_error, stack_overflow
from tinygen.targets.emulator.forcing import ForcedBranches
from tinygen.targets.emulator.guarded import GuardedCost
from tinygen.targets.emulator.interrupts import held_interrupts
from tinygen.targets.emulator.memory import PAGE, Memories
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral, Port
from tinygen.targets.emulator.peripherals import board_peripherals
from tinygen.targets.emulator.profile import Profile, make_profile
from tinygen.targets.emulator.pty import open_pty
from tinygen.targets.emulator.sound import SoundDma
from tinygen.targets.emulator.symbols import Symbols

try:
    import unicorn
except ImportError:  # the emulator is an extra; new_cpu says so when one is wanted
    unicorn = None

BUDGET = 4_000_000_000
_IDLE_JUMP = 20_000
_POLLS_TO_SEND = 8
"""Looks at the UART's status that sending a byte may take."""
_UNCOUNTED_ACCESS = 16
_FRAME_BITS = 10
_PAINT = b"\xa5"
# Fields of app_model_t in firmware/app/app_model.h: `invoke` is the ninth word.
_INVOKE_FIELD = 8 * 4


class EmulatedBoard:
    """A board in memory, reset and ready to run.

    Args:
        board: what to emulate.
        elf: the firmware that would be flashed.
        watch: what is counted and checked. Without counting, long runs are a third faster, but the cycle counter
            hardly moves and an endless loop is noticed only after `host_seconds`.
        budget: instructions within which the firmware must look at its UART again.
        host_seconds: the same without counting.

    Attributes:
        branches: of a network, that run whatever its gates say.
        edges: every change of the board's timestamp pin: cycles since reset, and whether it is high from then on.
        paced: bytes that the board sends take their time on the line; else only while its microphone is on.

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: the ELF does not fit the board's memory map, or nothing emulates the board.
    """

    def __init__(
        self,
        board: Board,
        elf: Path,
        watch: Watch = WATCH,
        *,
        budget: int = BUDGET,
        host_seconds: float = 600.0,
    ) -> None:
        self._cpu = new_cpu(board.core)
        self._uc = self._cpu.uc
        self.board, self.elf, self.symbols = board, elf, Symbols(elf)
        self.counter: Counter = make_counter(watch.native)
        self._count, self._budget, self._host_seconds = watch.count, budget, host_seconds
        self._skipped = self._want = self._deadline = 0
        self.paced = False
        self._polls = 0
        self._stopped = False
        self._fault: Exception | None = None
        self._access: Fault | None = None
        self._exception: int | None = None
        self._error: BoardError | None = None
        # An ESP's flash is seen through a cache, which the firmware has to set up.
        hidden = [m.name for m in board.memories if board.esp_chip and m.kind == "flash" and m.use]
        self.memories = Memories(self._uc, board.memories, elf, hidden)
        self.peripherals, self.uart = board_peripherals(board, lambda: self.cycles)
        self.uart.polled, self.uart.gave = self._polled, self._gave
        self._sound = next((p for p in self.peripherals if isinstance(p, SoundDma)), None)
        self.uart.stores = 0
        self._fpu_switched(False)
        self.peripherals += self._cpu.peripherals(lambda: self.cycles, self._fpu_switched)
        for peripheral in self.peripherals:
            peripheral.connect(self.memories)
        set_cache_sizes(self.peripherals, board.timing)
        self._connect_sound()
        self.branches = ForcedBranches(self._uc, self._cpu.registers, self.symbols)
        self.edges = [] if board.timestamp is None else self.watch(board.timestamp)
        self._map_peripherals()
        self._mark_inference()
        guarded = GuardedCost(watch.cost, self._keep_error) if watch.cost else None
        self.counter.install(self._uc, self._cpu.registers, blocks=watch.count, alignment=watch.alignment, cost=guarded)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid_access)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self._reset()

    @property
    def instructions(self) -> int:
        """Instructions executed since reset; 0 without counting."""
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
        try:
            while len(self.uart.sent) < size and self.cycles < self._deadline:
                self._run()
        except BoardError:  # raised again by the next read, where this one has what it wanted
            if len(self.uart.sent) < size:
                raise
        data = bytes(self.uart.sent[:size])
        del self.uart.sent[:size]
        return data

    def pty(self) -> AbstractContextManager[str]:
        """A pseudo-terminal in front of the UART: gives its path, for pyserial and other programs.

        Raises:
            BoardError: on leaving, when the firmware crashed meanwhile.
        """
        return open_pty(self, self.uart.baud)

    def feed_microphone(self, samples: np.ndarray) -> None:
        """Sound for the board's microphone, behind what it is still to hear; it begins when the firmware switches the
        microphone on, and goes on whether or not the firmware is ready for it. Behind the last sample there is silence.
        Where the firmware takes another board's sound (`build --listen i2s`), that plays these samples, and rests.

        Args:
            samples: int16 [samples], at the microphone's rate in the board file, as the firmware is to get them.

        Raises:
            BoardError: the board has no microphone, or the samples are something else.
        """
        if self._sound is None:
            fix = "Take a board whose file has `microphone:`."
            raise BoardError("has no microphone that is emulated", where=self.board.name, fix=fix)
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise BoardError(
                f"its microphone hears int16 samples, not {samples.dtype.name} {list(samples.shape)}",
                where=self.board.name,
                fix="Give one channel, [samples], as int16.",
            )
        self._sound.line.feed(samples)

    @property
    def sound_left(self) -> int:
        """Number of samples that were fed and not yet played."""
        return 0 if self._sound is None else self._sound.line.sound.left

    def watch(self, pin: Pin) -> list[tuple[int, bool]]:
        """Every change of a pin from now on, as `edges` has those of the timestamp pin; empty where its port is not
        modelled.
        """
        edges: list[tuple[int, bool]] = []
        for port in self.peripherals:
            if isinstance(port, Port) and port.name == f"GPIO{pin.port}":
                port.watched[pin.number] = lambda high: edges.append((self.cycles, high))
        return edges

    def clear_profile(self) -> None:
        """Resets the counts of the profile."""
        self.counter.clear()

    def profile(self, layers: int) -> Profile:
        """The profile of inferences since `clear_profile`.

        An inference is all from entry to return of `app_model.invoke`; its layers are told apart by
        tg-profile, whose own instructions are left out. After tg-run all counts as layer 0's.
        """
        return make_profile(self.counter.rows(), self.symbols, layers, self.counter.order())

    def stack_used(self) -> int:
        """Deepest stack so far, in bytes, found by the remains of the fill pattern written at reset."""
        bottom, top = self.symbols.address("__stack_bottom"), self.symbols.address("__stack_top")
        return len(self.memories.read(bottom, top - bottom).lstrip(_PAINT))

    def _connect_sound(self) -> None:
        if self._sound is None:
            return
        self._sound.skip = self._skip
        for space in self.peripherals:
            if isinstance(space, SystemControlSpace):
                self._sound.memory.cached = partial(self._is_cached, space)
                space.discarded = self._sound.memory.discard

    def _is_cached(self, space: SystemControlSpace, address: int) -> bool:
        """RAM but for a Cortex-M7's tightly coupled memories (DDI 0489 1.3), while the data cache is on."""
        inside = [m for m in self.board.memories if m.origin <= address < m.end]
        return space.data_cache_on() and bool(inside) and not inside[0].name.endswith("TCM")

    def _skip(self, cycles: int) -> None:
        self._skipped += cycles

    def _gave(self) -> None:
        """A byte was sent. On the line it takes its time; that matters where sound comes in meanwhile."""
        self._polls = 0
        if self.paced or (self._sound is not None and self._sound.line.running):
            self._skipped += int(_FRAME_BITS * self.board.core_hz / (self.uart.rate() or self.uart.baud))

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
                    if member.name == "DWT":  # many inferences in a row look at nothing else
                        self.counter.limit = self.counter.total + self._budget
                    if value is None:
                        return member.load(address - member.base, size)
                    self._count_store(member, address - member.base)
                    member.store(address - member.base, size, value)
                except Forbidden as error:
                    self._fault = self._fault or error
                    self._stop()
                return 0
        self._access = self._access or Fault("read" if value is None else "write", address, size)
        self._stop()
        return 0

    def _count_store(self, member: Peripheral, offset: int) -> None:
        uart = self.uart
        if member is not uart or offset != uart.sends_at:
            uart.stores = (uart.stores or 0) + 1

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
        self._polls += 1
        # A paced board that looks whether a byte has gone does not wait for one to come.
        waits = not self.paced or self._polls > _POLLS_TO_SEND
        if waits and (self._sound is None or not self._sound.line.running):
            self._skipped += _IDLE_JUMP
        if self._has_said_it() or self.cycles >= self._deadline:
            self._stop()

    def _has_said_it(self) -> bool:
        """Whether enough bytes have come. Without pacing, the board continues until it waits for an answer: stopping at
        each byte takes longer than most replies.
        """
        if len(self.uart.sent) < self._want:
            return False
        return self._polls > _POLLS_TO_SEND or self.paced or (self._sound is not None and self._sound.line.running)

    def _fpu_switched(self, on: bool) -> None:
        self.counter.features = self._cpu.features(self.board.isa, float_on=on)

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
        if not self._cpu.exception(number):
            self._exception = number
            self._stop()

    def _reset(self) -> None:
        bottom, top = (self.symbols.by_name.get(name, 0) for name in ("__stack_bottom", "__stack_top"))
        if top > bottom:
            self.memories.write(bottom, _PAINT * (top - bottom))
        self._pc = self._cpu.reset(self.board, self.memories, self.symbols)

    def _run(self) -> None:
        """Runs until a peripheral stops the CPU; raises the error of a failed machine, again on every later call."""
        if self._error is not None:
            raise self._error
        with held_interrupts():
            self._run_cpu()

    def _run_cpu(self) -> None:
        self._stopped = False
        self.counter.limit = self.counter.total + self._budget
        failure: Exception | None = None
        host_limit = 0 if self._count else int(self._host_seconds * 1e6)
        try:
            self._uc.emu_start(self._cpu.entry(self._pc), 0xFFFFFFFE, host_limit, 0)
        except unicorn.UcError as error:
            failure = error
        self._pc = self._cpu.pc
        limit = f"{self._budget:,} instructions without looking at its UART" if self.counter.limited else ""
        if not self._stopped and host_limit and self._uc.query(unicorn.UC_QUERY_TIMEOUT):
            limit = f"{self._host_seconds:g} seconds of this computer's time"
        counter = self.counter
        sp = self._cpu.sp
        if self._fault is not None and not isinstance(self._fault, Forbidden):
            raise self._fault
        if counter.lost:
            raise ToolchainError("more distinct blocks ran than the counter has room for", where=str(self.elf))
        wrong = self._fault or self._access or self._exception is not None or failure or limit
        if wrong or counter.illegal or stack_overflow(self.symbols, sp, sp):
            stop = self._state(failure, limit)
            self._error = fault_error(self.board.name, self.board.memories, self.symbols, stop)
            raise self._error
        if not self._stopped:
            # WFI or WFE: without interrupts nothing ever wakes the core, so only time passes.
            self._skipped += max(self._deadline - self.cycles, 0)

    def _state(self, failure: Exception | None, limit: str) -> Stop:
        illegal = self.counter.illegal
        return Stop(
            pc=self.counter.illegal_pc if illegal else self._pc,
            registers=self._cpu.values(),
            link=self._cpu.link,
            forbidden=self._fault,
            access=self._access,
            exception=exception_of(self._cpu, self._exception, failure),
            illegal=illegal,
            illegal_address=self.counter.illegal_address,
            failure=failure,
            limit=limit,
        )


def access_kind(access: int) -> str:
    """Unicorn's kind of invalid access, in words (see `Fault`)."""
    kinds = {
        unicorn.UC_MEM_WRITE_UNMAPPED: "write",
        unicorn.UC_MEM_READ_UNMAPPED: "read",
        unicorn.UC_MEM_FETCH_UNMAPPED: "fetch",
        unicorn.UC_MEM_WRITE_PROT: "flash write",
        unicorn.UC_MEM_FETCH_PROT: "fetch",
    }
    return kinds.get(access, "access")


def exception_of(cpu: Cpu, number: int | None, failure: Exception | None) -> str:
    """The exception that ended a run, in words; "" when it was something else."""
    if number is None and failure is not None:
        number = cpu.failed(failure)
    return "" if number is None else cpu.exceptions.get(number, f"exception {number}")
