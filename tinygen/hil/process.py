"""A program whose standard input and output are the line to a device."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

from tinygen.errors import DeviceError, DeviceGoneError

_WRITE_SECONDS = 30.0
# The shell becomes the program. Its child, the keeper, kills it when the write end of the pipe on descriptor $0
# closes, which also happens when we are killed.
_KEEPER = """( read -r end <"/dev/fd/$0"; kill -9 $$ ) </dev/null >/dev/null 2>&1 & exec "$@" """


class ProcessTransport:
    """Host firmware, or QEMU with its UART on standard input and output.

    The program ends with `close`, and also when this process ends in whatever way.

    Args:
        command: program and arguments.
        cwd: where it runs.

    Raises:
        DeviceError: the program cannot be started; later: it ended (with what it said on standard error), or
            takes no more bytes.
    """

    def __init__(self, command: Sequence[str], cwd: Path | None = None) -> None:
        self._name = command[0]
        if shutil.which(command[0], path=os.environ.get("PATH")) is None:
            raise DeviceGoneError("cannot be started (there is no such program)", where=self._name)
        self._lifeline = -1
        self._process = self._start(list(command), cwd)
        self._chunks: Queue[bytes] = Queue()
        self._pending = b""
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _start(self, command: list[str], cwd: Path | None) -> subprocess.Popen[bytes]:
        if os.name != "posix":
            return self._popen(command, cwd, ())
        watched, self._lifeline = os.pipe()
        try:
            process = self._popen(["/bin/sh", "-c", _KEEPER, str(watched), *command], cwd, (watched,))
        except DeviceError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(watched)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _popen(self, command: list[str], cwd: Path | None, pass_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=cwd,
                bufsize=0,
                pass_fds=pass_fds,
                start_new_session=bool(pass_fds),
            )
        except OSError as error:
            raise DeviceGoneError(f"cannot be started ({error})", where=self._name) from error

    def _pump(self) -> None:
        assert self._process.stdout is not None
        while chunk := self._process.stdout.read(65536):
            self._chunks.put(chunk)
        self._chunks.put(b"")

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        line = self._process.stdin
        assert line is not None
        view, deadline = memoryview(data), time.monotonic() + _WRITE_SECONDS
        try:
            while view:
                left = max(deadline - time.monotonic(), 0.0)
                if os.name == "posix" and not select.select([], [line], [], left)[1]:
                    raise DeviceError(f"takes no bytes for {_WRITE_SECONDS:g} seconds", where=self._name)
                view = view[line.write(view) or 0 :]
        except (OSError, ValueError) as error:
            raise self._ended() from error

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        while len(self._pending) < size:
            try:
                chunk = self._chunks.get(timeout=max(deadline - time.monotonic(), 0.0001))
            except Empty:
                break
            if not chunk:
                self._chunks.put(b"")
                if not self._pending:
                    raise self._ended()
                break
            self._pending += chunk
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def _ended(self) -> DeviceGoneError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._stop()
        said = ""
        if self._process.stderr is not None and not self._process.stderr.closed:
            said = self._process.stderr.read().decode("utf-8", "replace").strip()[-2000:]
        status = f"ended with status {self._process.returncode}"
        return DeviceGoneError(f"{status}: {said or 'without a word'}", where=self._name)

    def set_baud(self, baud: int) -> None:
        """Nothing: pipes take bytes at any rate."""

    def _stop(self) -> None:
        """Ends program and keeper, and the thread before its file: a thread that still reads a closed file's
        number would take bytes from whatever is opened next.
        """
        if self._lifeline < 0:
            self._process.kill()
        else:
            # The keeper first of all: later it might kill another program that got the same number.
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            os.close(self._lifeline)
            self._lifeline = -1
        self._process.wait()
        self._thread.join()

    def close(self) -> None:
        """Ends the program."""
        self._stop()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
