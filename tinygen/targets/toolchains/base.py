"""The base of toolchains: how a compiler is called, and how its error messages are parsed."""

from __future__ import annotations

import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tinygen.errors import ToolchainError
from tinygen.files import temporary_folder
from tinygen.targets.toolchains.libraries import place_of

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
OPTIMIZE = "-O3"

COMPILE_FLAGS = (
    "-std=c99",
    *WARNINGS,
    "-g",
    # One rounding per operation, on every target: else fused multiply-adds make a board differ from the host.
    "-ffp-contract=off",
)

DEVICE_FLAGS = (
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    # The inner loops need every register there is.
    "-fomit-frame-pointer",
)

_DIAGNOSTIC = re.compile(
    r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<text>.*)$", re.MULTILINE
)
_LINK_ERROR = re.compile(r"^.*?(?:ld|ld\.lld|ld\.bfd|collect2)?: ?(?:error: )(?P<text>.*)$", re.MULTILINE)
_UNDEFINED = re.compile(r"undefined (?:reference to|symbol:) [`']?(?P<symbol>[\w.$]+)")
_FULL = "No space left on device"
_SECONDS = 600


FIRMWARE_FOLDER = "firmware"
FIRMWARE_FLAGS = ("-Os",)
"""Application and drivers mostly wait for a serial line: they are optimised for size, not speed."""

LIBC_FOLDER = f"{FIRMWARE_FOLDER}/libc"
LIBC_FLAGS = ("-fno-builtin",)
"""Else the compiler sees what memcpy does, and calls memcpy from memcpy. The model calls it: here speed counts."""


def flags_of_source(source: str) -> list[str]:
    """Extra flags of one source, by its path in the project."""
    if source.startswith(f"{LIBC_FOLDER}/"):
        return list(LIBC_FLAGS)
    if source.startswith(f"{FIRMWARE_FOLDER}/"):
        return list(FIRMWARE_FLAGS)
    place = place_of(source)
    return list(place.flags) if place else []


class Toolchain(ABC):
    """One compiler, ready to be called.

    Attributes:
        name: zig, gcc or cc.
        version: what the compiler says of itself.
        is_clang: whether it takes clang's flags.
        makes_libraries: the compiler builds its libraries for each core when they are first asked for, which takes
            seconds.
    """

    name: str
    version: str
    is_clang: bool
    makes_libraries: bool = False

    @abstractmethod
    def command(self) -> list[str]:
        """The compiler and the flags that select the core."""

    @abstractmethod
    def identity(self) -> str | None:
        """Identity of everything that an object depends on besides sources and flags; None if unknown."""

    def dependency_flags(self, listed: Path) -> list[str]:
        """Makes the compiler write the files it has read into `listed`; nothing where all others are its own."""
        return ["-MD", "-MF", str(listed)]

    @abstractmethod
    def link_flags(self) -> list[str]:
        """Flags of a firmware's link, without linker script and objects."""

    @abstractmethod
    def libraries(self) -> list[str]:
        """Libraries, which come after the objects in the link command."""

    def device_flags(self) -> list[str]:
        """Compile flags of code that runs on a board."""
        return list(DEVICE_FLAGS)

    def prefix_maps(self) -> dict[str, str]:
        """Folders of the compiler's own headers, and what debug information shall call them."""
        return {}

    def environment(self) -> AbstractContextManager[Mapping[str, str]]:
        """Environment variables to add to one call."""
        return nullcontext({})

    def run(self, arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """Calls the compiler in folder `cwd`; what comes back may be a failure.

        Raises:
            ToolchainError: it cannot be started or does not end.
        """
        command = [*self.command(), *arguments]
        try:
            # Compilers that are killed leave what they wrote into theirs.
            with temporary_folder() as temporary, self.environment() as added:
                return subprocess.run(
                    command,
                    cwd=cwd,
                    env={**os.environ, "LC_ALL": "C", "TMPDIR": str(temporary), **added},
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_SECONDS,
                    check=False,
                )
        except OSError as error:
            raise ToolchainError(f"{command[0]} cannot be started: {error}", fix="Run `tinygen doctor`.") from error
        except subprocess.TimeoutExpired as error:
            raise ToolchainError(f"{command[0]} did not end within {_SECONDS} s", where=str(cwd)) from error


def identity_of(*programs: str) -> str:
    """Programs by path, size and time of change."""
    found = []
    for program in programs:
        path = os.path.realpath(program)
        status = os.stat(path)
        found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(found)


def compile_error(toolchain: Toolchain, source: str, output: str) -> ToolchainError:
    """The first error of a failed compilation."""
    if _FULL in output:
        return _disk_full(source)
    match = _DIAGNOSTIC.search(output)
    if match:
        where = f"{match['file']}:{match['line']}"
        return ToolchainError(f"{toolchain.name} refuses the C: {match['text']}", where=where)
    return ToolchainError(f"{toolchain.name} failed: {_last_lines(output)}", where=source)


def lacks_definition(output: str) -> bool:
    """Whether a link failed for an undefined function that a library may define."""
    return _UNDEFINED.search(output) is not None


def link_error(toolchain: Toolchain, output: str) -> ToolchainError:
    """The first error of a failed link that is not about size."""
    if _FULL in output:
        return _disk_full("link")
    undefined = _UNDEFINED.search(output)
    if undefined:
        fix = "Define it in one of the project's C files."
        return ToolchainError(f"nothing defines {undefined['symbol']}", where="link", fix=fix)
    match = _LINK_ERROR.search(output)
    return ToolchainError(f"{toolchain.name} cannot link: {match['text'] if match else _last_lines(output)}")


def _disk_full(where: str) -> ToolchainError:
    fix = "Free some space for temporary files, or set TMPDIR to another folder."
    return ToolchainError(f"the compiler cannot write ({_FULL})", where=where, fix=fix)


def _last_lines(output: str) -> str:
    return " / ".join(line.strip() for line in output.strip().splitlines()[-3:]) or "it said nothing"
