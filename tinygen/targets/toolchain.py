"""Builds firmware, host programs and host libraries.

A build runs inside the project's folder with relative paths only, and puts objects into a temporary one, so that the
same project gives the same bytes wherever it lies.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tinygen.errors import ToolchainError
from tinygen.files import temporary_folder
from tinygen.paths import resource
from tinygen.targets.board import Board
from tinygen.targets.firmware_sources import FirmwareProject
from tinygen.targets.toolchains.base import OPTIMIZE, Toolchain, lacks_definition, link_error
from tinygen.targets.toolchains.compiling import compile_all
from tinygen.targets.toolchains.fit import overflow_error
from tinygen.targets.toolchains.gcc import CrossGcc, HostCc, gcc_for
from tinygen.targets.toolchains.sizes import GROUPS, Sizes, measure
from tinygen.targets.toolchains.zig import Zig, zig_folder

TOOLCHAINS = ("zig", "gcc")


@dataclass(frozen=True)
class BuildResult:
    """A built firmware. `bin` is None on the host and on ESP boards."""

    elf: Path
    bin: Path | None
    toolchain: str
    toolchain_version: str
    sizes: Sizes

    @property
    def flash_bytes(self) -> int:
        """Bytes of the image."""
        return self.sizes.flash_bytes

    @property
    def flash_model_bytes(self) -> int:
        """Bytes of the image that are the model's code and weights."""
        return self.sizes.flash_model_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM, stack included."""
        return self.sizes.ram_bytes


@dataclass(frozen=True)
class HostCode:
    """C files to build without a board's firmware; paths relative to `directory`, with forward slashes."""

    directory: Path
    sources: tuple[str, ...]
    include_dirs: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    system_include_dirs: tuple[str, ...] = ()


def find_toolchain(name: str | None, board: Board) -> Toolchain:
    """The toolchain `name` (zig, gcc), or the best one there is, for `board`.

    For a board that is zig, then gcc. For the host it is cc, gcc or clang, then zig; there `gcc` means the native one.

    Raises:
        ToolchainError: unknown name, not installed, or not able to build for the board.
    """
    if name is not None and name not in TOOLCHAINS:
        raise ToolchainError(f"there is no toolchain {name!r}", fix=f"Toolchains: {', '.join(TOOLCHAINS)}.")
    if board.is_host:
        return _host_toolchain(name)
    flags = board.toolchain
    wanted = name or (
        "zig" if flags.zig and zig_folder() else "gcc" if flags.gcc and shutil.which(gcc_for(flags.gcc)) else "zig"
    )
    if wanted == "zig" and flags.zig:
        return Zig(flags.zig)
    if wanted == "gcc" and flags.gcc is not None:
        return CrossGcc(flags.gcc)
    raise ToolchainError(
        f"{wanted} cannot build for {board.name}",
        where=str(board.path),
        fix=f"Give the board file `toolchain: {{{wanted}: ...}}`, or use another toolchain.",
    )


def _host_toolchain(name: str | None) -> Toolchain:
    if name == "zig":
        return Zig(None)
    names = [n for n in (name, os.environ.get("CC"), "cc", "gcc", "clang") if n]
    for candidate in names[:1] if name else names:
        if shutil.which(candidate):
            return HostCc(candidate)
    if name is None and zig_folder() is not None:
        return Zig(None)
    raise ToolchainError("no C compiler was found", fix="Install gcc or clang, or `pip install ziglang`.")


def build_elf(
    project: FirmwareProject,
    toolchain: Toolchain,
    *,
    sanitize: Sequence[str] = (),
    defines: Sequence[str] = (),
) -> BuildResult:
    """Builds `firmware.elf` (and `firmware.bin`, on a board) in the project's folder.

    Args:
        project: from `write_firmware_project`.
        toolchain: from `find_toolchain` for the project's board.
        sanitize: on the host: `address`, `undefined`.
        defines: `NAME` or `NAME=VALUE`.

    Raises:
        FitError: it does not fit the board; says by how much, and what is largest.
        ToolchainError: the C is wrong (file:line) or something is not defined.
    """
    board = project.board
    elf = project.directory / "firmware.elf"
    flags = [f"-I{d}" for d in project.include_dirs]
    for folder in project.system_include_dirs:
        flags += ["-isystem", folder]
    flags += [f"-D{d}" for d in defines] + _sanitize_flags(toolchain, sanitize)
    if not board.is_host:
        flags += toolchain.device_flags()
    with temporary_folder() as temporary:
        objects = compile_all(toolchain, project.directory, project.sources, flags, temporary)
        link = _sanitize_flags(toolchain, sanitize)
        if project.linker_script is not None:
            link += [*toolchain.link_flags(), f"-Wl,-T,{project.linker_script}"]
        _link(toolchain, project.directory, objects, link, elf, board)
        rams = {m.name: (m.origin, m.size) for m in board.memories if m.kind == "ram"}
        sizes = measure(elf, objects, rams) if _is_elf(elf) else _no_sizes()
    # An ESP's image is no plain copy of flash: see `esp_image`.
    binary = None if board.is_host or board.esp_chip else write_bin(elf, board.link_flash.origin)
    return BuildResult(elf, binary, toolchain.name, toolchain.version, sizes)


def build_shared_library(
    code: HostCode,
    output: Path,
    toolchain: Toolchain,
    *,
    sanitize: Sequence[str] = (),
    optimize: str = OPTIMIZE,
) -> Path:
    """Builds a shared library of this computer, for ctypes. `output` is returned.

    Raises:
        ToolchainError: the C is wrong (file:line) or something is not defined.
    """
    return _build_host(code, output, toolchain, ["-shared"], ["-fPIC", *_sanitize_flags(toolchain, sanitize)], optimize)


def build_executable(
    code: HostCode,
    output: Path,
    toolchain: Toolchain,
    *,
    sanitize: Sequence[str] = (),
    optimize: str = OPTIMIZE,
) -> Path:
    """Builds a program of this computer. `output` is returned.

    Args:
        sanitize: `address`, `undefined`; a finding ends the program with a non-zero status.

    Raises:
        ToolchainError: the C is wrong (file:line) or something is not defined.
    """
    return _build_host(code, output, toolchain, [], _sanitize_flags(toolchain, sanitize), optimize)


def build_flat(
    code: HostCode, output: Path, toolchain: Toolchain, *, entries: Sequence[str], optimize: str = OPTIMIZE
) -> Path:
    """Links functions for a board's core flat, without firmware: for `BareCore`. `output` is returned.

    Args:
        code: what to build; our string.h and its functions are added to its folder.
        toolchain: for a board.
        entries: the functions to keep, with all that they need.

    Raises:
        ToolchainError: the C is wrong (file:line) or something is not defined.
    """
    shutil.copytree(resource("firmware") / "libc", code.directory / "firmware/libc", dirs_exist_ok=True)
    script = _FLAT_SCRIPT.format(entry=entries[0], roots=" ".join(entries))
    (code.directory / "flat.ld").write_text(script, newline="\n")
    flags = [*_include_flags(code), *toolchain.device_flags(), "-isystem", "firmware/libc/include"]
    with temporary_folder() as temporary:
        sources = (*code.sources, "firmware/libc/string.c")
        objects = compile_all(toolchain, code.directory, sources, flags, temporary, optimize)
        link = [*toolchain.link_flags(), "-Wl,-T,flat.ld", f"-Wl,-e,{entries[0]}"]
        _link(toolchain, code.directory, objects, link, output, None)
    return output


_FLAT_SCRIPT = """ENTRY({entry})
EXTERN({roots})
SECTIONS
{{
    . = 0x10000;
    .text : {{ *(.text .text.* .rodata .rodata.*) }}
    . = 0x20000000;
    .data : {{ *(.data .data.*) }}
    .bss (NOLOAD) : {{ *(.bss .bss.* COMMON) }}
    /DISCARD/ : {{ *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.* .comment .note.*) }}
}}
"""


def _include_flags(code: HostCode) -> list[str]:
    flags = [*(f"-I{d}" for d in code.include_dirs), *(f"-D{d}" for d in code.defines)]
    for folder in code.system_include_dirs:
        flags += ["-isystem", folder]
    return flags


def _build_host(
    code: HostCode, output: Path, toolchain: Toolchain, link: list[str], flags: list[str], optimize: str
) -> Path:
    extra = [*flags, *_include_flags(code)]
    with temporary_folder() as temporary:
        objects = compile_all(toolchain, code.directory, code.sources, extra, temporary, optimize)
        _link(toolchain, code.directory, objects, [*link, *flags], output, None)
    return output


def _sanitize_flags(toolchain: Toolchain, sanitize: Sequence[str]) -> list[str]:
    if not sanitize:
        return []
    if toolchain.name == "zig" and "address" in sanitize:
        raise ToolchainError("zig has no address sanitizer", fix="Install gcc or clang for sanitized builds.")
    return [f"-fsanitize={','.join(sanitize)}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def _link(
    toolchain: Toolchain,
    directory: Path,
    objects: Mapping[str, Path],
    flags: Sequence[str],
    output: Path,
    board: Board | None,
) -> None:
    """Links into a temporary file first, so that a failure leaves no half-written output."""
    files = [str(path) for path in objects.values()]
    target = next(iter(objects.values())).parent / "linked"
    arguments = [OPTIMIZE, *flags, *files, "-o", str(target)]
    libraries = toolchain.libraries()
    # Most firmware needs no library, and a library that is not needed adds nothing.
    result = toolchain.run(arguments if toolchain.makes_libraries else [*arguments, *libraries], directory.resolve())
    if toolchain.makes_libraries and result.returncode and lacks_definition(result.stderr):
        result = toolchain.run([*arguments, *libraries], directory.resolve())
    if result.returncode:
        misfit = overflow_error(board, result.stderr, objects) if board and not board.is_host else None
        raise misfit or link_error(toolchain, re.sub(r"\x1b\[[0-9;]*m", "", result.stderr))
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(target, output)
    shutil.copymode(target, output)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _no_sizes() -> Sizes:
    """For programs in another format than ELF (macOS)."""
    nothing = dict.fromkeys(GROUPS, 0)
    return Sizes(0, 0, nothing, nothing, {}, {}, ())


def flash_image(elf_path: Path, origin: int) -> bytes:
    """The content of flash from address `origin` on; gaps are 0xFF, as erased flash is."""
    pieces = []
    with elf_path.open("rb") as file:
        for segment in ELFFile(file).iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                pieces.append((segment["p_paddr"] - origin, segment.data()))
    if not pieces or min(offset for offset, _ in pieces) < 0:
        raise ToolchainError(f"nothing is linked to {origin:#x}", where=str(elf_path))
    image = bytearray(b"\xff" * max(offset + len(data) for offset, data in pieces))
    for offset, data in pieces:
        image[offset : offset + len(data)] = data
    return bytes(image)


def write_bin(elf_path: Path, origin: int) -> Path:
    """Writes the flash image beside the ELF, as `.bin`, and returns its path."""
    path = elf_path.with_suffix(".bin")
    path.write_bytes(flash_image(elf_path, origin))
    return path
