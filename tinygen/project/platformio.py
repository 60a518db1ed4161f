"""The files that make a build directory a PlatformIO project too.

PlatformIO's ststm32 platform builds a program without framework from any sources (its builder/frameworks/_bare.py): it
adds -Os, -Wall, the CPU and newlib's libraries, which are taken out again here, and the linker script is ours.
"""

from __future__ import annotations

from tinygen.emit.templates import environment
from tinygen.targets.firmware_sources import FirmwareProject
from tinygen.targets.toolchains.base import (
    COMPILE_FLAGS,
    DEVICE_FLAGS,
    FIRMWARE_FLAGS,
    FIRMWARE_FOLDER,
    LIBC_FLAGS,
    LIBC_FOLDER,
    OPTIMIZE,
)
from tinygen.targets.toolchains.libraries import place_found
from tinygen.version import VERSION

CONFIGURATION, SCRIPT = "platformio.ini", "platformio_build.py"
BARE_PLATFORMS = ("ststm32",)
"""PlatformIO platforms that build programs without a framework."""
_TOOLCHAIN = "platformio/toolchain-gccarmnoneeabi @ ~1.120301.0"
"""gcc 12.3: one of ststm32's own `optionalVersions`; its default is gcc 7."""
_PLATFORM_LIBRARIES = ("c", "m", "stdc++")
"""What _bare.py links besides libgcc: our string.c is all the C library there is."""
_FLAGS = tuple(flag for flag in COMPILE_FLAGS if flag != "-Werror")
"""New warnings of a newer compiler must not stop a user's build."""


def write_platformio_project(project: FirmwareProject) -> tuple[str, ...]:
    """Writes platformio.ini and its script; gives their names, none where PlatformIO cannot build the board bare.

    Args:
        project: a folder with all the sources.
    """
    board = project.board
    if board.platformio is None or board.platformio.platform not in BARE_PLATFORMS or board.toolchain.gcc is None:
        return ()
    system = [f"-isystem {folder}" for folder in project.system_include_dirs]
    flags = [
        " ".join(board.toolchain.gcc),
        " ".join((OPTIMIZE, *_FLAGS)),
        " ".join(DEVICE_FLAGS),
        *(f"-I{folder}" for folder in project.include_dirs),
        *system,
    ]
    by_folder = {LIBC_FOLDER: list(LIBC_FLAGS), FIRMWARE_FOLDER: list(FIRMWARE_FLAGS)}
    library = place_found(project.system_include_dirs)
    if library is not None:
        by_folder[library.folder] = list(library.flags)
    context = {
        "board": board,
        "version": VERSION,
        "toolchain": _TOOLCHAIN,
        "platform_libraries": _PLATFORM_LIBRARIES,
        "flags": flags,
        "sources": project.sources,
        "link_flags": [*board.toolchain.gcc, "-nostdlib", "-nostartfiles"],
        "folder_flags": by_folder,
    }
    for name in (CONFIGURATION, SCRIPT):
        text = environment().get_template(f"platformio/{name}.j2").render(context)
        (project.directory / name).write_text(text, encoding="utf-8", newline="\n")
    return (CONFIGURATION, SCRIPT)
