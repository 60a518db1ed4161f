"""Nothing of the user's is deleted or overwritten, whatever verb writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.writing.commands import ARRAY, VERBS, Outcome, everything, folder_verbs, host
from tests.support.streaming_models import SMALL


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
