"""Programs that are ended by signals, and the processes that they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

SETTLE_SECONDS = 20.0


def started(code: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Python code in a session of its own, which hears Ctrl-C also where these tests do not."""
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen(
        [sys.executable, "-c", hears + code],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def tinygen(arguments: Sequence[str | Path], before: str = "") -> str:
    """Code of a command; what comes `before` may change tinygen."""
    return f"{before}\nimport sys; sys.argv[1:] = {list(map(str, arguments))}\nfrom tinygen.cli import main; main()"


def members(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has ended
        if int(of) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def within(seconds: float, condition: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def end_all(session: int) -> None:
    """Processes of a session that should not be there any more."""
    for process in members(session):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
