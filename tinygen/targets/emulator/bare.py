"""A core with memory and nothing else: calls functions of an ELF one by one, for tests of kernels.

No firmware runs and no peripherals exist; the ELF is linked flat, its code and constants anywhere in the lower
1 GiB but the last page, its data wherever it likes. Other memory is added where it is wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError, ToolchainError
from tinygen.targets.board import Memory
from tinygen.targets.emulator.counters import make_counter
from tinygen.targets.emulator.counting import WATCH, BlockRow, Counter, Watch
from tinygen.targets.emulator.cpus import new_cpu
from tinygen.targets.emulator.faults import Fault, Stop, fault_error
from tinygen.targets.emulator.interrupts import held_interrupts
from tinygen.targets.emulator.machine import access_kind, exception_of
from tinygen.targets.emulator.memory import PAGE
from tinygen.targets.emulator.symbols import Symbols

try:
    import unicorn
except ImportError:  # new_cpu says so when one is wanted
    unicorn = None

_RETURN = 0x3FFFF000
_STACK_TOP = 0x3FFF0000


class BareCore:
    """An ELF in memory, ready for calls.

    Args:
        elf: linked flat. Segments that overlap a page share it; read-only ones cannot be written.
        core: "cortex-m7", "cortex-m4", ...
        watch: what is counted and checked.
        stack_bytes: size of the stack, which lies alone below 0x3fff0000: an overflow meets unmapped memory.
        double: the core's FPU has double precision.

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: there is no such core, or the ELF uses addresses that are taken.
    """

    def __init__(
        self,
        elf: Path,
        core: str = "cortex-m7",
        watch: Watch = WATCH,
        *,
        stack_bytes: int = 64 * 1024,
        double: bool = False,
    ) -> None:
        self._cpu = new_cpu(core)
        self._uc: Any = self._cpu.uc
        self.elf, self.core, self.symbols = elf, core, Symbols(elf)
        self.counter: Counter = make_counter(watch.native)
        self.counter.features = self._cpu.features(("fpu-dp" if double else "fpu-sp",))
        self._memories: list[Memory] = []
        self._access: Fault | None = None
        self._exception: int | None = None
        self._load()
        self.map("stack", _STACK_TOP - stack_bytes, stack_bytes)
        self.map("return", _RETURN, PAGE)
        self._cpu.peripherals(lambda: self.cycles, lambda on: None)
        self.counter.install(
            self._uc, self._cpu.registers, blocks=watch.count, alignment=watch.alignment, cost=watch.cost
        )
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid_access)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)

    def map(self, name: str, address: int, size: int, *, writable: bool = True) -> None:
        """Adds memory, for arguments and results. Rounded out to whole pages of 4 KiB.

        Raises:
            BoardError: some of it is there already.
        """
        start, end = address // PAGE * PAGE, -(-(address + size) // PAGE) * PAGE
        for memory in self._memories:
            if start < memory.end and memory.origin < end:
                raise BoardError(f"{name} overlaps {memory.name} at {memory.origin:#010x}", where=str(self.elf))
        self._uc.mem_map(start, end - start, 7 if writable else 5)
        self._memories.append(Memory(name, start, end - start, "ram" if writable else "flash"))

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._uc.mem_read(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Writes memory, read-only memory too. Code that has run must not be changed."""
        self._uc.mem_write(address, bytes(data))

    def call(self, function: str | int, *arguments: int, budget: int = 4_000_000_000) -> int:
        """Calls a function by name or address.

        Args:
            arguments: integers and addresses, passed as the architecture's calling convention says.
            budget: instructions after which the call counts as endless (when counting).

        Returns:
            what the function gives in its first register, unsigned.

        Raises:
            BoardError: the code faulted: what, where, registers.
        """
        uc, counter = self._uc, self.counter
        address = self.symbols.address(function) if isinstance(function, str) else function
        extra = self._cpu.prepare_call(arguments, _STACK_TOP, _RETURN)
        if extra:
            self.write(self._cpu.sp, extra)
        self._access, self._exception, counter.illegal, counter.limited = None, None, 0, 0
        counter.limit = counter.total + budget
        failure: Exception | None = None
        with held_interrupts():
            try:
                uc.emu_start(self._cpu.entry(address), _RETURN)
            except unicorn.UcError as error:
                failure = error
        self._check(failure, budget)
        return self._cpu.result()

    @property
    def instructions(self) -> int:
        """Executed in all calls so far; those an IT block skips are counted."""
        return self.counter.total

    @property
    def cycles(self) -> int:
        """The same by the cost function; an estimate."""
        return self.counter.cycles

    def blocks(self) -> list[BlockRow]:
        """Every block that ran since `clear_blocks`."""
        return self.counter.rows()

    def clear_blocks(self) -> None:
        """Forgets the counts of blocks."""
        self.counter.clear()

    def _load(self) -> None:
        with self.elf.open("rb") as file:
            segments = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
            spans: list[tuple[int, int, bool]] = []
            for segment in sorted(segments, key=lambda s: int(s["p_vaddr"])):
                start = segment["p_vaddr"] // PAGE * PAGE
                end = -(-(segment["p_vaddr"] + segment["p_memsz"]) // PAGE) * PAGE
                writable = bool(segment["p_flags"] & 2)
                if spans and start < spans[-1][1]:
                    start, writable = spans[-1][0], writable or spans[-1][2]
                    end = max(end, spans.pop()[1])
                spans.append((start, end, writable))
            for start, end, writable in spans:
                self.map(f"ELF data at {start:#x}" if writable else "ELF code", start, end - start, writable=writable)
            for segment in segments:
                # Linked flat: it runs where it was linked, so data is put there and not at its load address.
                self.write(segment["p_vaddr"], segment.data())

    def _check(self, failure: Exception | None, budget: int) -> None:
        counter = self.counter
        pc = self._cpu.pc
        if counter.lost:
            raise ToolchainError("more distinct blocks ran than the counter has room for", where=str(self.elf))
        wrong = failure or self._access or self._exception is not None or counter.illegal or counter.limited
        if not wrong and pc == _RETURN:
            return
        stop = Stop(
            pc=counter.illegal_pc if counter.illegal else pc,
            registers=self._cpu.values(),
            link=self._cpu.link,
            access=self._access,
            exception=exception_of(self._cpu, self._exception, failure),
            illegal=counter.illegal,
            illegal_address=counter.illegal_address,
            failure=failure or RuntimeError("the core went to sleep"),
            limit=f"{budget:,} instructions in one call" if counter.limited else "",
        )
        raise fault_error(self.core, self._memories, self.symbols, stop)

    def _invalid_access(self, uc: Any, access: int, address: int, size: int, value: int, user: Any) -> bool:
        self._access = self._access or Fault(access_kind(access), address, size)
        return False

    def _on_exception(self, uc: Any, number: int, user: Any) -> None:
        if not self._cpu.exception(number):
            self._exception = number
            uc.emu_stop()
