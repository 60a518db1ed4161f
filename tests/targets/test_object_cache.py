"""Objects kept by their contents: the same bytes with and without them, and never one that no longer fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.targets.tools import requires_tool
from tinygen import cache as caches
from tinygen.errors import ToolchainError
from tinygen.targets.boards import load_board
from tinygen.targets.emulator.symbols import Symbols
from tinygen.targets.toolchain import HostCode, build_flat, find_toolchain
from tinygen.targets.toolchains import compiling
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.toolchains.compiling import compile_all
from tinygen.targets.toolchains.gcc import HostCc
from tinygen.targets.toolchains.includes import read_dependencies
from tinygen.targets.toolchains.objects import ObjectCache
from tinygen.verbs.doctor import examine

TWICE = '#include "twice.h"\nint f(int x)\n{\n    return TWICE(x);\n}\n'
pytestmark = requires_tool("cc")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectCache:
    """An empty cache of its own, that builds use."""
    cache = ObjectCache(tmp_path / "objects")
    monkeypatch.setattr(compiling, "object_cache", lambda: cache)
    return cache


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that a compiler was called for."""
    calls: list[str] = []
    run = Toolchain.run

    def counted(self: Toolchain, arguments: Sequence[str], cwd: Path) -> object:
        calls.extend(source for flag, source in pairwise(arguments) if flag == "-c")
        return run(self, arguments, cwd)

    monkeypatch.setattr(Toolchain, "run", counted)
    return calls


def compiled(folder: Path, flags: Sequence[str] = ("-Iinclude",), source: str = "a.c", optimize: str = "-O1") -> bytes:
    """The object of a source, built by the compiler of this computer."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return compile_all(HostCc("cc"), folder, [source], flags, out, optimize)[source].read_bytes()


def sources(folder: Path) -> Path:
    """A source and its header."""
    (folder / "include").mkdir(parents=True)
    (folder / "a.c").write_text("int f(int x);\n" + TWICE)
    (folder / "include/twice.h").write_text("#include <stdint.h>\n#define TWICE(x) (2 * (x))\n")
    return folder


def entries(cache: ObjectCache) -> list[Path]:
    return sorted(cache.folder.glob("*/*"))


@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))])
def test_the_same_program_with_and_without_it_in_any_folder(
    toolchain: str, cache: ObjectCache, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole firmware: test_toolchain.py, test_the_same_project_gives_the_same_bytes_anywhere."""

    def built(folder: Path) -> Path:
        code = HostCode(sources(folder), ("a.c",), ("include",))
        chosen = find_toolchain(toolchain, load_board("f746zg"))
        return build_flat(code, folder / "a.elf", chosen, entries=["f"])

    first = built(tmp_path / "a").read_bytes()
    second = built(tmp_path / "somewhere/else")
    assert sorted(calls) == ["a.c", "firmware/libc/string.c"] and len(entries(cache)) == 2
    monkeypatch.setattr(compiling, "object_cache", lambda: None)
    assert built(tmp_path / "c").read_bytes() == second.read_bytes() == first
    assert len(calls) == 4 and str(tmp_path).encode() not in first
    with second.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        names = {unit.get_top_DIE().get_full_path() for unit in dwarf.iter_CUs()}
    assert "a.c" in {name.removeprefix("./") for name in names} <= {"a.c", "firmware/libc/string.c"}
    symbols = Symbols(second)
    assert symbols.line(symbols.address("f") & ~1) in [f"a.c:{line}" for line in (3, 4, 5, 6)]


def test_what_an_object_depends_on(cache: ObjectCache, calls: list[str], tmp_path: Path) -> None:
    """Each change compiles again, and each way back does not."""
    folder = sources(tmp_path / "a")
    first = compiled(folder)
    assert compiled(folder) == first and len(calls) == 1
    assert compiled(folder, ["-Iinclude", "-DX=1"]) and len(calls) == 2
    assert compiled(folder, optimize="-O0") != first and len(calls) == 3
    header = (folder / "include/twice.h").read_text()
    (folder / "include/twice.h").write_text(header.replace("2 *", "3 *"))
    assert compiled(folder) != first and len(calls) == 4
    (folder / "include/twice.h").write_text(header)
    assert compiled(folder) == first and len(calls) == 4
    # A header in a folder that is searched earlier.
    (folder / "twice.h").write_text("#define TWICE(x) (4 * (x))\n")
    assert compiled(folder) != first and len(calls) == 5
    (folder / "twice.h").unlink()
    # The same text under another name: debug information says which.
    (folder / "b.c").write_text((folder / "a.c").read_text())
    assert compiled(folder, source="b.c") != first and len(calls) == 6
    other = sources(tmp_path / "b")
    assert compiled(other) == first and len(calls) == 6


def test_another_compiler_is_another_object(
    cache: ObjectCache, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sources(tmp_path / "a")
    compiled(folder)
    monkeypatch.setattr(HostCc, "identity", lambda self: "a later version")
    compiled(folder)
    assert len(calls) == 2
    monkeypatch.setattr(HostCc, "identity", lambda self: None)
    compiled(folder)
    assert len(calls) == 3 and len(entries(cache)) == 2
    toolchain = find_toolchain("zig", load_board("f746zg"))
    assert "zig" in (toolchain.identity() or "")
    assert find_toolchain("zig", load_board("host")).identity() is None


def test_headers_from_outside_are_looked_at_again(
    cache: ObjectCache, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that only the compiler finds: the system's."""
    folder = tmp_path / "a"
    folder.mkdir()
    outside = tmp_path / "system/outside.h"
    outside.parent.mkdir()
    outside.write_text("#define N 1\n")
    monkeypatch.setenv("CPATH", str(outside.parent))
    (folder / "a.c").write_text("#include <outside.h>\nint n = N;\n")
    first = compiled(folder)
    assert compiled(folder) == first and len(calls) == 1
    outside.write_text("#define N 22\n")
    assert compiled(folder) != first and len(calls) == 2
    outside.unlink()
    with pytest.raises(ToolchainError, match=r"outside\.h"):
        compiled(folder)


@pytest.mark.parametrize(
    "text",
    [
        '#define NAME "twice.h"\n#include NAME\nint n = TWICE(1);\n',
        '#/**/include "twice.h"\nint n = TWICE(1);\n',
        '/* */ #include "twice.h"\nint n = TWICE(1);\n',
        '#inc\\\nlude "twice.h"\nint n = TWICE(1);\n',
        '#include /**/ "twice.h"\nint n = TWICE(1);\n',
        "const char *n = __DATE__ __TIME__;\n",
        '#if __has_include("absent.h")\n#include "absent.h"\n#endif\nint n = 1;\n',
    ],
)
def test_what_cannot_be_told_is_not_kept(
    text: str, cache: ObjectCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a list of the compiler's, and without (zig)."""
    folder = sources(tmp_path / "a")
    (folder / "a.c").write_text(text)
    assert compiled(folder) and entries(cache) == []
    monkeypatch.setattr(HostCc, "dependency_flags", lambda self, listed: [])
    assert compiled(folder) and entries(cache) == []
    (folder / "a.c").write_text(TWICE)
    assert compiled(folder) and len(entries(cache)) == 1


def test_flags_that_read_files_are_not_kept(cache: ObjectCache, tmp_path: Path) -> None:
    folder = sources(tmp_path / "a")
    assert compiled(folder, ["-Iinclude", "-include", "stddef.h"]) and entries(cache) == []
    assert compiled(folder, ["-isystem", "include"]) and len(entries(cache)) == 1


def test_a_file_that_changes_while_it_is_compiled(
    cache: ObjectCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sources(tmp_path / "a")
    run = Toolchain.run

    def edited(self: Toolchain, arguments: Sequence[str], cwd: Path) -> object:
        (folder / "a.c").write_text("int g = 1;\n")
        return run(self, arguments, cwd)

    monkeypatch.setattr(Toolchain, "run", edited)
    assert compiled(folder) and entries(cache) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "of another"])
def test_a_damaged_entry_is_compiled_again(damage: str, cache: ObjectCache, calls: list[str], tmp_path: Path) -> None:
    folder = sources(tmp_path / "a")
    first = compiled(folder)
    (entry,) = entries(cache)
    content = entry.read_bytes()
    if damage == "of another":
        compiled(folder, optimize="-O0")
        content = next(path for path in entries(cache) if path != entry).read_bytes()
        calls.pop()
    changed = bytes([content[-1] ^ 1])
    entry.write_bytes({"cut": content[:-9], "flipped": content[:-1] + changed, "emptied": b""}.get(damage, content))
    assert compiled(folder) == first and len(calls) == 2
    assert compiled(folder) == first and len(calls) == 2


def test_an_entry_that_others_may_write_is_compiled_again(cache: ObjectCache, calls: list[str], tmp_path: Path) -> None:
    folder = sources(tmp_path / "a")
    first = compiled(folder)
    (entry,) = entries(cache)
    entry.chmod(0o666)
    assert compiled(folder) == first and len(calls) == 2
    assert entry.stat().st_mode & 0o777 == 0o600
    entry.unlink()
    os.mkfifo(entry)
    assert compiled(folder) == first and len(calls) == 3


def test_wrong_c_is_never_kept(cache: ObjectCache, calls: list[str], tmp_path: Path) -> None:
    folder = sources(tmp_path / "a")
    (folder / "a.c").write_text("int a = b;\n")
    for count in (1, 2):
        with pytest.raises(ToolchainError):
            compiled(folder)
        assert len(calls) == count
    assert entries(cache) == []


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiling, "object_cache", lambda: ObjectCache(tmp_path / "file" / "objects"))
    folder = sources(tmp_path / "a")
    assert compiled(folder) == compiled(folder)


def test_the_oldest_go_first_and_what_is_used_stays(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, limit=16 * 8000)
    data = bytes(900)
    names = [f"a{index:063x}" for index in range(40)]
    for index, name in enumerate(names):
        cache.put(name, data)
        os.utime(tmp_path / "a" / f"{name}.o", (index + 1, index + 1))
        assert cache.get(names[0]) == data
    assert cache.size_bytes() <= 8000 + 1000
    assert cache.get(names[1]) is None and cache.get(names[-1]) == data
    cache.put("b" * 64, bytes(2001))
    assert cache.get("b" * 64) is None  # would leave little room for others


def test_what_a_killed_build_has_left_goes(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    (tmp_path / "a").mkdir()
    for name, changed in ((".new-old", 1.0), (".new-now", None)):
        (tmp_path / "a" / name).write_bytes(b"half")
        if changed:
            os.utime(tmp_path / "a" / name, (changed, changed))
    cache.put("a" * 64, b"x")
    assert {path.name for path in entries(cache)} == {".new-now", "a" * 64 + ".o"}


def test_many_at_once(tmp_path: Path) -> None:
    """Readers find all of an entry or nothing, while others write it and throw it out."""
    names = [f"{index % 4:x}{index:063x}" for index in range(16)]

    def work(seed: int) -> int:
        cache = ObjectCache(tmp_path, limit=16 * 20_000)
        found = 0
        for index in range(120):
            name = names[(seed * 7 + index) % len(names)]
            data = cache.get(name)
            assert data in (None, name.encode() * 40)
            found += data is not None
            cache.put(name, name.encode() * 40)
        return found

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) > 100
    assert not [path for path in entries(ObjectCache(tmp_path)) if path.name.startswith(".")]


def test_lists_of_dependencies(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("/x/a b.o: a.c my\\ file.h \\\n  c$$.h \\#d.h\n")
    assert read_dependencies(tmp_path / "d") == ("a.c", "my file.h", "c$.h", "#d.h")


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv(caches.CACHE_VARIABLE, raising=False)
    assert caches.cache_folder() == tmp_path / "xdg/tinygen"
    monkeypatch.setenv(caches.CACHE_VARIABLE, str(tmp_path / "mine"))
    assert caches.cache_folder() == tmp_path / "mine"
    ObjectCache(tmp_path / "mine/objects").put("a" * 64, bytes(3 << 20))
    ObjectCache(tmp_path / "mine/objects").put("b" * 64, bytes(1 << 20))
    entry = next(entry for entry in examine() if entry["what"] == "object cache")
    assert entry["found"] and entry["version"] == f"4.0 of at most 512 MiB in {tmp_path / 'mine/objects'}"
    monkeypatch.setenv(caches.CACHE_VARIABLE, "off")
    assert caches.cache_folder() == tmp_path / "xdg/tinygen" and not caches.cache_is_on()
    entry = next(entry for entry in examine() if entry["what"] == "object cache")
    assert not entry["found"] and "unset TINYGEN_CACHE" in entry["get"]
