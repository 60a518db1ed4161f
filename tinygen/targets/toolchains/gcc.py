"""GNU compilers: for Arm and for RISC-V boards, and whatever cc is on this computer."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from tinygen.errors import ToolchainError
from tinygen.targets.toolchains.base import Toolchain, identity_of

ARM_GCC, RISCV_GCC = "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc"
_PACKAGES = {ARM_GCC: "gcc-arm-none-eabi", RISCV_GCC: "gcc-riscv64-unknown-elf"}


@cache
def _first_line(executable: str) -> str:
    result = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    return result.stdout.splitlines()[0] if result.stdout else executable


@cache
def _own_folders(executable: str) -> tuple[str, ...]:
    """The compiler's own folder, and its sysroot."""
    folders = []
    for option in ("-print-libgcc-file-name", "-print-sysroot"):
        result = subprocess.run([executable, option], capture_output=True, text=True, check=False)
        path = Path(result.stdout.strip()) if result.stdout.strip() else None
        if path is not None:
            folders.append(str(path.parent if path.suffix == ".a" else path))
    return tuple(folders)


@cache
def _identity(executable: str) -> str:
    """The driver, and the compiler and assembler that it starts."""
    programs = [executable]
    for name in ("cc1", "as"):
        result = subprocess.run([executable, f"-print-prog-name={name}"], capture_output=True, text=True, check=False)
        found = shutil.which(result.stdout.strip() or name)
        programs += [found] if found else []
    return f"{_first_line(executable)}\n{identity_of(*programs)}"


def gcc_for(flags: tuple[str, ...]) -> str:
    """Name of the compiler that takes a board's core flags: -march=rv32imc is RISC-V's."""
    return RISCV_GCC if any(flag.startswith("-march=rv") for flag in flags) else ARM_GCC


class CrossGcc(Toolchain):
    """`arm-none-eabi-gcc` or `riscv64-unknown-elf-gcc` with a board's core flags, without its C library.

    Raises:
        ToolchainError: it is not on the PATH.
    """

    name = "gcc"
    is_clang = False

    def __init__(self, flags: tuple[str, ...]) -> None:
        compiler = gcc_for(flags)
        executable = shutil.which(compiler)
        if executable is None:
            raise ToolchainError(
                f"{compiler} is not on the PATH",
                fix=f"Install it (Debian, Ubuntu: `apt install {_PACKAGES[compiler]}`), or use `--toolchain zig`.",
            )
        self._executable = executable
        self._flags = flags
        self.version = _first_line(executable)

    def command(self) -> list[str]:
        """gcc and the core."""
        return [self._executable, *self._flags]

    def identity(self) -> str | None:
        """Its version, and its programs as they lie on the disk."""
        return _identity(self._executable)

    def link_flags(self) -> list[str]:
        """No start files: reset is ours. One segment of flash may hold code and constants."""
        return ["-nostdlib", "-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]

    def libraries(self) -> list[str]:
        """Soft-float and 64-bit helpers."""
        return ["-lgcc"]

    def prefix_maps(self) -> dict[str, str]:
        """gcc's own headers, and newlib's."""
        return dict(zip(_own_folders(self._executable), ("gcc", "newlib"), strict=False))


class HostCc(Toolchain):
    """The C compiler of this computer: gcc or clang.

    Raises:
        ToolchainError: there is none of that name.
    """

    name = "cc"

    def __init__(self, executable: str) -> None:
        found = shutil.which(executable)
        if found is None:
            raise ToolchainError(
                f"{executable} is not on the PATH", fix="Install gcc or clang, or `pip install ziglang`."
            )
        self._executable = found
        self.version = _first_line(found)
        self.is_clang = "clang" in self.version

    def command(self) -> list[str]:
        """Native code needs no more than the name."""
        return [self._executable]

    def identity(self) -> str | None:
        """Its version, and its programs as they lie on the disk."""
        return _identity(self._executable)

    def link_flags(self) -> list[str]:
        """Nothing: it links programs of this computer by default."""
        return []

    def libraries(self) -> list[str]:
        """The maths library, for float kernels."""
        return ["-lm"]
