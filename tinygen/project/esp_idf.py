"""An ESP-IDF project, for boards that nothing here compiles for or emulates (ESP32, ESP32-S3).

Layout of the folder, beside the model's own C (model/, app_model.c):

    CMakeLists.txt, sdkconfig.defaults, main/CMakeLists.txt   for idf.py
    main/idf_component.yml                                    what it fetches from Espressif's registry, if anything
    platformio.ini                                            for PlatformIO, the same project
    firmware/app, firmware/esp_idf                            the application and its board functions over esp-idf
    board/board_config.h                                      rendered from the board's YAML

That its C is right is shown as far as it can be: model and application are compiled for this computer, and run.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinygen.emit.templates import environment
from tinygen.errors import BoardError
from tinygen.paths import resource
from tinygen.project.firmware import application_of, write_firmware_project
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import BuildResult, build_elf
from tinygen.targets.toolchains.base import Toolchain
from tinygen.version import VERSION

UNTESTED = "generated as an ESP-IDF project; not compiled for Xtensa here, and untested on the target"
_APPLICATION = "firmware/app"
_BOARD = "firmware/esp_idf/board.c"
_MAIN_STACK = 8192


def write_idf_project(
    board: Board, folder: Path, model: str, mode: str = "performance", components: Mapping[str, str] | None = None
) -> None:
    """Adds the project to `folder`, where the model's C is.

    Args:
        board: an ESP32 or ESP32-S3.
        folder: with model/ and app_model.c.
        model: its C name.
        mode: how the firmware begins, see `write_firmware_project`.
        components: of Espressif's registry that the C calls: name and version.

    Raises:
        BoardError: the board file lacks what the project needs.
    """
    if board.clock is None or board.uart is None or board.platformio is None:
        raise BoardError("an ESP-IDF project needs `clock`, `uart` and `platformio`", where=str(board.path))
    application = resource("firmware") / "app"
    for path in sorted((*application.glob("*.c"), *application.glob("*.h"))):
        if path.name != "main.c":  # ESP-IDF's main task is app_main
            _copy(path, folder / _APPLICATION / path.name)
    _copy(resource("firmware").parent / _BOARD, folder / _BOARD)
    sources = [f"model/{path.name}" for path in sorted((folder / "model").glob("*.c"))]
    sources += ["app_model.c", *(f"{_APPLICATION}/{p.name}" for p in sorted((folder / _APPLICATION).glob("*.c")))]
    app_sources, app_includes = application_of(folder)
    for name in app_sources:
        if name.startswith("firmware/"):
            _copy(resource("firmware").parent / name, folder / name)
    for header in sorted((resource("firmware") / "wakeword").glob("*.h")) if app_sources else ():
        _copy(header, folder / "firmware/wakeword" / header.name)
    context = {
        "board": board,
        "model": model,
        "mode": mode,
        "wakeword": bool(app_sources),
        "sources": [*sources, *app_sources, _BOARD],
        "include_dirs": ["model", _APPLICATION, *app_includes, "board"],
        "requires": "esp_driver_uart esp_driver_gpio esp_hw_support",
        "mhz": board.core_hz // 1_000_000,
        "flash_mb": _flash_megabytes(board),
        "stack_bytes": _MAIN_STACK,
        "clock": board.clock,
        "uart_bus_div": 1,
        "dividers": 0,
        "port": lambda pin: 0,
        "version": VERSION,
        "components": components or {},
    }
    fetched = (("main/idf_component.yml", "esp_idf/idf_component.yml.j2"),) if components else ()
    for name, template in (
        *fetched,
        ("CMakeLists.txt", "esp_idf/CMakeLists.txt.j2"),
        ("main/CMakeLists.txt", "esp_idf/main.cmake.j2"),
        ("sdkconfig.defaults", "esp_idf/sdkconfig.defaults.j2"),
        ("platformio.ini", "esp_idf/platformio.ini.j2"),
        ("board/board_config.h", "project/board_config.h.j2"),
    ):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = environment().get_template(template).render(context)
        target.write_text(text, encoding="utf-8", newline="\n")


def _flash_megabytes(board: Board) -> int:
    """Flash size of the module, a power of two (as in esp-idf's Kconfig); the mapped window may be smaller."""
    return 1 << (board.link_flash.size - 1).bit_length() >> 20


def build_for_host(folder: Path, toolchain: Toolchain, into: Path) -> BuildResult:
    """Compiles the project's model and application for this computer, in the folder `into`.

    Raises:
        ToolchainError: the C is wrong.
    """
    for name in ("model", "audio", "wakeword"):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, into / name)
    shutil.copyfile(folder / "app_model.c", into / "app_model.c")
    return build_elf(write_firmware_project(load_board("host"), into), toolchain)


def host_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder to build in, which exists as long as the context."""
    return tempfile.TemporaryDirectory(prefix="tinygen-")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
