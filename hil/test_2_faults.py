"""What goes wrong is noticed: bytes that the line loses, and a program that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.foreign import no_exception_of
from hil.loops import COMMAND, FAULT, client_of, right_sums
from hil.place import Place
from tinygen.errors import BoardError
from tinygen.hil.exchange import FaultedError
from tinygen.hil.transports import Transport


class Lossy:
    """A line that loses one byte in each direction, once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.lost_write = self.lost_read = False

    def write(self, data: bytes) -> None:
        if b"tg-run" in data and not self.lost_write:
            self.lost_write, data = True, data[:20] + data[21:]
        self._transport.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        data = self._transport.read(size, timeout)
        if self.lost_write and not self.lost_read and b"m-tg-cycles" in data + b"m-tg-cycles":
            self.lost_read = len(data) > 0
            return data[1:] if data else data
        return data

    def close(self) -> None:
        self._transport.close()


def test_lost_bytes_are_recovered(place: Place, loops: Path) -> None:
    with place.line(loops) as line:
        lossy = Lossy(line.transport)
        client = client_of(line, lossy)
        client.info()
        outputs = client.infer([COMMAND]).outputs
    assert lossy.lost_write and lossy.lost_read
    assert client.troubles and outputs == (right_sums(),)


def test_a_broken_program_is_reported(place: Place, loops: Path) -> None:
    """The firmware's own report; on our emulated boards, the emulator's. It ends the firmware."""
    with place.line(loops) as line:
        client = client_of(line)
        client.load(0, FAULT)
        if line.emulated is not None:
            with pytest.raises(BoardError, match=r"app_model\.c:\d+.*cannot execute this instruction"):
                client.run()
            return
        reported = pytest.raises(FaultedError, match=r"the firmware says fault: .* pc=[0-9a-f]{8}")
        with no_exception_of(place, loops / "firmware.elf"), reported:
            client.run()
