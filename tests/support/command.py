"""The command line, called in this process: a started one takes a second or two to import what is here already."""

from __future__ import annotations

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tinygen.cli import main


@dataclass(frozen=True)
class Done:
    """What a command has printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


def tinygen(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> Done:
    """Runs `tinygen` with these arguments, in folder `cwd`, with these environment variables.

    That the program can be started too is shown by tests/cli/test_cli.py, test_a_process_of_its_own.
    """
    out, err = _Captured(), _Captured()
    status = 0
    with (
        patch.object(sys, "argv", ["tinygen", *map(str, arguments)]),
        patch.dict(os.environ, variables),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(status, out.text(), err.text())


class _Captured(io.TextIOWrapper):
    """A text stream into memory, with the bytes underneath that some write to."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", write_through=True)

    def text(self) -> str:
        return self._bytes.getvalue().decode("utf-8")
