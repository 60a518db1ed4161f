"""The errors a user can act on.

Every error tinygen raises on purpose is a :class:`TinygenError`. It says what is wrong, where
(file, operator, tensor) and what to do about it; the CLI prints exactly that and exits non-zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_OPTION = re.compile(r"(?<![\w`,-])--([a-z][a-z0-9-]*)")
_COMMAND = re.compile(r"`[^`]*`|\b(?:tinygen|pytest|pip install|pio) [a-z-][^:;,\n]*?(?=\.(?:\s|$)|[:;,\n]|$)")
"""Command lines within a text: their options stay."""
_PARAMETERS = {"arena": "arena_bytes", "flash": "flash_bytes", "as": "form", "power": "monitor", "float": "in_float"}
"""Parameters and fields in Python that are not called as the command's option is."""


class TinygenError(Exception):
    """A problem stated in the user's terms.

    Args:
        what: what is wrong, one sentence.
        where: file, operator or tensor it concerns; empty when it concerns the whole run.
        fix: what the user can do about it; empty when nothing is known to help.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """What Python shows: with names of parameters, where the command line has options."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            parts.append(self.fix)
        return in_python("\n".join(parts))


def in_python(text: str) -> str:
    """A text with the parameters of Python instead of the command line's options: `--layout` is `layout`.

    Command lines stay as they are.
    """
    kept = _COMMAND.findall(text)
    named = [_OPTION.sub(_parameter, part) for part in _COMMAND.split(text)]
    return "".join(a + b for a, b in zip(named, [*kept, ""], strict=True))


def _parameter(option: re.Match[str]) -> str:
    name = option.group(1)
    return _PARAMETERS.get(name, name.replace("-", "_"))


class TinygenWarning(UserWarning):
    """Something a user should know, which stops nothing. The CLI prints it as one line."""


class ModelError(TinygenError):
    """The model file is damaged, or breaks the rules of its own format."""


class UnsupportedError(TinygenError):
    """The model is legal, but uses something tinygen does not have."""


class FitError(TinygenError):
    """The program does not fit the board's flash, RAM or stack.

    Attributes:
        excess: bytes too many by memory ("FLASH", "RAM"), where the linker said so; of the "arena".
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", excess: Mapping[str, int] | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.excess = dict(excess or {})


class ToolchainError(TinygenError):
    """A compiler, linker or emulator is missing or failed."""


class BoardError(TinygenError):
    """A board file is wrong, or the firmware did something the board forbids."""


class DeviceError(TinygenError):
    """A device, real or emulated, did not answer as the protocol says."""


class DeviceGoneError(DeviceError):
    """The line to a device is closed: it is not there, was unplugged, or its program ended. Asking again is no use."""


class WrongBuildError(DeviceError):
    """A device answers, but runs another firmware than the build directory holds."""


class FlashError(TinygenError):
    """An image did not get onto a board."""
