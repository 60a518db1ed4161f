"""A program that breaks is reported with what, where and why, on boards whose hardware QEMU models."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tests.targets.build import build, model_with_invoke
from tests.targets.tools import requires_tool
from tests.targets.wire import Wire, command_of
from tinygen.targets.boards import load_board

pytestmark = requires_tool("qemu-system-arm")

# QEMU's mps2-an500 ignores accesses to where there is nothing, so only its other faults can be tested.
STRICT = pytest.mark.parametrize("name", ["netduinoplus2"])
BOARDS = pytest.mark.parametrize("name", ["netduinoplus2", "mps2-an500"])


def report_of(name: str, directory: Path, declarations: str, body: str) -> tuple[str, dict[str, str], str]:
    """Kind of the fault, its values, and the function its program counter lies in."""
    result = build(load_board(name), "zig", directory, model_with_invoke(declarations, body))
    with Wire(command_of(load_board(name), result.elf)) as wire:
        wire.reply()
        wire.send(b"tg-run%")
        assert wire.line() == ""
        line = wire.line()
    assert line.startswith("e-[fault: ") and line.endswith("]")
    words = line[len("e-[fault: ") : -1].split()
    values = dict(word.split("=") for word in words if "=" in word)
    kind = " ".join(word for word in words if "=" not in word)
    return kind, values, function_at(result.elf, values["pc"])


def function_at(elf: Path, pc: str) -> str:
    """Name of the function around address `pc` (hexadecimal), empty when unknown."""
    if pc == "unknown":
        return ""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        for symbol in table.iter_symbols():
            start = symbol["st_value"] & ~1
            if symbol["st_info"]["type"] == "STT_FUNC" and start <= int(pc, 16) < start + symbol["st_size"]:
                return str(symbol.name)
    return ""


@STRICT
def test_an_access_outside_the_memory_map(name: str, tmp_path: Path) -> None:
    body = "    *(volatile uint32_t *)(uintptr_t)0xA0000004U = 1U;"
    kind, values, function = report_of(name, tmp_path, "", body)
    assert (kind, values["address"], function) == ("bus", "a0000004", "invoke")


@BOARDS
def test_an_undefined_instruction(name: str, tmp_path: Path) -> None:
    kind, values, function = report_of(name, tmp_path, "", '    __asm volatile("udf #0");')
    assert (kind, values["address"], function) == ("usage", "unknown", "invoke")
    assert int(values["cfsr"], 16) == 1 << 16


@STRICT
def test_an_overflowing_stack(name: str, tmp_path: Path) -> None:
    declarations = (
        "static uint32_t deep(volatile uint32_t *above)\n{\n    volatile uint32_t here[64];\n"
        "    here[0] = above[0] + 1U;\n    return here[0] == 0U ? 0U : deep(here) + here[0];\n}\n"
    )
    body = "    volatile uint32_t top[1] = {1U};\n    top[0] = deep(top);"
    kind, values, _ = report_of(name, tmp_path, declarations, body)
    assert kind == "stack overflow"
    assert values["pc"] == "unknown" or values["address"] != "unknown"
