"""Emulated boards: the firmware's own ELF on a CPU emulator, with the board's memory map and peripherals."""

from tinygen.targets.emulator.bare import BareCore
from tinygen.targets.emulator.machine import EmulatedBoard
from tinygen.targets.emulator.profile import Profile

__all__ = ["BareCore", "EmulatedBoard", "Profile"]
