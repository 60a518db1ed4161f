"""The command line, called in this process: what `python -m tinygen` would print, in a hundredth of the time."""

from __future__ import annotations

import io
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tinygen.cli import main


class Screen(io.StringIO):
    """A terminal, for what asks whether it is one."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


def call(*arguments: str | Path, cwd: Path | None = None) -> Done:
    """Runs `tinygen ARGUMENTS...` with its output in pipes."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["tinygen", *map(str, arguments)]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), chdir(cwd or Path.cwd()):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    return Done(int(str(code or 0)), out.getvalue(), err.getvalue())
