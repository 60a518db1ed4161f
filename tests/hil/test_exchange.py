"""One sealed command and what may come back for it, byte by byte; test_faults.py has whole sessions."""

from __future__ import annotations

import zlib
from itertools import count

import pytest

from tinygen.errors import DeviceError
from tinygen.hil.exchange import Exchange, FaultedError, RefusedError, RestartedError, check, seal

NONCE = 7
GENERATOR = 0x104C11DB7
"""CRC-32's, as a polynomial: added to a message it does not change the sum."""


class Scripted:
    """A line on which all that is ever said is there from the start."""

    def __init__(self, said: bytes) -> None:
        self.said, self.written, self.waited = said, b"", 0.0

    def write(self, data: bytes) -> None:
        self.written += data

    def read(self, size: int, timeout: float) -> bytes:
        data, self.said = self.said[:size], self.said[size:]
        self.waited += 0.0 if data else timeout
        return data

    def close(self) -> None:
        pass


def sealed(reply: bytes, nonce: int = NONCE) -> bytes:
    head = f"m-tg-seal {nonce:08x}".encode()
    crc, adler = check(reply + head)
    return reply + head + f" {crc:08x} {adler:08x}\r\nm-ready\r\n".encode()


def exchange(said: bytes) -> tuple[Exchange, Scripted]:
    line = Scripted(said)
    return Exchange(line, count(0.0, 0.01).__next__, NONCE - 1), line


def same_crc(data: bytes, bit: int) -> bytes:
    """Other bytes of the same CRC-32: its generator, bits in the order of the line, added from a bit on."""
    pattern = int(f"{GENERATOR:033b}"[::-1], 2) << bit
    return (int.from_bytes(data, "little") ^ pattern).to_bytes(len(data), "little")


BLOCK = b"m-tg-data 6\r\n\x00\r\n%m-\r\n"


def test_a_reply_and_its_block() -> None:
    talk, line = exchange(sealed(b"m-tg-cycles 12\r\n" + BLOCK))
    reply = talk.ask("tg-run", 5.0, b"raw")
    assert line.written == seal("tg-run", NONCE) + b"raw"
    assert reply.values("m-tg-cycles") == [["12"]] and reply.block == b"\x00\r\n%m-"


@pytest.mark.parametrize("reply", [b"m-tg-cycles 12 and more\r\n", BLOCK])
def test_any_bit_that_changes_is_noticed(reply: bytes) -> None:
    whole = sealed(reply)
    end = whole.index(b"\r\nm-ready")
    for place in range(end):
        if whole[place : place + 1] in b"\r\n" and reply is not BLOCK:
            continue  # lines that run together are test_faults.py's
        damaged = bytearray(whole)
        damaged[place] ^= 0x04
        talk, _ = exchange(bytes(damaged))
        with pytest.raises(DeviceError):
            talk.ask("tg-run", 5.0)


def test_what_the_crc_does_not_see_the_other_sum_does() -> None:
    reply = b"m-tg-cycles 123456789\r\n"
    other = same_crc(reply, 8 * 12)
    assert zlib.crc32(other) == zlib.crc32(reply) and zlib.adler32(other) != zlib.adler32(reply)
    whole = sealed(reply)
    talk, _ = exchange(other + whole[len(reply) :])
    with pytest.raises(DeviceError, match="arrived damaged"):
        talk.ask("tg-run", 5.0)


def test_an_earlier_reply_is_passed_over() -> None:
    """It may come late, whole, and just before ours."""
    talk, _ = exchange(sealed(b"m-tg-cycles 1\r\n", NONCE - 1) + sealed(b"m-tg-cycles 2\r\n"))
    assert talk.ask("tg-run", 5.0).values("m-tg-cycles") == [["2"]]
    talk, _ = exchange(sealed(b"m-tg-cycles 1\r\n", NONCE - 1))
    with pytest.raises(DeviceError, match="does not answer"):
        talk.ask("tg-run", 0.05)


def test_what_is_no_answer() -> None:
    talk, _ = exchange(b"m-tg-cycles 1\r\nm-ready\r\n")
    with pytest.raises(DeviceError, match="answers m-tg-cycles 1 to tg-run"):
        talk.ask("tg-run", 5.0)
    talk, _ = exchange(b"m-tg-boot x 0 1\r\nm-ready\r\n")
    with pytest.raises(RestartedError):
        talk.ask("tg-run", 5.0)
    talk, _ = exchange(sealed(b"e-[no such switch]\r\n"))
    with pytest.raises(RefusedError, match="no such switch"):
        talk.ask("tg-switch 9", 5.0)


@pytest.mark.parametrize("size", [b"-1", b"67108865", b"9" * 30, b"x", b""])
def test_no_block_has_such_a_size(size: bytes) -> None:
    """It is refused at once, rather than waited for."""
    talk, line = exchange(b"m-tg-data " + size + b"\r\n" + bytes(100))
    with pytest.raises(DeviceError, match="garbled reply 'm-tg-data "):
        talk.ask("tg-layers", 5.0)
    assert line.waited == 0.0


FAULT = b"e-[fault: usage pc=08001234 address=unknown cfsr=00010000]\r\n"


@pytest.mark.parametrize("before", [b"", b"m-tg-cy", b"m-tg-ran 1 2\r\n", b"m-tg-data 600\r\n\x00\x01"])
def test_a_fault_ends_the_wait(before: bytes) -> None:
    """At once, and at each further command: not after the seconds that an inference may take."""
    talk, line = exchange(before + FAULT)
    for seconds in (1e6, 1e6):
        with pytest.raises(FaultedError, match=r"the firmware says fault: usage pc=08001234"):
            talk.ask("tg-run", seconds)
    assert line.waited <= 5.0


def test_a_fault_of_before_the_reset_is_over() -> None:
    talk, _ = exchange(FAULT + b"m-tg-boot kws 0011 216000000\r\nm-init-done\r\nm-ready\r\n")
    with pytest.raises(RestartedError):
        talk.ask("tg-run", 5.0)
