"""Turns a linker's overflow error into one that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tinygen.errors import FitError
from tinygen.targets.board import Board
from tinygen.targets.toolchains.sizes import sections_of_object

# lld: "section '.bss' will not fit in region 'RAM': overflowed by 96 bytes"; ld: "region `RAM' overflowed by 96 bytes"
_OVERFLOW = re.compile(r"region [`'](?P<region>\w+)'(?::)? overflowed by (?P<bytes>\d+) bytes?")
# templates/project/esp.ld.j2: what is copied to RAM lies in the image before the first page that is mapped.
_TOO_MUCH_LOADED = "what the boot ROM loads must fit"
_SECTION_PREFIX = re.compile(r"^\.(?:text|rodata|data|bss|arena)\.(?:cst\d+$|str\d.*)?")
_SHOWN = 4


def overflow_error(board: Board, output: str, objects: Mapping[str, Path]) -> FitError | None:
    """The error that `output` of either linker means, or None when it is about something else.

    Args:
        board: what was linked for.
        output: what the linker printed.
        objects: object file by source, to name what is largest.
    """
    if _TOO_MUCH_LOADED in output:
        return _loaded_error(board, objects)
    overflows: dict[str, int] = {}
    for match in _OVERFLOW.finditer(output):
        region = _REGIONS.get(match["region"], match["region"])
        overflows[region] = max(overflows.get(region, 0), int(match["bytes"]))
    if not overflows:
        return None
    parts = [_sentence(board, region, excess, objects) for region, excess in sorted(overflows.items())]
    fix = " ".join(_FIXES[region] for region in sorted(overflows) if region in _FIXES)
    return FitError("; ".join(parts), where=f"link for {board.name}", fix=fix, excess=overflows)


def _loaded_error(board: Board, objects: Mapping[str, Path]) -> FitError:
    largest = ", ".join(f"{name} ({size:,} bytes)" for name, size in _largest("RAM", objects, stored=True))
    return FitError(
        f"the program's data does not fit: the chip's boot ROM copies at most 61,440 bytes to RAM; largest: {largest}",
        where=f"link for {board.name}",
        fix="Leave the weights in flash (--weights flash), or take a smaller model.",
    )


def check_weights(board: Board, weight_bytes: int) -> None:
    """Whether flash holds the weights; that can be told before anything is compiled.

    Raises:
        FitError: it does not.
    """
    flash = board.link_flash
    excess = weight_bytes - flash.size
    if excess > 0:
        raise FitError(
            f"the program does not fit flash: its weights alone need {weight_bytes:,} bytes, {flash.size:,} there, "
            f"{excess:,} too many",
            where=board.name,
            fix=_FIXES["FLASH"],
            excess={"FLASH": excess},
        )


_REGIONS = {"CODE": "FLASH", "RAM_CODE": "RAM"}
"""Other names of the same memory: on an ESP32-C3, what the bus for instructions calls it."""
_FIXES = {
    "FLASH": "For flash: take a smaller or more strongly quantized model, or a board with more flash.",
    "RAM": "For RAM: take a model with smaller activations, a smaller stack, or a board with more RAM.",
}


def _sentence(board: Board, region: str, excess: int, objects: Mapping[str, Path]) -> str:
    memory = board.link_flash if region == "FLASH" else board.link_ram
    word = "flash" if region == "FLASH" else "RAM"
    names = [m.name for m in board.memories if m.kind == memory.kind and memory.contains(m.origin)]
    largest = ", ".join(f"{name} ({size:,} bytes)" for name, size in _largest(region, objects))
    return (
        f"the program does not fit {word}: {memory.size + excess:,} bytes needed, {memory.size:,} there "
        f"({' + '.join(names)} at {memory.origin:#010x}), {excess:,} too many; largest: {largest}"
    )


def _largest(region: str, objects: Mapping[str, Path], *, stored: bool = False) -> list[tuple[str, int]]:
    """Sections in a region by size; `stored`: only those that begin with something."""
    found = []
    for source, path in objects.items():
        for name, size, in_flash, in_ram in sections_of_object(path):
            if in_flash and in_ram if stored else in_flash if region == "FLASH" else in_ram:
                symbol = _SECTION_PREFIX.sub("", name) or name
                found.append((f"{symbol} of {source}", size))
    return sorted(found, key=lambda item: (-item[1], item[0]))[:_SHOWN]
