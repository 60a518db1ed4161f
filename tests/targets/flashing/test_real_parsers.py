"""The real tools' own parsers take our command lines, and understand them as we mean them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.targets.tools import requires_package
from tinygen.targets.board import Board, EspFlash, Flashing
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.flashing import FLASHERS, Job

IMAGES = {"bin": "firmware.bin", "hex": "firmware.hex"}
FLASHER = {flasher.name: flasher for flasher in FLASHERS}
BOARDS = [load_board(name) for name in list_boards()]
F746ZG = load_board("f746zg")
ESP32C3 = replace(F746ZG, flashing=Flashing(("esptool",), esptool=EspFlash("esp32c3", 0x1000)))


def of(method: str) -> list[Board]:
    return [board for board in BOARDS if method in board.flashing.methods]


@requires_package("pyocd")
@pytest.mark.parametrize("board", of("pyocd"), ids=lambda board: board.name)
def test_pyocd(board: Board, built: Path) -> None:
    from pyocd.__main__ import PyOCDTool
    from pyocd.subcommands.commander_cmd import CommanderSubcommand
    from pyocd.subcommands.load_cmd import LoadSubcommand

    load, compare = FLASHER["pyocd"].plan(Job(board, built, IMAGES, probe="066B"))
    assert load.command[1:3] == compare.command[1:3] == ("-m", "pyocd")
    arguments = PyOCDTool()._parser.parse_args(list(load.command[3:]))
    assert arguments.command_class is LoadSubcommand
    assert arguments.file == [str(built / "firmware.elf")]
    assert (arguments.target_override, arguments.unique_id) == (board.flashing.pyocd, "066B")
    assert arguments.no_wait and not arguments.no_reset
    arguments = PyOCDTool()._parser.parse_args(list(compare.command[3:]))
    assert arguments.command_class is CommanderSubcommand
    assert arguments.commands == [[f'compare {board.link_flash.origin:#010x} "{built}/firmware.bin"']]
    assert arguments.no_wait and arguments.connect_mode == "attach"


@requires_package("pyocd")
def test_pyocd_splits_its_command_as_we_mean_it(built: Path) -> None:
    """The blank in the path is part of a word."""
    from pyocd.commands.execution_context import CommandExecutionContext

    assert " " in str(built)
    command = FLASHER["pyocd"].plan(Job(F746ZG, built, IMAGES))[1].command
    (words,) = CommandExecutionContext()._split_commands(command[command.index("-c") + 1])
    assert words == ["compare", "0x08000000", str(built / "firmware.bin")]
    assert CommandExecutionContext().parse_command(words).cmd == "compare"


@requires_package("pyocd")
@pytest.mark.parametrize("board", of("pyocd"), ids=lambda board: board.name)
def test_pyocd_calls_the_chips_so(board: Board) -> None:
    """The names are those of chips that it has itself, or that it knows to be on boards, and finds in ST's packs."""
    from pyocd.board.board_ids import BOARD_ID_TO_INFO
    from pyocd.target.builtin import BUILTIN_TARGETS

    assert board.flashing.pyocd in {*BUILTIN_TARGETS, *(info.target for info in BOARD_ID_TO_INFO.values())}


@requires_package("esptool")
def test_esptool(built: Path) -> None:
    import esptool

    (step,) = FLASHER["esptool"].plan(Job(ESP32C3, built, IMAGES, port="/dev/ttyUSB0"))
    assert step.command[1:3] == ("-m", "esptool")
    esptool.cli._esp = None  # as its own entry point does
    context = esptool.cli.make_context("esptool", list(step.command[3:]))
    assert (context.params["chip"], context.params["port"], context.params["baud"]) == (
        "esp32c3",
        "/dev/ttyUSB0",
        460800,
    )
    name, command, arguments = esptool.cli.resolve_command(context, [*context._protected_args, *context.args])
    assert name == "write-flash"
    write = command.make_context(name, arguments, parent=context)
    [(address, (path, content))] = [
        (address, (name, content)) for address, (name, content) in _address_and_data(write.params["addr_filename"])
    ]
    assert (address, Path(path).name) == (0x1000, "firmware.bin")
    assert content == (built / "firmware.bin").read_bytes()


def _address_and_data(pairs: object) -> list[tuple[int, tuple[str, bytes]]]:
    """esptool opens the files itself; of each its address, name and bytes."""
    found = []
    for address, file in pairs:  # type: ignore[attr-defined]
        with file:
            found.append((address, (file.name, file.read())))
    return found


@requires_package("platformio")
def test_platformio(built: Path) -> None:
    from platformio.run.cli import cli

    (step,) = FLASHER["platformio"].plan(Job(F746ZG, built, IMAGES, port="/dev/ttyACM0"))
    assert step.command[1:4] == ("-m", "platformio", "run")
    context = cli.make_context("run", list(step.command[4:]))
    assert context.params["environment"] == ("f746zg",)
    assert context.params["target"] == ("nobuild", "upload") and context.params["disable_auto_clean"]
    assert context.params["upload_port"] == "/dev/ttyACM0"
    assert context.params["project_dir"] == str(built)
