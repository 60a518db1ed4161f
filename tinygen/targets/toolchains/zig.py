"""Clang and lld from the `ziglang` wheel: a cross compiler that pip installs, without root."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from tinygen.errors import ToolchainError
from tinygen.targets.board import ZigTarget
from tinygen.targets.toolchains.base import Toolchain, identity_of
from tinygen.targets.toolchains.zig_cache import zig_environment, zig_libraries


@cache
def zig_folder() -> Path | None:
    """The folder of zig in its wheel; None if it is not installed."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _version(executable: Path) -> str:
    result = subprocess.run([executable, "version"], capture_output=True, text=True, check=False)
    return f"ziglang {result.stdout.strip()}"


def own_flags(target: str) -> tuple[str, ...]:
    """Flags for clang only. For Arm it merges globals unless told not to, which would hide their sizes."""
    return ("-mno-global-merge",) if target.startswith(("thumb", "arm")) else ()


_LIBRARY_CPU = {
    "thumb-freestanding-eabihf": "cortex_m3+vfp4d16sp",
    "thumb-freestanding-eabi": "cortex_m3",
    "riscv32-freestanding": "generic_rv32+m+c",
}
"""By target, what all cores of the boards here execute: Armv7-M without DSP instructions, RV32IMC."""
_ARMV6M = ("cortex_m0", "cortex_m1")


def library_flags(target: ZigTarget) -> list[str]:
    """Links zig's library of a family of cores, one for all its cores: zig takes five seconds to build each."""
    features = set(target.cpu.split("+"))
    less = target.cpu.startswith(_ARMV6M) or (target.target.startswith("riscv") and not {"m", "c"} <= features)
    cpu = None if less else _LIBRARY_CPU.get(target.target)
    # The last of several counts, and objects are compiled already.
    return [*([f"-mcpu={cpu}"] if cpu else []), "-lcompiler_rt"]


class Zig(Toolchain):
    """`zig cc`, for a board's core or, with no target, for this computer.

    Raises:
        ToolchainError: the wheel is not installed.
    """

    name = "zig"
    is_clang = True
    makes_libraries = True

    def __init__(self, target: ZigTarget | None) -> None:
        folder = zig_folder()
        if folder is None:
            raise ToolchainError(
                "the zig toolchain is not installed",
                fix="Install it with `pip install ziglang`; it needs no root.",
            )
        self._folder = folder
        self._executable = folder / ("zig.exe" if sys.platform == "win32" else "zig")
        self._target = target
        self.version = _version(self._executable)

    def command(self) -> list[str]:
        """zig cc, its target, and none of the run-time checks that zig adds by itself."""
        target = ["-target", self._target.target, f"-mcpu={self._target.cpu}"] if self._target else []
        return [str(self._executable), "cc", *target, "-fno-sanitize=undefined"]

    def identity(self) -> str | None:
        """The wheel's one program. Without a target it compiles for the very CPU it runs on, which has no name here."""
        return identity_of(str(self._executable)) if self._target else None

    def dependency_flags(self, listed: Path) -> list[str]:
        """No flags: headers outside the build are the wheel's, and with a list zig would write a different object."""
        return []

    def device_flags(self) -> list[str]:
        """The flags of every compiler, and clang's own."""
        return [*super().device_flags(), *(own_flags(self._target.target) if self._target else ())]

    def link_flags(self) -> list[str]:
        """zig sets an entry point of its own unless told."""
        return ["-nostdlib", "-Wl,-e,Reset_Handler", "-Wl,--gc-sections"]

    def libraries(self) -> list[str]:
        """Soft-float and 64-bit helpers."""
        return library_flags(self._target) if self._target else ["-lcompiler_rt"]

    def prefix_maps(self) -> dict[str, str]:
        """The folder of clang's headers is in the wheel."""
        return {str(self._folder): "zig"}

    def environment(self) -> AbstractContextManager[Mapping[str, str]]:
        """Puts both caches of zig outside the project."""
        return zig_environment()

    def run(self, arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """As every compiler; a link takes no library of zig's that has changed since zig made it."""
        if "-c" in arguments:
            return super().run(arguments, cwd)
        libraries = zig_libraries()
        with libraries.linking():
            result = super().run(arguments, cwd)
        return result if libraries.note() else self.run(arguments, cwd)
