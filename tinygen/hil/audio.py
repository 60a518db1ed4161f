"""The host's side of `tg-listen` (firmware/wakeword/listen.h says what that is).

No event is lost, invented or taken for another's: blocks and events carry the session's number, that of their hop, and
two sums of different kinds; the device answers each block once it is whole, and is sent the next one only after that.
Damaged or missing messages are requested again, at this rate and then at lower ones. If the device restarts, it has
lost its audio history: that is an error.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.errors import DeviceError, DeviceGoneError, TinygenError
from tinygen.hil.client import ENERGY_BAUD, PERFORMANCE_BAUD, DeviceClient
from tinygen.hil.exchange import FAULT, LINE_HELP, FaultedError, RefusedError, RestartedError, check
from tinygen.hil.transports import RatedTransport

RATES = (921600, 460800, 230400, 115200)
_MARKER = 0xB5
_ANSWER_SECONDS = 2.0
_ATTEMPTS = 4
_IDLE_SECONDS = 3.5
"""A little more than what the device waits for a good block."""
_CHANGE_SECONDS = 0.02
_STOP, _STOP_SECONDS = b"\x03", 0.05
_STILL_THERE, _SIGN_HOPS = b"\r", 2
"""What tells a device with a microphone that somebody listens to it, and after how many of its hops: before it gives
up, though a hop may last a second; and no faster than it reads, which is a byte a hop.
"""
_QUIET_SECONDS = 0.05
"""More than the silence behind which the device takes commands again."""
_SHORTEST = len("m-tg-end 00000000 0 00000000 00000000\r\n")
_LINE_LIMIT = 1 << 12


@dataclass(frozen=True)
class HopEvent:
    """The result of one hop of sound.

    Attributes:
        hop: its number, from 0.
        ran: whether an inference ended with this hop; the next three attributes belong to the latest inference.
        codes: of the outputs.
        window_sum: of the last codes of the output with the largest sum.
        detected: whether the window sum is above the cutoff; False if no inference ran.
        frontend_cycles: taken by the features; inference_cycles: by model and average, 0 if no inference ran.
        label: index of the output with the largest sum.
    """

    hop: int
    ran: bool
    codes: tuple[int, ...]
    window_sum: int
    detected: bool
    frontend_cycles: int
    inference_cycles: int
    label: int = 0


@dataclass(frozen=True)
class Listened:
    """Counters that the device itself kept during a session.

    Attributes:
        hops, inferences, detections: number of each.
        overruns: hops that took longer than the sound lasts.
        lost: how often the microphone lost samples, which are no hops.
        worst_without, worst_with: cycles of the longest hop without and with an inference; 0 for none.
        budget: cycles in the time of one hop.
    """

    hops: int
    inferences: int
    detections: int
    overruns: int
    lost: int
    worst_without: int
    worst_with: int
    budget: int


def listen(
    client: DeviceClient,
    samples: Iterable[np.ndarray],
    *,
    hop_samples: int = 160,
    rates: Sequence[int] = RATES,
) -> Generator[HopEvent, None, None]:
    """Sends sound and yields the result of each hop; the model's states are reset first.

    An incomplete last hop is not sent.

    Args:
        client: of a device whose firmware listens.
        samples: int16, pieces of any size.
        hop_samples: hop length of the firmware's features, in samples; the device never answers blocks of another
            length.
        rates: of the line during the session, in bits per second; each is tried only if the previous one fails.

    Raises:
        RefusedError: the firmware has no such application, or no such rate.
        DeviceError: the line is bad, or the device restarted.
        TinygenError: the samples are not int16.
    """
    stream = _Stream(client, rates)
    stream.begin()
    try:
        for hop in _hops(samples, hop_samples):
            yield stream.send(hop)
    finally:
        stream.end()


def listen_to_microphone(client: DeviceClient, *, rates: Sequence[int] = RATES) -> Generator[HopEvent, None, None]:
    """Yields the result of each hop from the device's own microphone, until the iterator is closed.

    The device does not wait for the host: an event that is damaged on the line is skipped, and its number is missing.

    Raises:
        RefusedError: the device has no microphone, or that does not start.
        DeviceError: nothing more comes.
    """
    stream = _Stream(client, rates, "mic ")
    stream.begin()
    try:
        yield from stream.hear()
    finally:
        stream.end()


def listened(client: DeviceClient) -> Listened:
    """Returns the device's counters since its session began.

    Raises:
        RefusedError: it has not listened.
    """
    reply = client.ask("tg-listened")
    names = ("hops", "inferences", "detections", "overruns", "lost", "worst-without", "worst-with", "budget")
    try:
        return Listened(*(int(reply.values(f"m-tg-{name}")[0][0]) for name in names))
    except (IndexError, ValueError) as error:
        raise DeviceError(f"gave no counts, but {reply.lines}") from error


def _hops(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    rest = np.zeros(0, np.int16)
    for piece in pieces:
        if not isinstance(piece, np.ndarray) or piece.dtype != np.int16 or piece.ndim != 1:
            kind = f"{piece.dtype} of shape {piece.shape}" if isinstance(piece, np.ndarray) else type(piece).__name__
            raise TinygenError(f"sound is one-dimensional int16, not {kind}")
        rest = np.concatenate([rest, piece])
        whole = rest.size // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]


def block(session: int, hop: int, samples: np.ndarray) -> bytes:
    """Encodes one hop for the line; without samples, the message that ends the session."""
    body = struct.pack("<BHI", _MARKER, samples.size, hop) + samples.astype("<i2").tobytes()
    return body + struct.pack("<II", *check(struct.pack("<I", session) + body))


@dataclass(frozen=True)
class _Line:
    """An undamaged line from the device that belongs to this session."""

    label: str
    hop: int
    rest: tuple[int, ...]


def _is_whole(body: bytes, crc: bytes, adler: bytes) -> bool:
    return [crc, adler] == [f"{value:08x}".encode() for value in check(body)]


def _line(text: bytes, session: int) -> _Line | None:
    """Parses a line; None if it is damaged or belongs to another session."""
    body, _, adler = text.rpartition(b" ")
    body, _, crc = body.rpartition(b" ")
    if not _is_whole(body, crc, adler):
        return None
    label, _, words = body.decode("ascii", "replace").partition(" ")
    try:
        number, hop, *rest = words.split(" ")
        return _Line(label, int(hop), tuple(map(int, rest))) if number == f"{session:08x}" else None
    except ValueError:
        return None


def _event(line: _Line) -> HopEvent:
    try:
        ran, detected, label, total, frontend, inference, *codes = line.rest
    except ValueError as error:
        raise DeviceError(
            f"gave an event with {len(line.rest)} numbers", fix="Is its firmware of this tinygen?"
        ) from error
    return HopEvent(line.hop, bool(ran), tuple(codes), total, bool(detected), frontend, inference, label)


class _Stream:
    """One session, from `begin` to `end`."""

    def __init__(self, client: DeviceClient, rates: Sequence[int], source: str = "") -> None:
        self._client, self._line, self._source = client, client.line, source
        self._transport: Any = self._line.transport
        self._rates = list(rates)
        self._usual_rate = PERFORMANCE_BAUD
        self._session = int.from_bytes(os.urandom(4), "little")
        self._next = 0
        self._buffer = b""
        self._is_open = False

    def begin(self) -> None:
        """Starts listening on the device, at the first rate."""
        if not isinstance(self._transport, RatedTransport):
            raise RefusedError("is on a line whose rate cannot be changed", fix="Listen on a serial port.")
        if self._client.info().mode == "energy":
            self._usual_rate = ENERGY_BAUD
        self._client.forget()
        self._open((0,))

    def _open(self, expected: tuple[int, ...]) -> None:
        reply = self._client.ask(f"tg-listen {self._source}{self._rates[0]} {self._session:08x}")
        try:
            found = int(reply.values("m-tg-listen")[0][0])
        except (IndexError, ValueError) as error:
            raise RefusedError(f"answers {reply.lines} to tg-listen") from error
        if found not in expected:
            raise RestartedError(
                f"restarted while it listened: it waits for hop {found}, and {self._next} were heard",
                fix="Is its power steady? What it had heard is lost: begin again.",
            )
        self._buffer, self._is_open = b"", True
        try:
            self._set_rate(self._rates[0])
        except DeviceGoneError:
            raise
        except DeviceError as error:  # a line that is back at its first rate: the first hop will show that
            self._client.troubles.append(error.what)

    def send(self, samples: np.ndarray) -> HopEvent:
        """Sends one hop, repeatedly until its event has arrived."""
        data = block(self._session, self._next, samples)
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if problem is not None:
                    self._resume()
                event = self._answered(data)
                self._next += 1
                return event
            except (RefusedError, RestartedError, DeviceGoneError):
                self._is_open = False  # the device itself changes its rate back
                raise
            except DeviceError as error:
                problem = error
                self._client.troubles.append(error.what)
        self._is_open = False
        assert problem is not None
        raise DeviceError(f"{problem.what}, in {_ATTEMPTS} attempts (hop {self._next})", fix=problem.fix or LINE_HELP)

    def hear(self) -> Iterator[HopEvent]:
        """Yields events that the device sends unasked."""
        heard = 0
        while (text := self._text(self._line.clock() + _ANSWER_SECONDS)) is not None:
            line = _line(text, self._session)
            if line is not None and line.label == "m-tg-hop":
                if heard % _SIGN_HOPS == 0:
                    self._transport.write(_STILL_THERE)
                heard += 1
                yield _event(line)
            elif line is not None and line.label == "m-tg-end":
                self._is_open = False
                self._transport.read(4096, _QUIET_SECONDS)
                if heard:
                    raise DeviceError("stopped listening: this computer was silent for too long", fix=LINE_HELP)
                fix = "Is it wired as its board file says?"
                raise RefusedError("does not listen: its microphone does not start", fix=fix)
        raise DeviceError("says nothing more while it listens", fix=LINE_HELP)

    def _stop_hearing(self) -> None:
        """Sends the byte that ends listening: the device must see it in several consecutive hops."""
        deadline = self._line.clock() + _ANSWER_SECONDS
        while self._line.clock() < deadline:
            self._transport.write(_STOP)
            text = self._text(self._line.clock() + _STOP_SECONDS)
            line = _line(text, self._session) if text is not None else None
            if line is not None and line.label == "m-tg-end":
                self._transport.read(4096, _QUIET_SECONDS)
                return
        self._wait_for_commands()

    def _answered(self, data: bytes) -> HopEvent:
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._client.troubles.append(f"hop {self._next} was sent again")
            self._transport.write(data)
            line = self._find("m-tg-hop", self._next)
            if line is not None:
                return _event(line)
        raise DeviceError("does not answer while it listens", fix=LINE_HELP)

    def _find(self, label: str, hop: int) -> _Line | None:
        """Reads up to the line with this label and number; None if the device requests a repetition or is silent."""
        deadline = self._line.clock() + _ANSWER_SECONDS
        while (text := self._text(deadline)) is not None:
            line = _line(text, self._session)
            if line is None:
                continue
            if line.label == label and line.hop == hop:
                return line
            if line.label == "m-tg-again" and line.hop in (hop, hop + 1):
                return None
        return None

    def _text(self, deadline: float) -> bytes | None:
        """Returns the next line of any kind; None on a timeout."""
        while b"\r\n" not in self._buffer:
            left = deadline - self._line.clock()
            data = self._transport.read(max(_SHORTEST - len(self._buffer), 1), left) if left > 0 else b""
            if not data:
                return None
            self._buffer = (self._buffer + data)[-_LINE_LIMIT:]
        text, _, self._buffer = self._buffer.partition(b"\r\n")
        if fault := FAULT.search(text):
            raise FaultedError(fault[1])
        return text

    def _resume(self) -> None:
        """Continues at the next lower rate, once the device has given up waiting at this one."""
        self._wait_for_commands()
        if len(self._rates) > 1:
            self._rates.pop(0)
        self._client.info()  # an error where it is another device by now
        self._open((self._next, self._next + 1))

    def _wait_for_commands(self) -> None:
        """Waits until the device is back at its usual rate and takes commands."""
        self._is_open = False
        self._transport.set_baud(self._usual_rate)
        deadline = self._line.clock() + _IDLE_SECONDS
        while (left := deadline - self._line.clock()) > 0:
            self._transport.read(4096, left)
        self._line.resynchronise()

    def end(self) -> None:
        """Restores the line to its state before `begin`, so that the device takes commands again."""
        try:
            if self._is_open and self._source:
                self._stop_hearing()
            elif self._is_open:
                self._say_end()
        except DeviceGoneError:
            raise
        except DeviceError as error:  # every event has arrived, and the device restores its rate itself
            self._client.troubles.append(error.what)
            self._wait_for_commands()
        finally:
            self._is_open = False
            with suppress(DeviceError):
                self._set_rate(self._usual_rate)

    def _set_rate(self, rate: int) -> None:
        """Changes the rate and gives the device time to do the same: it has only announced its change so far."""
        self._transport.set_baud(rate)
        self._buffer += self._transport.read(1, _CHANGE_SECONDS)

    def _say_end(self) -> None:
        data = block(self._session, self._next, np.zeros(0, np.int16))
        for _ in range(_ATTEMPTS):
            self._transport.write(data)
            if self._find("m-tg-end", self._next) is not None:
                return
        self._wait_for_commands()
