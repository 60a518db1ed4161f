"""The place of a vendor's kernel library in a project, and its compile flags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LibraryPlace:
    """A vendor's files in a project; paths relative to it.

    Attributes:
        folder: all of them lie there.
        includes: where its headers are found.
        flags: of its sources. No warnings: they are the vendor's.
    """

    folder: str
    includes: tuple[str, ...]
    flags: tuple[str, ...] = ("-w",)


CMSIS_NN_PLACE = LibraryPlace(
    "cmsis-nn",
    ("cmsis-nn/Include",),
    # memcpy of a word is a load. For a bare target zig assumes the opposite, and CMSIS-NN, which loads everything that
    # way, would run five times as many instructions.
    ("-w", "-fhosted"),
)
ESP_NN_PLACE = LibraryPlace("esp-nn", ("esp-nn", "esp-nn/include", "esp-nn/src/common"))
PLACES = (CMSIS_NN_PLACE, ESP_NN_PLACE)


def place_of(source: str) -> LibraryPlace | None:
    """The library that a source (path relative to the project) belongs to."""
    return next((place for place in PLACES if source.startswith(f"{place.folder}/")), None)


def place_found(include_dirs: Collection[str]) -> LibraryPlace | None:
    """The library that a project has, by the folders in which its headers are looked for."""
    return next((place for place in PLACES if place.includes[0] in include_dirs), None)


def place_in(directory: Path) -> LibraryPlace | None:
    """The library that a project has: at most one."""
    return next((place for place in PLACES if any((directory / place.folder).glob("**/*.c"))), None)
