"""Flash and RAM by part of a linked firmware."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinygen.targets.toolchains.libraries import place_of

GROUPS = ("model code", "model weights", "application", "wake word", "drivers", "arena", "stack", "other")


@dataclass(frozen=True)
class SymbolSize:
    """A function or object in the firmware. `flash` and `ram` in bytes; initialised data take both."""

    name: str
    source: str
    group: str
    flash: int
    ram: int


@dataclass(frozen=True)
class Sizes:
    """Bytes by group and by memory.

    Attributes:
        flash_bytes: of the image.
        ram_bytes: from the bottom of RAM to the last byte used, stack included.
        flash_by_group, ram_by_group: keys are GROUPS; they add up to the two totals. "other" is what has no symbol:
            literals, padding, and the compiler's library.
        ram_by_memory: bytes used of each physical RAM.
        arena_by_memory: bytes of the arena in each, where there are any.
        symbols: largest first.
    """

    flash_bytes: int
    ram_bytes: int
    flash_by_group: Mapping[str, int]
    ram_by_group: Mapping[str, int]
    ram_by_memory: Mapping[str, int]
    arena_by_memory: Mapping[str, int]
    symbols: tuple[SymbolSize, ...]

    @property
    def flash_model_bytes(self) -> int:
        """Code and weights of the model."""
        return self.flash_by_group["model code"] + self.flash_by_group["model weights"]


@dataclass(frozen=True)
class _Section:
    name: str
    address: int
    size: int
    in_flash: bool
    in_ram: bool


def group_of(source: str) -> str:
    """The group a source file (path relative to the project) belongs to."""
    if source.startswith("model/"):
        return "model weights" if source.endswith("_weights.c") else "model code"
    if place_of(source):
        return "model code"
    if source.startswith(("audio/", "firmware/wakeword/")):
        return "wake word"
    if source == "app_model.c" or source.startswith("firmware/app/"):
        return "application"
    return "drivers" if source.startswith("firmware/") else "other"


def symbols_of_object(path: Path) -> tuple[str, ...]:
    """Names of the functions and objects that the object file `path` defines."""
    return _symbols_of_object(path.read_bytes())


@lru_cache(maxsize=256)  # the drivers of one build are those of the next
def _symbols_of_object(data: bytes) -> tuple[str, ...]:
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    symbols = table.iter_symbols() if isinstance(table, SymbolTableSection) else ()
    defined = (s for s in symbols if s["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT"))
    return tuple(symbol.name for symbol in defined if isinstance(symbol["st_shndx"], int))


def sections_of_object(path: Path) -> Iterator[tuple[str, int, bool, bool]]:
    """Name, size, whether in flash and whether in RAM, of each section of the object file `path`."""
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            flags = section["sh_flags"]
            if flags & SH_FLAGS.SHF_ALLOC and section["sh_size"]:
                stored = section["sh_type"] != "SHT_NOBITS"
                yield section.name, section["sh_size"], stored, bool(flags & SH_FLAGS.SHF_WRITE)


def measure(elf_path: Path, objects: Mapping[str, Path], rams: Mapping[str, tuple[int, int]]) -> Sizes:
    """Sizes of the linked firmware `elf_path`.

    Args:
        elf_path: ELF with a symbol table.
        objects: object file by source (path relative to the project).
        rams: origin and size of each physical RAM; empty on the host.
    """
    with elf_path.open("rb") as file:
        elf = ELFFile(file)
        sections = {i: s for i, s in enumerate(_sections(elf)) if s is not None}
        symbols = tuple(sorted(_symbols(elf, sections, objects), key=lambda s: (-s.flash - s.ram, s.name)))
    flash = sum(s.size for s in sections.values() if s.in_flash)
    used = [s for s in sections.values() if s.in_ram and s.size]
    low = min((s.address for s in used), default=0)
    ram = max((s.address + s.size for s in used), default=0) - low if rams else sum(s.size for s in used)
    stack = sum(s.size for s in used if s.name == ".stack")
    arena = sum(s.size for s in used if s.name == ".arena")
    return Sizes(
        flash_bytes=flash,
        ram_bytes=ram,
        flash_by_group=_by_group({}, symbols, "flash", flash),
        ram_by_group=_by_group({"stack": stack, "arena": arena}, symbols, "ram", ram),
        ram_by_memory=_by_memory(used, rams),
        arena_by_memory={
            name: count for name, count in _by_memory([s for s in used if s.name == ".arena"], rams).items() if count
        },
        symbols=symbols,
    )


def _sections(elf: ELFFile) -> Iterator[_Section | None]:
    for section in elf.iter_sections():
        flags = section["sh_flags"]
        if not flags & SH_FLAGS.SHF_ALLOC:
            yield None
            continue
        stored = section["sh_type"] != "SHT_NOBITS"
        writable = bool(flags & SH_FLAGS.SHF_WRITE) or not stored
        yield _Section(section.name, section["sh_addr"], section["sh_size"], stored, writable)


def _symbols(elf: ELFFile, sections: Mapping[int, _Section], objects: Mapping[str, Path]) -> Iterator[SymbolSize]:
    """Each address once; a name that several objects define is told apart by the FILE symbol before it."""
    owners = _owners(objects)
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return
    file, seen = "", set()
    for symbol in table.iter_symbols():
        kind = symbol["st_info"]["type"]
        if kind == "STT_FILE":
            file = symbol.name
        section = sections.get(symbol["st_shndx"])
        place = symbol["st_value"] & ~1 if kind == "STT_FUNC" else symbol["st_value"]
        if kind not in ("STT_FUNC", "STT_OBJECT") or section is None or not symbol["st_size"] or place in seen:
            continue
        seen.add(place)
        source = _owner(owners.get(symbol.name, []), file)
        size = symbol["st_size"]
        group = "arena" if section.name == ".arena" else group_of(source)
        yield SymbolSize(symbol.name, source, group, size * section.in_flash, size * section.in_ram)


def _owners(objects: Mapping[str, Path]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for source, path in objects.items():
        for name in symbols_of_object(path):
            owners.setdefault(name, []).append(source)
    return owners


def _owner(candidates: list[str], file: str) -> str:
    if len(candidates) > 1:
        named = [c for c in candidates if c.rsplit("/", 1)[-1] == file.rsplit("/", 1)[-1]]
        exact = [c for c in named if c == file]
        return (exact or named or candidates)[0]
    return candidates[0] if candidates else ""


def _by_group(known: dict[str, int], symbols: tuple[SymbolSize, ...], what: str, total: int) -> dict[str, int]:
    groups = dict.fromkeys(GROUPS, 0) | known
    for symbol in symbols:
        if symbol.group not in known:
            groups[symbol.group] += getattr(symbol, what)
    groups["other"] += total - sum(groups.values())
    return groups


def _by_memory(sections: Sequence[_Section], rams: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    return {name: sum(_overlap(s.address, s.size, *extent) for s in sections) for name, extent in rams.items()}


def _overlap(address: int, size: int, origin: int, extent: int) -> int:
    return max(0, min(address + size, origin + extent) - max(address, origin))
