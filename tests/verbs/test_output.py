"""Folders of results: whole or not at all, and never over something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinygen.errors import TinygenError
from tinygen.verbs.output import check_folder, write_folder

NAMES = frozenset(("a.json", "b.html"))
OLD, NEW = {"a.json": b"old", "b.html": b"old"}, {"a.json": b"new", "b.html": b"new"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_folder_and_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    for files in (OLD, NEW):
        write_folder(out, files, "report")
        assert content(out) == files
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced is what it holds: whoever works there still does."""
    monkeypatch.chdir(tmp_path)
    for files in (OLD, NEW):
        write_folder(Path(), files, "report")
        assert content(Path()) == content(tmp_path) == files


def test_a_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    write_folder(tmp_path / "link", NEW, "report")
    assert (tmp_path / "link").is_symlink() and content(tmp_path / "there") == NEW


def test_what_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, OLD, "report")

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TinygenError, match="No space left on device"):
        write_folder(tmp_path, NEW, "report")
    assert content(tmp_path) == OLD


def test_known_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/below/it"):
        with pytest.raises(TinygenError, match="is a file"):
            check_folder(out, NAMES, "report")
    with pytest.raises(TinygenError, match="not an earlier report"):
        check_folder(tmp_path, NAMES, "report")
    (tmp_path / "out/a.json").mkdir(parents=True)
    with pytest.raises(TinygenError, match="not an earlier report"):
        check_folder(tmp_path / "out", NAMES, "report")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(TinygenError, match="must not be written to"):
        check_folder(tmp_path / "new/out", NAMES, "report")
