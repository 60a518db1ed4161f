"""A folder with everything a board's firmware is built from, besides the model's own C.

Layout of the folder (all paths relative to it):

    model/            generated model C (written by emit)
    app_model.c       generated binding of the model (written by emit)
    cmsis-nn/ esp-nn/ files of the kernel library that the model calls, where it calls one
    audio/ wakeword/  the application's generated C, where there is one (written by emit)
    firmware/         hand-written C the board needs, copied
    board/            board_config.h and board.ld, rendered from the board's YAML
    Makefile          builds it again without tinygen
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tinygen.emit.templates import environment
from tinygen.errors import BoardError
from tinygen.paths import resource
from tinygen.project.wakeword import CONFIG as WAKEWORD
from tinygen.targets.board import Board, Clock, Pin
from tinygen.targets.firmware_sources import FirmwareProject
from tinygen.targets.flashing import make_command
from tinygen.targets.toolchains.base import (
    COMPILE_FLAGS,
    DEVICE_FLAGS,
    FIRMWARE_FLAGS,
    FIRMWARE_FOLDER,
    LIBC_FOLDER,
    OPTIMIZE,
)
from tinygen.targets.toolchains.gcc import gcc_for
from tinygen.targets.toolchains.libraries import place_found, place_in
from tinygen.targets.toolchains.zig import library_flags, own_flags
from tinygen.version import VERSION

_APPLICATION = (
    "main",
    "serve",
    "commands_mlperf",
    "commands_tinygen",
    "db",
    "measure",
    "paint",
    "reply",
    "values",
    "seal",
    "text",
    "thresholds",
    "check",
    "crc32",
)
_APPLICATION_SOURCES = tuple(f"firmware/app/{name}.c" for name in _APPLICATION)
_WAKEWORD_SOURCES = tuple(f"firmware/wakeword/{name}.c" for name in ("wakeword", "listen", "block", "stream"))
_DEVICE_SOURCES = ("firmware/libc/string.c",)
_LIBC_INCLUDE = "firmware/libc/include"


def write_firmware_project(
    board: Board, directory: Path, *, stack_bytes: int | None = None, mode: str = "performance"
) -> FirmwareProject:
    """Adds the board's part to `directory`, where the model's C may already be.

    Args:
        board: what to build for.
        directory: made when absent; `model/*.c`, `app_model.c` and a library's files in it are added to the sources.
        stack_bytes: instead of the board's default; a multiple of 8.
        mode: how the firmware begins: "performance", or "energy" (firmware/app/measure.h).

    Raises:
        BoardError: the board names a source that does not exist, or the stack is no multiple of 8.
    """
    project = _describe(board, directory, board.stack_bytes if stack_bytes is None else stack_bytes)
    _copy_sources(board, project)
    config = _config_context(board) | _begin(directory, mode)
    _write(directory / "board/board_config.h", "project/board_config.h.j2", config)
    if not board.is_host:
        script = "project/esp.ld.j2" if board.esp_chip else "project/board.ld.j2"
        _write(directory / "board/board.ld", script, _layout_context(board, project.stack_bytes))
    _write(directory / "Makefile", "project/Makefile.j2", _make_context(project))
    _write(directory / "README.md", "project/README.md.j2", _read_me_context(project))
    return project


def _read_me_context(project: FirmwareProject) -> dict[str, object]:
    headers = (path.stem.removesuffix("_build") for path in (project.directory / "model").glob("*_build.h"))
    return {"board": project.board, "model": next(headers, "model"), "flash_command": make_command(project.board)}


def _describe(board: Board, directory: Path, stack_bytes: int) -> FirmwareProject:
    if stack_bytes % 8 or stack_bytes < 512:
        fix = "Give a multiple of 8, at least 512."
        raise BoardError(f"a stack of {stack_bytes} bytes cannot be", where=board.name, fix=fix)
    generated = [f"model/{path.name}" for path in sorted((directory / "model").glob("*.c"))]
    if (directory / "app_model.c").is_file():
        generated.append("app_model.c")
    app_sources, app_includes = application_of(directory)
    place = place_in(directory)
    files = (directory / place.folder).glob("**/*.c") if place else ()
    library = sorted(path.relative_to(directory).as_posix() for path in files)
    device = () if board.is_host else _DEVICE_SOURCES
    return FirmwareProject(
        directory=directory,
        board=board,
        sources=(*generated, *library, *_APPLICATION_SOURCES, *app_sources, *device, *board.sources),
        include_dirs=("model", "firmware/app", *app_includes, "board", *board.include_dirs),
        system_include_dirs=(
            *(place.includes if place else ()),
            *(() if board.is_host else (_LIBC_INCLUDE,)),
        ),
        linker_script=None if board.is_host else "board/board.ld",
        stack_bytes=0 if board.is_host else stack_bytes,
    )


def application_of(directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sources of the application that a project has beside the common one, and their folders; () where it has none."""
    if not (directory / WAKEWORD).is_file():
        return (), ()
    features = sorted(f"audio/{path.name}" for path in (directory / "audio").glob("*.c"))
    # Not the folder audio: its features.h would be taken for the C library's own on a computer.
    return (*features, *_WAKEWORD_SOURCES), (".", "firmware/wakeword")


def _copy_sources(board: Board, project: FirmwareProject) -> None:
    """Copies sources, and every header of the folders they come from or include."""
    root = resource("firmware").parent
    folders = {source.rsplit("/", 1)[0] for source in project.sources if source.startswith("firmware/")}
    folders |= {d for d in (*project.include_dirs, *project.system_include_dirs) if d.startswith("firmware/")}
    headers = {str(h.relative_to(root).as_posix()) for f in folders for h in (root / f).glob("*.h")}
    for name in sorted(headers | {s for s in project.sources if s.startswith("firmware/")}):
        if not (root / name).is_file():
            raise BoardError(
                f"the source {name} does not exist", where=f"{board.path}: sources", fix="Correct the list."
            )
        target = project.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)


def _begin(directory: Path, mode: str) -> dict[str, object]:
    """Definitions of board_config.h that no board file contains."""
    return {"mode": mode, "wakeword": (directory / WAKEWORD).is_file()}


def _write(path: Path, template: str, context: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = environment().get_template(template).render(context | {"version": VERSION})
    path.write_text(text, encoding="utf-8", newline="\n")


def _config_context(board: Board) -> dict[str, object]:
    if board.is_host:
        return {"board": board}
    assert board.clock is not None and board.uart is not None
    clock = board.clock
    bus_divider = {"ahb": 1, "apb1": clock.apb1_div, "apb2": clock.apb2_div}[board.uart.bus]
    return {
        "board": board,
        "clock": clock,
        "dividers": rcc_cfgr_dividers(clock, 8 if "firmware/stm32l4/clock.c" in board.sources else 10),
        "uart_bus_div": bus_divider * clock.axi_div,
        "microphone_hz": float(board.microphone.rate_hz(clock)) if board.microphone else 0.0,
        "port": _port_number,
    }


def _port_number(pin: Pin) -> int:
    return ord(pin.port) - ord("A") if pin.port else 0


def rcc_cfgr_dividers(clock: Clock, ppre1: int = 10) -> int:
    """HPRE, PPRE1 and PPRE2 as RCC_CFGR wants them.

    Args:
        clock: the dividers.
        ppre1: place of PPRE1: 10 on STM32F4 and F7 (RM0385 5.3.3, RM0090 7.3.3), 8 on L4+ (RM0432, RCC_CFGR).
    """
    ahb = {1: 0, 2: 8, 4: 9, 8: 10, 16: 11, 64: 12, 128: 13, 256: 14, 512: 15}[clock.ahb_div]
    apb = {1: 0, 2: 4, 4: 5, 8: 6, 16: 7}
    return (ahb << 4) | (apb[clock.apb1_div] << ppre1) | (apb[clock.apb2_div] << ppre1 + 3)


def _layout_context(board: Board, stack_bytes: int) -> dict[str, object]:
    ram = board.link_ram
    parts = [m for m in board.memories if m.kind == "ram" and ram.contains(m.origin)]
    flash = board.link_flash
    return {
        "board": board,
        "flash": flash,
        # On an ESP32-C3 flash and RAM have other addresses for instructions.
        "code_origin": flash.aliases[0] if flash.aliases else flash.origin,
        "code_bus": ram.aliases[0] - ram.origin if ram.aliases else 0,
        "ram": ram,
        "ram_parts": parts,
        "stack_bytes": stack_bytes,
    }


def _make_context(project: FirmwareProject) -> dict[str, object]:
    board = project.board
    zig, gcc = board.toolchain.zig, board.toolchain.gcc
    library = place_found(project.system_include_dirs)
    includes = [f"-I{d}" for d in project.include_dirs] + [f"-isystem {d}" for d in project.system_include_dirs]
    return {
        "board": board,
        "sources": project.sources,
        "firmware_folder": FIRMWARE_FOLDER,
        "firmware_flags": " ".join(FIRMWARE_FLAGS),
        "libc_folder": LIBC_FOLDER,
        "library_folder": library.folder if library else "",
        "library_flags": " ".join(library.flags) if library else "",
        "includes": " ".join(includes),
        "cflags": " ".join((*COMPILE_FLAGS, OPTIMIZE, *(() if board.is_host else DEVICE_FLAGS))),
        "optimize": OPTIMIZE,
        "default_toolchain": "cc" if board.is_host else "zig" if zig else "gcc",
        "zig_own": " ".join(own_flags(zig.target)) if zig else "",
        "zig_libraries": " ".join(library_flags(zig)) if zig else "",
        "zig_core": f"-target {zig.target} -mcpu={zig.cpu}" if zig else "",
        "gcc": gcc_for(gcc or ()),
        "gcc_core": " ".join(gcc or ()),
        "flash_command": make_command(board),
    }
