"""The interface of CPUs of all architectures to the emulated machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tinygen.targets.board import Board
from tinygen.targets.emulator.counting import Registers
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Peripheral
from tinygen.targets.emulator.symbols import Symbols


class Cpu(ABC):
    """One core in Unicorn, without memory.

    Attributes:
        uc: the Unicorn engine.
        registers: how the block counter reads them, and which instructions it looks for.
        link: name of the register with the return address.
        exceptions: what Unicorn's exception numbers mean.
    """

    uc: Any
    registers: Registers
    link: ClassVar[str]
    exceptions: ClassVar[dict[int, str]]

    @property
    @abstractmethod
    def pc(self) -> int:
        """Address of the next instruction, or of the one that could not be executed."""

    @property
    @abstractmethod
    def sp(self) -> int:
        """The stack pointer."""

    @abstractmethod
    def values(self) -> dict[str, int]:
        """The core's registers by name, sp and the return address among them."""

    @abstractmethod
    def entry(self, address: int) -> int:
        """The address to pass to `emu_start` to continue at `address`."""

    @abstractmethod
    def reset(self, board: Board, memories: Memories, symbols: Symbols) -> int:
        """Sets the registers as reset, or a boot ROM, leaves them; gives the first instruction's address."""

    @abstractmethod
    def prepare_call(self, arguments: Sequence[int], top: int, back: int) -> bytes:
        """Sets the registers for a call that returns to `back`, with the stack below `top`.

        Returns:
            what must be written at sp: the arguments that have no register.
        """

    @abstractmethod
    def result(self) -> int:
        """The result of the function that returned, unsigned."""

    @abstractmethod
    def features(self, extensions: Sequence[str], *, float_on: bool = True) -> int:
        """`Counter.features` of a core with these `Board.isa` extensions."""

    def exception(self, number: int) -> bool:
        """Whether the CPU continues after this exception, which the emulator handles and the firmware does not see."""
        return False

    def failed(self, failure: Exception) -> int | None:
        """The exception that made the emulator itself stop; None if none did."""
        return None

    def peripherals(self, clock: Callable[[], int], features: Callable[[bool], None]) -> list[Peripheral]:
        """Peripherals of the core itself.

        Args:
            clock: gives cycles since reset.
            features: called when the firmware switches the FPU on or off.
        """
        return []
