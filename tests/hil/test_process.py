"""Programs as devices: they end when they should, and never make us wait for ever."""

from __future__ import annotations

import time

import pytest

from tinygen.errors import DeviceError
from tinygen.hil import process
from tinygen.hil.transports import ProcessTransport


def test_bytes_go_both_ways() -> None:
    line = ProcessTransport(["cat"])
    data = bytes(range(256)) * 1000
    line.write(data)
    assert line.read(len(data), 10.0) == data
    begun = time.monotonic()
    assert line.read(1, 0.2) == b""
    assert time.monotonic() - begun > 0.1
    line.close()
    line.close()


def test_no_such_program() -> None:
    with pytest.raises(DeviceError, match="there is no such program"):
        ProcessTransport(["no-such-program-anywhere"])


def test_status_and_last_words() -> None:
    line = ProcessTransport(["sh", "-c", "echo one; echo two >&2; exit 7"])
    assert line.read(4, 5.0) == b"one\n"
    with pytest.raises(DeviceError, match="ended with status 7: two"):
        line.read(1, 5.0)
    with pytest.raises(DeviceError):
        line.write(b"x")
    line.close()


def test_a_program_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_WRITE_SECONDS", 0.3)
    line = ProcessTransport(["sleep", "60"])
    with pytest.raises(DeviceError, match=r"takes no bytes for 0\.3 seconds"):
        line.write(bytes(1 << 20))
    begun = time.monotonic()
    line.close()
    assert time.monotonic() - begun < 50.0  # it was ended, not waited for
