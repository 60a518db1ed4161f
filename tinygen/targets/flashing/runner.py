"""Runs a flashing tool: shows what it prints as it comes, keeps it, and leaves no process behind."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tinygen.errors import FlashError

Echo = Callable[[str], None]
_SECONDS = 600.0
"""Time limit in seconds: a megabyte over a slow line takes a minute or two."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Outcome:
    """Output of a finished tool, without colours, and its exit status."""

    text: str
    status: int

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in re.split(r"[\r\n]+", self.text)]
        return next((line for line in reversed(lines) if line), "")


def run_command(command: Sequence[str], echo: Echo, seconds: float = _SECONDS) -> Outcome:
    """Runs a program to its end, without a keyboard: one that asks a question gets no answer.

    Raises:
        FlashError: it cannot be started, or does not end in time; it is ended then.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
        )
    except OSError as error:
        raise FlashError(f"cannot be started ({error})", where=command[0], fix="Run `tinygen doctor`.") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        text = _read(process, echo)
        status = process.wait()
    except BaseException:
        _kill(process)
        process.wait()
        raise
    finally:
        timer.cancel()
    if late.is_set():
        what = f"did not end within {seconds:.0f} s"
        raise FlashError(what, where=command[0], fix="Plug the board in again, and try once more.")
    return Outcome(_COLOUR.sub("", text), status)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and those that it started, which would go on flashing, and hold the probe."""
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _read(process: subprocess.Popen[bytes], echo: Echo) -> str:
    """Reads all output, in pieces instead of lines: a progress bar ends no line."""
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = []
    with process.stdout as stream:
        while data := os.read(stream.fileno(), 4096):
            pieces.append(decoder.decode(data))
            echo(pieces[-1])
    return "".join(pieces)
