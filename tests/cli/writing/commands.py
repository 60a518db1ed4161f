"""Commands that write, and what is in the folders that they write to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def folder_verbs(built: Path, model: Path, out: Path) -> dict[str, Sequence[str | Path]]:
    """Every command that writes a folder; the training ones stop before they train."""
    return {
        "build": host(model, "--out", out),
        "export": ("export", model, "--as", "c", "--board", "host", "--out", out),
        "hil": ("hil", built, "--limit", "1", "--out", out),
        "farm": ("farm", built, "--limit", "1", "--port", "emulated", "--out", out),
        "bench": ("bench", model, "--board", "cortex-m4", "--kernels", "tinygen", "--jobs", "1", "--out", out),
        "demo": ("demo", "--board", "host", "--digits", "1", "--out", out),
        "demo wakeword": ("demo", "wakeword", "--board", "host", "--out", out),
        "train": ("demo", "wakeword", "--board", "host", "--train", "hey computer", "--quick", "--out", out),
        "classify": ("demo", "classify", "--board", "host", "--choices", "int8", "--epochs", "1", "--out", out),
    }


VERBS = ("build", "export", "hil", "farm", "bench", "demo", "demo wakeword", "train", "classify")
