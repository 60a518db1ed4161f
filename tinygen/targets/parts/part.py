"""What all parts have: a core, memories, and the start-up code that is for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KB = 1024


@dataclass(frozen=True)
class Area:
    """Addresses at which a part has memory.

    Attributes:
        kind: `flash` or `ram`, as of a board's memory.
        origin, size: bytes.
    """

    kind: str
    origin: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chip. Entries of STM32 stand for a line of them: order codes add letters for the package and the flash.

    Attributes:
        name: STM32F746ZG; of an entry, STM32F746.
        source: the documents that memories and limits are from.
        core: as in board files.
        isa: extensions that it has; a board may use fewer.
        memories: RAM and ROM, with the same bytes at other addresses; neighbours are one area.
        flash_at: where flash is seen.
        flash_bytes: by the letter of the order code; by "" where the name says nothing of it, as flash is another chip.
        start_up: the files and folders of firmware/ that are for it and not for other parts.
        qemu_machines: QEMU's machines with this part.
        labwired_chips: of labwired, that stand for this part.
        fixed_hz: the clock that its start-up code sets, where a board file has no choice; else 0.
    """

    name: str
    source: str
    core: str
    isa: tuple[str, ...]
    memories: tuple[Area, ...]
    flash_at: tuple[int, ...]
    flash_bytes: Mapping[str, int] = field(default_factory=dict)
    start_up: tuple[str, ...] = ()
    qemu_machines: tuple[str, ...] = ()
    labwired_chips: tuple[str, ...] = ()
    fixed_hz: int = 0

    @property
    def code(self) -> str:
        """What a board file may write for an entry: STM32F746xE/G, x for the package's letter, E or G for the flash."""
        sizes = "/".join(self.flash_bytes)
        return f"{self.name}x{sizes}" if sizes else self.name

    @property
    def areas(self) -> tuple[Area, ...]:
        """All memory; of an entry for several flash sizes, that of the largest."""
        flash = max(self.flash_bytes.values())
        return (*(Area("flash", origin, flash) for origin in self.flash_at), *self.memories)


def ram(origin: int, kbytes: int) -> Area:
    """RAM of `kbytes` kB."""
    return Area("ram", origin, kbytes * KB)


def every(step: int, count: int) -> tuple[int, ...]:
    """Highest clocks, Hz, with 0, 1, 2 ... flash wait states, where each is good for `step` Hz more."""
    return tuple(step * (i + 1) for i in range(count))


def needed_wait_states(highest: tuple[int, ...], hz: int) -> int:
    """Flash wait states at `hz`; `highest` as `every` gives them."""
    return sum(hz > limit for limit in highest)
