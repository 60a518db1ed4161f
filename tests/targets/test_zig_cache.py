"""zig's libraries: none is linked that has changed since zig made it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.targets.tools import requires_package
from tinygen.cache import CACHE_VARIABLE
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_flat, find_toolchain
from tinygen.targets.toolchains import compiling
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.toolchains.zig_cache import ZigLibraries, zig_environment, zig_libraries


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of zig's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return zig_libraries().folder


def made(folder: Path) -> list[Path]:
    """What zig has after it has made a library; it is noted."""
    files = [folder / "o/1/lib.a", folder / "z/source", folder / "h/list"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    assert ZigLibraries(folder).note()
    return files


def look(folder: Path) -> None:
    """As a new process does before its first link."""
    with ZigLibraries(folder).linking():
        pass


def test_where_it_is(folder: Path, tmp_path: Path) -> None:
    """zig has its libraries there, and its objects elsewhere: those that tinygen keeps are `objects.py`'s."""
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    with zig_environment() as environment:
        assert environment["ZIG_GLOBAL_CACHE_DIR"] == str(folder)
        objects = Path(environment["ZIG_LOCAL_CACHE_DIR"])
        assert objects.is_dir() and not objects.is_relative_to(tmp_path)
    assert not objects.exists()


def test_what_is_as_it_was_stays(folder: Path) -> None:
    files = made(folder)
    (folder / "o/2").mkdir()
    (folder / "o/2/new.a").write_text("another process is about to note it")
    files[2].write_text("zig writes its lists anew")
    look(folder)
    assert all(path.is_file() for path in [*files, folder / "o/2/new.a"])


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_changed_library_is_not_linked(damage: str, folder: Path) -> None:
    library, *_ = made(folder)
    if damage == "gone":
        library.unlink()
    else:
        library.write_bytes(b"lib.b" if damage == "flipped" else b"lib")
    look(folder)
    assert list(folder.iterdir()) == []
    made(folder)
    look(folder)
    assert library.is_file()


def test_damaged_notes_say_nothing(folder: Path) -> None:
    made(folder)
    (folder.parent / "zig-libraries.json").write_text('{"o/1/li')
    look(folder)
    assert list(folder.iterdir()) == []


def test_a_library_made_of_changed_sources_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source, _ = made(folder)
    source.write_text("changed")
    calls = 0

    def run(self: Toolchain, arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        nonlocal calls
        calls += 1
        made = folder / "o/2/lib.a"
        made.parent.mkdir(parents=True)
        made.write_text(f"built by call {calls}")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(Toolchain, "run", run)
    zig = find_toolchain("zig", load_board("f746zg"))
    zig.run(["-o", "a.elf"], tmp_path)
    assert calls == 2 and not source.exists()
    assert (folder / "o/2/lib.a").read_text() == "built by call 2"


def test_nothing_is_noted_or_removed_while_another_process_links(folder: Path) -> None:
    """What that one is making is not whole yet."""
    library, *_ = made(folder)
    unfinished = folder / "o/2/lib.a"
    with ThreadPoolExecutor(2) as pool:
        with ZigLibraries(folder).linking():
            unfinished.parent.mkdir()
            unfinished.write_text("half")
            library.write_text("changed")
            others = [pool.submit(ZigLibraries(folder).note), pool.submit(look, folder)]
            assert not wait(others, timeout=0.2).done and unfinished.is_file()
            library.write_text("lib.a")
            unfinished.write_text("whole")
        assert others[0].result(10) and others[1].result(10) is None
    look(folder)
    assert unfinished.read_text() == "whole"


@pytest.mark.long
@requires_package("ziglang")
def test_a_firmware_of_a_damaged_library(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """zig links what it finds, whatever has become of it."""
    monkeypatch.setattr(compiling, "object_cache", lambda: None)
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.c").write_text(
        "double f(double a, double b);\ndouble f(double a, double b)\n{\n    return a / b;\n}\n"
    )
    code = HostCode(project, ("a.c",))

    def built() -> bytes:
        zig = find_toolchain("zig", load_board("f746zg"))
        return build_flat(code, project / "a.elf", zig, entries=["f"]).read_bytes()

    first = built()
    (library,) = folder.glob("o/*/libcompiler_rt.a")
    content = library.read_bytes()
    library.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    zig_libraries()._is_checked = False  # as a new process
    assert built() == first
    assert library.read_bytes() == content
