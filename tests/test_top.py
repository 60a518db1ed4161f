"""What all of tinygen stands on: its errors, its files, its folders, its processes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tinygen import cache, paths
from tinygen.errors import FitError, TinygenError
from tinygen.files import check_new_file, explained, temporary_folder, write_file
from tinygen.processes import Seeds


def test_an_error_says_where_what_and_what_to_do() -> None:
    assert str(TinygenError("is wrong", where="a.tflite", fix="Mend it.")) == "a.tflite: is wrong\nMend it."
    assert str(TinygenError("is wrong")) == "is wrong"
    assert FitError("too large", excess={"FLASH": 12}).excess == {"FLASH": 12} and FitError("too large").excess == {}


def test_what_a_disk_refuses_is_said() -> None:
    full = explained(OSError(errno.ENOSPC, "No space left on device"), Path("out"))
    assert str(full) == "out: cannot be written (No space left on device)\nFree some space there."
    forbidden = explained(OSError(errno.EACCES, "Permission denied", "out"))
    assert str(forbidden) == "out: cannot be written (Permission denied)"
    assert explained(OSError(errno.EINVAL, "Invalid argument")) is None


def test_files_are_written_whole(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    write_file(tmp_path / "another", b"first")
    assert sorted(os.listdir(tmp_path)) == ["another", "file", "link"]


def test_temporary_folders_are_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), temporary_folder(tmp_path) as folder:
        (folder / "file").write_text("text")
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_new_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    check_new_file(path)
    path.write_text("mine")
    check_new_file(path, force=True)
    with pytest.raises(TinygenError, match="there is such a file already"):
        check_new_file(path)
    with pytest.raises(TinygenError, match="is a directory"):
        check_new_file(tmp_path, force=True)


def test_training_says_how_far_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    assert Seeds([3, 4], progress=lambda *words: told.append(words)).trained(lambda seed: seed * seed) == [9, 16]
    assert told == [("training", done, 2) for done in (0, 1, 2)]


@pytest.mark.parametrize(
    ("system", "set_to", "folder"),
    [
        ("linux", {}, ".cache"),
        ("linux", {"LOCALAPPDATA": "local"}, ".cache"),
        ("darwin", {}, "Library/Caches"),
        ("win32", {}, "AppData/Local"),
        ("win32", {"LOCALAPPDATA": "local"}, "local"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "xdg"),
    ],
)
def test_the_systems_place_for_caches(
    system: str, set_to: dict[str, str], folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (cache.CACHE_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_to.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache.chosen_folder() == tmp_path / folder / "tinygen"


def test_the_digest_is_of_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path)
    monkeypatch.setattr(paths, "resource", lambda name: tmp_path / name)
    digest, found = paths.code_digest.__wrapped__, set()
    for name, text in (("a.py", "x = 1\n"), ("a.py", "x = 2\n"), ("b.py", "x = 2\n")):
        path = tmp_path / name
        path.write_text(text)
        found.add(digest())
    path.with_suffix(".pyc").write_text("compiled")
    found.add(digest())
    assert len(found) == 3
