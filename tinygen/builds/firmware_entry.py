"""Manifest entries of the firmware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinygen.builds.plain import OPTIONAL
from tinygen.lowering.select import Family
from tinygen.project.choices import WeightMemory

FIRMWARE = "firmware.elf"


@dataclass(frozen=True)
class Region:
    """A memory, and its used bytes by kind."""

    name: str
    size: int
    parts: Mapping[str, int]

    @property
    def used(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class FlashPoint:
    """A choice of kernels: flash of its firmware, and cycles of an inference (summed over switches)."""

    flash_bytes: int
    cycles_predicted: int


@dataclass(frozen=True)
class FlashBudget:
    """How kernels were chosen for a limit of flash.

    Attributes:
        limit_bytes: of the whole firmware.
        links: number of firmwares that were linked after the measurements.
        cycles_predicted: of the chosen kernels, as measured; of all switches together.
        curve: the fastest kernels for other limits, the smallest first. Some of them, where they are many.
    """

    limit_bytes: int
    links: int
    cycles_predicted: int
    curve: tuple[FlashPoint, ...]


@dataclass(frozen=True, kw_only=True)
class FirmwareEntry:
    """The firmware of a board.

    Attributes:
        board: its name, or the path of its file.
        flash_bytes, ram_bytes: of the firmware; None where only a project was written.
        clock_hz: None on the host.
        arena_memory: bytes of the arena by memory.
        images: file names of the flash images, by kind.
        platformio: files of the project for PlatformIO.
        flash_budget: None where no limit was given.
        firmware: None if only a project was written; target_note then says what is unknown.
        host_outputs: if only a project was written, the number of outputs of one inference on this computer.
    """

    board: str
    board_title: str
    toolchain: str
    compiler: str
    kernels: Family
    flash_bytes: int | None
    flash_model_bytes: int
    ram_bytes: int | None
    stack_bytes: int
    clock_hz: int | None
    weights: WeightMemory
    arena_memory: Mapping[str, int]
    memory: tuple[Region, ...]
    images: Mapping[str, str] = field(default_factory=dict)
    platformio: tuple[str, ...] = ()
    flash_budget: FlashBudget | None = field(default=None, metadata=OPTIONAL)
    firmware: str | None = field(default=FIRMWARE, metadata=OPTIONAL)
    target_note: str = field(default="", metadata=OPTIONAL)
    host_outputs: int | None = field(default=None, metadata=OPTIONAL)
