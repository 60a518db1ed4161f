"""Disks that cannot be written or are full, and signals: nothing half-written is left, whatever verb writes."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.writing.commands import ARRAY, VERBS, Outcome, everything, folder_verbs, host

READ_ONLY = (errno.EROFS, "Read-only file system")
FULL = (errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("again", [False, True])
def test_read_only(
    tinygen: Callable[..., Outcome],
    model: Path,
    tmp_path: Path,
    built: Path,
    verb: str,
    again: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operating system says so before anything runs; a new folder is no other than one that is there."""
    place = tmp_path / "read-only"
    place.mkdir()
    out = place / "out"
    if again:
        out.mkdir()
    access = os.access

    def denied(path: Any, mode: int) -> bool:
        return not (mode & os.W_OK and Path(path).is_relative_to(place)) and access(path, mode)

    monkeypatch.setattr(os, "access", denied)
    tinygen(*folder_verbs(built, model, out)[verb]).refuses("cannot be written (")
    assert everything(tmp_path).keys() == {"model.tflite", ARRAY}


def test_mounted_read_only(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path, built: Path) -> None:
    """The same on a file system that is."""
    place = tmp_path / "mount"
    with mounted(place, "ro") as problem:
        if problem:
            pytest.skip(f"needs a tmpfs: {problem}")
        for verb in VERBS:
            done = tinygen(*folder_verbs(built, model, place / "out")[verb])
            done.refuses("cannot be written (Read-only file system)")
        run = ("run", built, "--inputs", tmp_path / ARRAY, "--outputs", place / "y.npy")
        tinygen(*run).refuses("cannot be written (Read-only file system)")


def test_a_disk_that_is_full(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path, built: Path) -> None:
    """Of some kilobytes: what fits is not left, and an earlier build is whole."""
    place = tmp_path / "mount"
    with mounted(place, "size=120k") as problem:
        if problem:
            pytest.skip(f"needs a tmpfs: {problem}")
        tinygen(*host(model, "--out", place / "out")).refuses("cannot be written (No space left")
        assert list(place.iterdir()) == []
        (place / "filling").write_bytes(b"x" * 116_000)
        for verb in ("hil", "farm"):
            tinygen(*folder_verbs(built, model, place / "out")[verb]).refuses("cannot be written (No space left")
            assert [path.name for path in place.iterdir()] == ["filling"]
        (place / "more").write_bytes(b"x" * 4000)
        run = ("run", built, "--inputs", tmp_path / ARRAY, "--outputs", place / "y.npy")
        tinygen(*run).refuses("cannot be written (No space left")
    with mounted(place, "size=400k") as problem:
        out = place / "out"
        assert tinygen(*host(model, "--out", out)).code == 0
        before = everything(out)
        (place / "filling").write_bytes(b"x" * (shutil.disk_usage(place).free - 40_000))
        tinygen(*host(model, "--out", out)).refuses("out: cannot be written (No space left on device)")
        assert everything(out) == before and sorted(os.listdir(place)) == ["filling", "out"]


class mounted:
    """A tmpfs, where this user may mount one; gives the reason where not."""

    def __init__(self, place: Path, options: str) -> None:
        self.place, self.options = place, options

    def __enter__(self) -> str:
        self.place.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", str(self.place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        self.is_there = done.returncode == 0
        return "" if self.is_there else done.stderr.strip()

    def __exit__(self, *error: object) -> None:
        if getattr(self, "is_there", False):
            subprocess.run(["umount", str(self.place)], check=True)


def fail_writing(monkeypatch: pytest.MonkeyPatch, place: Path, after: int, error: tuple[int, str]) -> list[Path]:
    """Has the write number `after` below `place`, and all later ones, fail; gives the files that were written."""
    written: list[Path] = []
    opened = io.open

    def full(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if isinstance(file, str | Path) and set(mode) & set("wax") and Path(file).is_relative_to(place):
            written.append(Path(file))
            if len(written) > after:
                raise OSError(*error)  # as of a write: without the file's name
        return opened(file, mode, *more, **named)

    monkeypatch.setattr(io, "open", full)
    monkeypatch.setattr("builtins.open", full)
    return written


@pytest.mark.parametrize(
    ("verb", "error"), [("build", FULL), ("build", READ_ONLY), ("hil", FULL), ("farm", FULL), ("run", READ_ONLY)]
)
def test_writing_fails(
    tinygen: Callable[..., Outcome],
    model: Path,
    tmp_path: Path,
    built: Path,
    verb: str,
    error: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the first file, in the middle and at the last: where an earlier one stands, it is whole."""
    place = tmp_path / "place"
    place.mkdir()
    out = place / ("out.npy" if verb == "run" else "out")
    run = ("run", built, "--inputs", tmp_path / ARRAY, "--force", "--outputs", out)
    command = run if verb == "run" else folder_verbs(built, model, out)[verb]
    assert tinygen(*command).code == 0  # from here on the compiler has nothing to do
    before = {}
    for there in (False, True):
        if not there:
            shutil.move(out, tmp_path / "kept")
        with monkeypatch.context() as patch:
            files = fail_writing(patch, place, 10**6, error)
            assert tinygen(*command).code == 0
        before, count = everything(place), len(files)
        assert count
        for after in sorted({0, count // 2, count - 1}):
            if not there:
                shutil.move(out, tmp_path / f"kept{after}")
            with monkeypatch.context() as patch:
                fail_writing(patch, place, after, error)
                tinygen(*command).refuses(f"{out}: cannot be written ({error[1]})")
            assert everything(place) == (before if there else {}) and not list(place.glob(".*"))
            if not there:
                shutil.move(tmp_path / f"kept{after}", out)


def test_a_tg_file_from_python(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygen.errors import TinygenError
    from tinygen.frontends.load import load_model
    from tinygen.frontends.tg import save_tg

    path = tmp_path / "place/model.tg"
    path.parent.mkdir()
    save_tg(load_model(model), path)
    before = everything(path.parent)
    with monkeypatch.context() as patch:
        fail_writing(patch, path.parent, 0, FULL)
        with pytest.raises(TinygenError, match=r"model\.tg: cannot be written \(No space left on device\)"):
            save_tg(load_model(model), path)
    assert everything(path.parent) == before and os.listdir(path.parent) == ["model.tg"]


@pytest.mark.parametrize(("number", "python"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGHUP, True)])
def test_signals_leave_nothing(model: Path, tmp_path: Path, number: signal.Signals, python: bool) -> None:
    """While the compiler runs: nothing beside the target, nothing in the folder for temporary files."""
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    call = f"build(Path({str(model)!r}), Path({str(out)!r}), BuildOptions(board='host'))"
    arguments = [str(part) for part in host(model, "--out", out)]
    main = f"import sys; sys.argv[1:] = {arguments}; from tinygen.cli import main"
    code = [
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)",
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)",  # which nohup has ignored
        "import tinygen.verbs.build as verb; from tinygen.verbs.build import BuildOptions, build",
        "from pathlib import Path",
        # Instead of a compiler, whose time nobody knows.
        "verb.build_elf = lambda *_: (print('compiling', flush=True), time.sleep(60))",
        call if python else f"{main}; main()",
    ]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join(code)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"compiling\n"
    assert list(tmp_path.glob(".tinygen-*"))
    process.send_signal(number)
    process.communicate(timeout=30)
    if number != signal.SIGINT:
        assert process.returncode == -number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tflite", "tmp", ARRAY]
    assert list(temporary.iterdir()) == []
