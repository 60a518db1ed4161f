"""Which block counter counts: the one in C where a compiler is found, else the one in Python."""

from __future__ import annotations

from tinygen.errors import ToolchainError
from tinygen.targets.emulator.counting import Counter
from tinygen.targets.emulator.fallback import PythonCounter
from tinygen.targets.emulator.native import NativeCounter, load_library


def make_counter(native: bool | None = None) -> Counter:
    """Makes a block counter.

    Args:
        native: True insists on C, False on Python; None takes C where a compiler is found.

    Raises:
        ToolchainError: C is insisted on, and could not be built.
    """
    if native is not False:
        try:
            load_library()
            return NativeCounter()
        except ToolchainError:
            if native:
                raise
    return PythonCounter()
