"""Nothing of the user's is deleted or overwritten, and nothing half-written is left, whatever verb writes."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.streaming_models import SMALL
from tinygen.cli import main
from tinygen.targets.toolchain import build_elf

ARRAY = "x.npy"


class Outcome:
    """What a command left: its exit status, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, " ".join(err.split())

    def refuses(self, *words: str) -> None:
        """One clear line (and what to do), exit 1."""
        assert self.code == 1, self
        assert "Traceback" not in self.err and "internal error" not in self.err and self.out == ""
        assert self.err.count("error: ") == 1, self.err
        for word in words:
            assert word in self.err, (word, self.err)

    def __repr__(self) -> str:
        return f"exit {self.code}: {self.err}"


@pytest.fixture
def tinygen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "2000")
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def compiled() -> dict[str, Any]:
    """Results of the compiler by what was compiled, so that a project is compiled once."""
    return {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch, compiled: dict[str, Any]) -> None:
    def build(project: Any, toolchain: Any) -> Any:
        key = (project.directory / "app_model.c").read_text()
        elf = project.directory / "firmware.elf"
        if key not in compiled:
            result = build_elf(project, toolchain)
            compiled[key] = (result, elf.read_bytes())
        result, content = compiled[key]
        elf.write_bytes(content)
        elf.chmod(0o755)
        return type(result)(elf, None, *(getattr(result, n) for n in ("toolchain", "toolchain_version", "sizes")))

    monkeypatch.setattr("tinygen.verbs.build.build_elf", build)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(SMALL["accumulator"]())
    np.save(tmp_path / ARRAY, np.zeros(first_shape(path), np.int8))
    return path


def first_shape(path: Path) -> tuple[int, ...]:
    from tinygen.frontends.load import load_model

    graph = load_model(path)
    return (2, *graph.tensors[graph.inputs[0]].shape)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def host(*arguments: str | Path) -> tuple[str | Path, ...]:
    return ("build", *arguments, "--board", "host")


def test_a_browser_extension_survives(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "extension"
    (out / ".git").mkdir(parents=True)
    (out / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (out / "manifest.json").write_text(json.dumps({"manifest_version": 3, "name": "extension", "version": "1.0"}))
    before = everything(out)
    for force in ((), ("--force",)):
        tinygen(*host(model, "--out", out), *force).refuses("extension: holds files that are not", ".git/HEAD")
    assert everything(out) == before


def test_what_was_added_to_a_build_survives_a_rebuild(
    tinygen: Callable[..., Outcome], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert tinygen(*host(model, "--out", out)).code == 0
    mine = {".git/HEAD": b"ref", "my_driver.c": b"int mine;", "model/notes.md": b"mine", "hil/todo.txt": b"mine"}
    for name, data in mine.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
    (out / "model/leftover").mkdir()
    model.write_bytes(SMALL["delay_line"]())
    assert tinygen(*host(model, "--out", out, "--name", "other")).code == 0
    assert {name: (out / name).read_bytes() for name in mine} == mine and (out / "model/leftover").is_dir()
    assert (out / "model/other.c").is_file() and not (out / "model/model.c").exists()
    listed = json.loads((out / "manifest.json").read_text())["files"]
    assert listed.keys() == everything(out).keys() - mine.keys() - {"manifest.json"}


def test_changed_files_need_force(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tinygen(*host(model, "--out", out)).code == 0
    before = everything(out)
    for name in ("model/model.c", "Makefile", "report.html"):
        (out / name).write_text("mine")
        tinygen(*host(model, "--out", out)).refuses(f"{out / name}: has been changed", "--force")
        assert everything(out) == before | {name: b"mine"}
        (out / name).write_bytes(before[name])
    (out / "Makefile").write_text("mine")
    assert tinygen(*host(model, "--out", out, "--force")).code == 0
    assert everything(out) == before


def test_a_file_of_the_users_where_a_new_one_would_go(
    tinygen: Callable[..., Outcome], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert tinygen(*host(model, "--out", out)).code == 0
    (out / "model/other.c").write_text("int mine;")
    before = everything(out)
    for force in ((), ("--force",)):
        tinygen(*host(model, "--out", out, "--name", "other", *force)).refuses("model/other.c: stands where")
    assert everything(out) == before


@pytest.mark.parametrize("place", ["here", "link", "blank", "parents", "model in it"])
def test_places(
    tinygen: Callable[..., Outcome], model: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is built twice, and works."""
    out = {"blank": tmp_path / "my project", "parents": tmp_path / "a/b/out"}.get(place, tmp_path / "out")
    source = model
    for _ in range(2):
        assert tinygen(*host(source, "--out", "." if Path.cwd() == out else out)).code == 0
        if place == "here":
            monkeypatch.chdir(out)
        if place == "link" and not out.is_symlink():
            out.rename(tmp_path / "real")
            out.symlink_to("real")
        source = out / "model.tg" if place == "model in it" else model
    assert out.is_symlink() == (place == "link")
    assert tinygen("run", out, "--inputs", tmp_path / ARRAY, "--json").code == 0
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("file", "file: is a file"),
        ("file/below", "file: is a file"),
        ("loop", "loop: "),
        ("x" * 300, "cannot be written (File name too long)"),
        (".", "holds files that are not an earlier build, file for one"),
        ("/proc/none/out", "/proc"),
    ],
)
def test_no_places(
    tinygen: Callable[..., Outcome], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, words: str
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    tinygen(*host(model, "--out", out)).refuses(words)
    assert sorted(os.listdir()) == ["file", "loop"] and Path("file").read_text() == "mine"


def test_reports_of_hil(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path) -> None:
    """`hil --out` is as careful; a rebuild keeps what it found."""
    built, out = tmp_path / "built", tmp_path / "out"
    assert tinygen(*host(model, "--out", built)).code == 0
    out.mkdir()
    (out / "report.html").write_text("mine")
    hil = ("hil", built, "--limit", "1")
    for force in ((), ("--force",)):
        tinygen(*hil, "--out", out, *force).refuses("out: holds files that are not", "report.html")
    assert everything(out) == {"report.html": b"mine"}
    tinygen(*hil, "--out", built).refuses("built: holds files that are not an earlier hil report")
    assert tinygen(*hil).code == 0 and tinygen(*hil).code == 0
    (built / "hil/report.html").write_text("mine")
    (built / "hil/notes.txt").write_text("mine")
    tinygen(*hil).refuses("hil/report.html: has been changed")
    assert (built / "hil/report.html").read_text() == "mine"
    assert tinygen(*hil, "--force").code == 0
    assert "<html" in (built / "hil/report.html").read_text() and (built / "hil/notes.txt").read_text() == "mine"
    assert tinygen(*host(model, "--out", built)).code == 0
    assert (built / "hil/hil-report.json").is_file()


def test_files_that_are_named(tinygen: Callable[..., Outcome], model: Path, tmp_path: Path) -> None:
    """A file under the name that the user gave stays, unless forced; JUnit XML of our own is replaced."""
    built = tmp_path / "built"
    assert tinygen(*host(model, "--out", built)).code == 0
    run = ("run", built, "--inputs", tmp_path / ARRAY, "--json", "--outputs")
    for name in ("y.npy", "y.npz"):
        assert tinygen(*run, tmp_path / name).code == 0
        (tmp_path / name).write_text("mine")
        again = tinygen(*run, tmp_path / name)
        assert again.code == 1 and "there is such a file already" in json.loads(again.out)["error"]["what"]
        assert (tmp_path / name).read_text() == "mine"
        assert tinygen(*run, tmp_path / name, "--force").code == 0 and np.load(tmp_path / name) is not None
    tinygen("run", built, "--inputs", tmp_path / ARRAY, "--outputs", tmp_path).refuses("is a directory")
    junit = ("hil", built, "--limit", "1", "--junit", tmp_path / "ci.xml")
    assert tinygen(*junit).code == 0 and tinygen(*junit).code == 0
    (tmp_path / "ci.xml").write_text("<testsuites><testsuite name='pytest'/></testsuites>")
    tinygen(*junit).refuses("ci.xml: there is such a file already", "--force")
    wav = tmp_path / "mine.wav"
    wav.write_bytes(b"RIFF")
    demo = ("demo", "wakeword", "--board", "host", "--out", tmp_path / "w", "--save-wav", wav)
    tinygen(*demo).refuses("mine.wav: there is such a file already", "--force")
    assert wav.read_bytes() == b"RIFF" and not (tmp_path / "w").exists()


def folder_verbs(built: Path, model: Path, out: Path) -> dict[str, Sequence[str | Path]]:
    """Every command that writes a folder; the training ones stop before they train."""
    return {
        "build": host(model, "--out", out),
        "hil": ("hil", built, "--limit", "1", "--out", out),
        "farm": ("farm", built, "--limit", "1", "--port", "emulated", "--out", out),
        "bench": ("bench", model, "--board", "cortex-m4", "--kernels", "tinygen", "--jobs", "1", "--out", out),
        "demo": ("demo", "--board", "host", "--digits", "1", "--out", out),
        "demo wakeword": ("demo", "wakeword", "--board", "host", "--out", out),
        "train": ("demo", "wakeword", "--board", "host", "--train", "hey computer", "--quick", "--out", out),
        "classify": ("demo", "classify", "--board", "host", "--choices", "int8", "--epochs", "1", "--out", out),
    }


VERBS = ("build", "hil", "farm", "bench", "demo", "demo wakeword", "train", "classify")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tinygen.verbs.build import BuildOptions, build

    folder = tmp_path_factory.mktemp("built")
    (folder / "model.tflite").write_bytes(SMALL["accumulator"]())
    return build(folder / "model.tflite", folder / "out", BuildOptions(board="host"), profile=False).folder


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "classify"])
def test_a_folder_that_is_not_ours(
    tinygen: Callable[..., Outcome], model: Path, tmp_path: Path, built: Path, verb: str
) -> None:
    """With the names that the verb itself writes."""
    out = tmp_path / "out"
    for name in (
        "manifest.json",
        "hil-report.json",
        "bench.json",
        "farm-report.json",
        "report.json",
        "report.html",
        "outputs.npz",
        "model.tg",
        "dataset/photo.jpg",
        ".git/HEAD",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    before = everything(out)
    for force in ((), ("--force",)):
        done = tinygen(*folder_verbs(built, model, out)[verb], *force)
        done.refuses("out: holds files that are not an earlier ", "for one")
    assert everything(out) == before


def test_a_data_set_that_is_not_ours(tinygen: Callable[..., Outcome], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "dataset").mkdir(parents=True)
    (out / "dataset/photo.jpg").write_text("mine")
    train = ("demo", "wakeword", "--board", "host", "--train", "hey computer", "--quick", "--out", out)
    tinygen(*train).refuses("out: holds files that are not an earlier training, dataset/photo.jpg for one")


@pytest.mark.long
def test_networks_that_are_not_ours(tinygen: Callable[..., Outcome], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "networks").mkdir(parents=True)
    (out / "networks/int8.tg").write_text("mine")
    classify = ("demo", "classify", "--board", "host", "--choices", "int8", "--epochs", "1", "--out", out)
    for force in ((), ("--force",)):
        tinygen(*classify, *force).refuses("networks/int8.tg: stands where")
    assert everything(out) == {"networks/int8.tg": b"mine"}


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
        "import tinygen.verbs.build as verb; from tinygen.verbs.build import *",
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
