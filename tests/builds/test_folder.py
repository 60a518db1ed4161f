"""Folders that are written again: what is ours is replaced, whole or not at all; nothing else is touched."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinygen.builds import folder as module
from tinygen.builds.folder import DIGEST, FILES, UNFINISHED, Folder, Record, listed_in, seal
from tinygen.errors import TinygenError

RECORD = Record("record.json", "report")
OLD = {"a.c": b"old a", "deep/b.h": b"old b", "gone/c.h": b"old c"}
NEW = {"a.c": b"new a", "deep/b.h": b"new b", "fresh/d.h": b"new d"}


def write(out: Path, files: dict[str, bytes], *, force: bool = False, **content: Any) -> None:
    Folder(out, RECORD, force=force).write({"what": "test", **content}, files)


def held(out: Path) -> dict[str, bytes]:
    """All files of a folder but the record, and empty folders."""
    found = {
        p.relative_to(out).as_posix(): b"" if p.is_dir() else p.read_bytes()
        for p in out.rglob("*")
        if not p.is_dir() or not any(p.iterdir())
    }
    return {name: data for name, data in found.items() if name != RECORD.name}


@pytest.mark.parametrize("there", ["nothing", "empty", "parents", "blank", "link", "hanging link", "here"])
def test_first_and_second_time(tmp_path: Path, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is, the second one replaces the first one, and leaves what was added."""
    out = {"parents": tmp_path / "x/y/out", "blank": tmp_path / "my out", "here": Path()}.get(there, tmp_path / "out")
    real = out
    if there in ("empty", "here"):
        (tmp_path / "out").mkdir()
        monkeypatch.chdir(tmp_path / "out")
    if there in ("link", "hanging link"):
        real = tmp_path / "real"
        (tmp_path / "out").symlink_to("real")
        if there == "link":
            real.mkdir()
    write(out, OLD)
    assert held(real) == OLD
    mine = {".git/HEAD": b"ref", "deep/my_driver.c": b"mine", "notes/empty": b""}
    for name, data in mine.items():
        (real / name).parent.mkdir(exist_ok=True)
        (real / name).write_bytes(data)
    write(out, NEW)
    assert held(real) == NEW | mine
    assert set(listed_in(real / RECORD.name) or ()) == set(NEW)
    assert out.is_symlink() == ("link" in there)
    assert not list(tmp_path.rglob(".tinygen-*"))


def test_a_record_says_what_it_was_given(tmp_path: Path) -> None:
    write(tmp_path, OLD, figures=[1, 2.5, None], nested={"x": "ü"})
    content = json.loads((tmp_path / RECORD.name).read_text())
    assert content.pop(FILES).keys() == OLD.keys() and len(content.pop(DIGEST)) == 64
    assert content == {"what": "test", "figures": [1, 2.5, None], "nested": {"x": "ü"}}


def foreign_extension(out: Path) -> str:
    """A browser extension has a manifest.json, too; some have one that lists files."""
    (out / ".git").mkdir(parents=True)
    (out / ".git/HEAD").write_text("ref: refs/heads/main")
    (out / RECORD.name).write_text(json.dumps({"name": "extension", "files": {"popup.js": "0" * 64}}))
    return ".git/HEAD"


def edited_record(out: Path) -> str:
    write(out, OLD)
    content = json.loads((out / RECORD.name).read_text())
    content[FILES]["thesis.txt"] = module.sha256_of(b"years of work")
    (out / "thesis.txt").write_text("years of work")
    (out / RECORD.name).write_text(json.dumps(content))
    return "a.c"


def older_record(out: Path) -> str:
    write(out, OLD)
    (out / RECORD.name).write_text(json.dumps({"build_id": "1234"}))
    return "a.c"


def one_file(out: Path) -> str:
    out.mkdir()
    (out / "report.html").write_text("mine")
    return "report.html"


def empty_folder(out: Path) -> str:
    (out / "photos").mkdir(parents=True)
    return "photos"


@pytest.mark.parametrize("prepare", [foreign_extension, edited_record, older_record, one_file, empty_folder])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_is_not_ours(tmp_path: Path, prepare: Callable[[Path], str], force: bool) -> None:
    """Refused, forced or not; the first file is named, and nothing has changed."""
    out = tmp_path / "out"
    first = prepare(out)
    shutil.copytree(out, tmp_path / "before")
    for action in (Folder(out, RECORD, force=force).check, lambda: write(out, NEW, force=force)):
        with pytest.raises(TinygenError, match=f"not an earlier report, {first} for one"):
            action()
    assert held(out) == held(tmp_path / "before")


@pytest.mark.parametrize("name", ["../x.txt", "/x.txt", "deep/../../x.txt", "", "..\\x.txt"])
def test_a_record_does_not_reach_outside(tmp_path: Path, name: str) -> None:
    """One with the right digest, made by somebody who wants a file of the user's removed."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "x.txt").write_text("mine")
    (out / RECORD.name).write_bytes(seal({}, {name: module.sha256_of(b"mine")}))
    with pytest.raises(TinygenError, match="not an earlier report"):
        write(out, NEW, force=True)
    assert (tmp_path / "x.txt").read_text() == "mine"


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    """A folder of ours that somebody has replaced by a link: what lies there is theirs."""
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    write(out, OLD)
    (out / "deep").rename(theirs)
    (out / "deep").symlink_to(theirs)
    for force, words in ((False, "has been changed"), (True, "stands where the report has a file")):
        with pytest.raises(TinygenError, match=words):
            write(out, NEW, force=force)
    assert (theirs / "b.h").read_bytes() == OLD["deep/b.h"] and held(out)["a.c"] == OLD["a.c"]


def test_changed_files_need_force(tmp_path: Path) -> None:
    """Forced, one that the new ones replace is replaced, and one that nothing replaces stays."""
    write(tmp_path, OLD)
    for name in ("a.c", "gone/c.h"):
        (tmp_path / name).write_bytes(b"changed")
        with pytest.raises(TinygenError, match=rf"{name}: has been changed since tinygen wrote it\n.*force"):
            write(tmp_path, NEW)
        (tmp_path / name).write_bytes(OLD[name])
    (tmp_path / "a.c").write_bytes(b"changed")
    (tmp_path / "gone/c.h").write_bytes(b"changed")
    write(tmp_path, NEW, force=True)
    assert held(tmp_path) == NEW | {"gone/c.h": b"changed"}
    (tmp_path / "deep/b.h").unlink()  # a file that is missing is none that could be lost
    write(tmp_path, NEW)
    assert held(tmp_path) == NEW | {"gone/c.h": b"changed"}


@pytest.mark.parametrize("name", ["fresh/d.h", "fresh"])
def test_a_file_in_the_way(tmp_path: Path, name: str) -> None:
    """Not ours: also force does not replace it."""
    write(tmp_path, OLD)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(TinygenError, match=f"{name}: stands where the report has a file of its own"):
            write(tmp_path, NEW, force=force)
    assert held(tmp_path) == OLD | {name: b"mine"}


def test_records_that_share_a_folder(tmp_path: Path) -> None:
    """Each replaces its own files; neither needs the folder to be empty."""
    (tmp_path / "mine.txt").write_text("mine")
    for data in (b"1", b"2"):
        for one in "ab":
            Folder(tmp_path, Record(f"{one}.json", "network", shares=True)).write({}, {f"{one}.tg": data})
    assert held(tmp_path).keys() == {"mine.txt", "a.json", "a.tg", "b.json", "b.tg"}
    place = Folder(tmp_path, Record("c.json", "network", shares=True), force=True)
    (tmp_path / "c.tg").write_text("mine")
    with pytest.raises(TinygenError, match=r"c\.tg: stands where"):
        place.write({}, {"c.tg": b"new"})
    assert (tmp_path / "c.tg").read_text() == "mine" and not (tmp_path / "c.json").exists()


class Stopped(BaseException):
    """Something that ends the program in the middle."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, BaseException], None]]:
    """Has the nth rename from now on fail."""
    replace = os.replace

    def arm(calls: int, error: BaseException) -> None:
        left = iter(range(calls))

        def failing(source: Path, target: Path) -> None:
            if next(left, None) is None:
                monkeypatch.setattr(os, "replace", replace)  # once: undoing it works
                raise error
            replace(source, target)

        monkeypatch.setattr(os, "replace", failing)

    yield arm
    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("again", [False, True])
def test_undone_where_a_rename_fails(tmp_path: Path, failing: Callable[..., None], again: bool) -> None:
    """After each rename that there is: on full disks, and where a signal comes."""
    before = OLD if again else {}
    tries = 0
    for tries in range(100):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if again:
            write(tmp_path, OLD)
        record = (tmp_path / RECORD.name).read_bytes() if again else b""
        full = tries % 2 == 0
        failing(tries, OSError(errno.ENOSPC, "No space left on device") if full else Stopped())
        try:
            write(tmp_path, NEW)
            break
        except (TinygenError, Stopped) as error:
            assert not full or "cannot be written (No space left on device)" in str(error)
        assert held(tmp_path) == before
        assert ((tmp_path / RECORD.name).read_bytes() if again else b"") == record
    assert tries == len(NEW) + 2 + again * len(OLD)
    assert held(tmp_path) == NEW


def test_killed_between_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there then is known to be ours, and the next run takes up from there."""
    replace = os.replace
    for calls in range(1, len(OLD) + len(NEW) + 2):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        write(tmp_path, OLD)
        left = iter(range(calls))

        def killed(source: Path, target: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Stopped
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            patch.setattr(module._Swap, "_undo", lambda swap, had: None)
            patch.setattr("tinygen.files.shutil.rmtree", lambda *_, **__: None)  # a temporary folder stays behind
            with pytest.raises(Stopped):
                write(tmp_path, NEW)
        assert json.loads((tmp_path / RECORD.name).read_text())[UNFINISHED]
        (tmp_path / "mine").write_text("mine")
        write(tmp_path, NEW)
        here = {name: data for name, data in held(tmp_path).items() if not name.startswith(".tinygen-")}
        assert here == NEW | {"mine": b"mine"}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    """Whatever is written, added, changed and removed in any order: what the user wrote is there to the end."""
    rng = random.Random(seed)
    names = ["a", "b", "c/a", "c/b", "c/d/e", "f"]
    theirs: dict[str, bytes] = {}
    for step in range(40):
        name, data = rng.choice(names), f"{step}".encode()
        action = rng.choice(["write", "write", "user writes", "user removes"])
        if action == "user writes":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
            theirs[name] = data
        elif action == "user removes":
            (tmp_path / name).unlink(missing_ok=True)
            theirs.pop(name, None)
        else:
            wanted = {n: data + n.encode() for n in rng.sample(names, rng.randint(0, 4))}
            clash = theirs.keys() & (wanted.keys() | (listed_in(tmp_path / RECORD.name) or {}).keys())
            ours = listed_in(tmp_path / RECORD.name) is not None
            try:
                write(tmp_path, wanted)
                assert not clash and (ours or not theirs)
            except TinygenError:
                assert clash or not ours
        assert {n: (tmp_path / n).read_bytes() for n in theirs} == theirs


def test_known_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/below/it"):
        with pytest.raises(TinygenError, match="file: is a file"):
            Folder(out, RECORD).check()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TinygenError, match="loop"):
        Folder(tmp_path / "loop", RECORD).check()
    with pytest.raises(TinygenError, match="File name too long"):
        Folder(tmp_path / ("x" * 300), RECORD).check()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(TinygenError, match="cannot be written"):
        Folder(tmp_path / "new/out", RECORD).check()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["file", "loop"]
