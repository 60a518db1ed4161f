"""What a line or a device can do wrong, once at a place in the stream drawn by seed, or all the time.

A fault sees every byte in both directions, sealed as it goes over the wire, and does one thing to it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.hil.devices import Hang, TimedDevice
from tinygen.errors import DeviceGoneError
from tinygen.hil.client import PERFORMANCE_BAUD

_HANG_VIRTUAL_SECONDS = 1500.0
_HANG_READS = 2_000_000
FOREVER = float("inf")
_WRITE_SECONDS = 30.0
BOOT_SECONDS = 0.2
"""More than a banner takes at 115200 baud: what comes behind the first command would mean a restart."""
# x^32 + ... + 1 as the bits of CRC-32 go over the line: what this is added to has the same CRC.
_GENERATOR = 0xEDB88320 << 1 | 1

Happening = Callable[["At", bytes], bytes]


class Fault:
    """Does nothing; what the others begin with.

    Attributes:
        happened: whether it came to what is to happen.
    """

    happened = True

    def __init__(self, seed: random.Random) -> None:
        self.random = seed
        self.line: FaultyLine

    def begin(self) -> None:
        """Before the first command."""

    def to_device(self, data: bytes) -> bytes:
        return data

    def from_device(self, data: bytes) -> bytes:
        return data


class At(Fault):
    """Something that happens once, at a byte of one direction drawn by seed.

    Args:
        way: "to" the device or "from" it.
        happen: gives what becomes of the rest of a piece, from that byte on.
        spread: it happens within so many bytes,
        after: counted from where the stream has matched this; empty: from the begin.
        times: how often it must have matched; 0: once or twice, drawn by seed.

    Attributes:
        then: what becomes of the next piece, where it is not to pass unchanged.
    """

    def __init__(
        self, seed: random.Random, way: str, happen: Happening, spread: int, after: bytes = b"", times: int = 0
    ) -> None:
        super().__init__(seed)
        self.then: Happening | None = None
        self._way, self._happen, self._skip = way, happen, seed.randrange(spread)
        self._after, self._seen = after, b""
        self._times = (times or seed.randrange(1, 3)) if after else 0
        self.happened = False

    def to_device(self, data: bytes) -> bytes:
        return self._pass(data) if self._way == "to" else data

    def from_device(self, data: bytes) -> bytes:
        return self._pass(data) if self._way == "from" else data

    def _pass(self, data: bytes) -> bytes:
        if self.happened:
            then, self.then = self.then, None
            return then(self, data) if then else data
        start = self._start(data)
        if start is None:
            return data
        if start + self._skip >= len(data):
            self._skip -= len(data) - start
            return data
        self.happened = True
        at = start + self._skip
        return data[:at] + self._happen(self, data[at:])

    def _start(self, data: bytes) -> int | None:
        """From where in this piece bytes are counted."""
        if self._times == 0:
            return 0
        before = len(self._seen)
        self._seen += data
        found = list(re.finditer(self._after, self._seen))
        if len(found) < self._times:
            return None
        start = found[self._times - 1].end() - before
        self._times = 0
        return max(start, 0)


@dataclass
class FaultyLine:
    """The line between the client and a device, with a fault on it.

    Attributes:
        silent_until, unplugged_until, restart_at: seconds of the line's own time.
        blocked: the host's writes are not taken.
        said: every byte that the device sent.
        told: how many bytes it was sent.
    """

    device: TimedDevice
    fault: Fault
    silent_until: float = 0.0
    unplugged_until: float = 0.0
    restart_at: float = FOREVER
    blocked: bool = False
    said: bytearray = field(default_factory=bytearray)
    told: int = 0
    _pending: bytes = b""
    _late: list[tuple[float, bytes]] = field(default_factory=list)
    _reads: int = 0

    def __post_init__(self) -> None:
        self.fault.line = self
        self.fault.begin()

    def clock(self) -> float:
        return self.device.now

    def sleep(self, seconds: float) -> None:
        """Lets time pass; what comes meanwhile waits."""
        end = self.device.now + seconds
        while self.device.now < end:
            self._pending += self._receive(end - self.device.now)

    def reopen(self) -> FaultyLine:
        """The port, where it is there, at the rate that a device begins with."""
        self._check_plug()
        self.device.speak_at(PERFORMANCE_BAUD)
        return self

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._check_plug()
        self.told += len(data)
        data = self.fault.to_device(data)
        if self.device.now >= self.silent_until:
            self.device.write(data)
        if self.blocked:
            self.blocked = False
            self.sleep(_WRITE_SECONDS)
            raise DeviceGoneError("the board went away (write time-out)")
        self._check_plug()

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds of the line's time have passed."""
        self._check_time()
        end = self.device.now + timeout
        while len(self._pending) < size and self.device.now < end:
            self._check_plug()
            until = min([end, *(time for time, _ in self._late)])
            self._pending += self._receive(max(until - self.device.now, 0.001))
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def set_baud(self, baud: int) -> None:
        """The host's side; the fault passes bytes as they are at any rate."""
        self.device.speak_at(baud)

    def close(self) -> None:
        """The device is ended by whoever began it."""

    def later(self, seconds: float, data: bytes) -> bytes:
        """Holds bytes back."""
        self._late.append((self.device.now + seconds, data))
        return b""

    def _receive(self, timeout: float) -> bytes:
        """What the device says next, whole, and what was late and is due."""
        if self.device.now >= self.restart_at:
            self.restart_at = FOREVER
            self.device.reset()
        data = self.device.read(1, timeout)
        data += self.device.read(4096, 0.0) if data else b""
        self.said += data
        heard = self.fault.from_device(data) if data else b""
        heard = heard if self.device.now >= self.silent_until else b""
        due = [late for time, late in self._late if time <= self.device.now]
        self._late = [(time, late) for time, late in self._late if time > self.device.now]
        return b"".join(due) + heard

    def _check_plug(self) -> None:
        if self.device.now < self.unplugged_until:
            self._pending, self._late = b"", []
            raise DeviceGoneError("the board went away (cable)", fix="Check the cable and the power.")

    def _check_time(self) -> None:
        self._reads += 1
        if self.device.now > _HANG_VIRTUAL_SECONDS or self._reads > _HANG_READS:
            raise Hang("the client")


def lost(count: int) -> Happening:
    """`count` bytes, of this and later pieces, are lost."""

    def happen(fault: At, rest: bytes) -> bytes:
        if count > len(rest):
            fault.then = lost(count - len(rest))
        return rest[count:]

    return happen


def flipped(fault: At, rest: bytes) -> bytes:
    """One bit."""
    return bytes([rest[0] ^ 1 << fault.random.randrange(8)]) + rest[1:]


def other_digit(fault: At, rest: bytes) -> bytes:
    """What is a digit stays one."""
    return bytes([fault.random.choice([d for d in b"0123456789" if d != rest[0]])]) + rest[1:]


def doubled(fault: At, rest: bytes) -> bytes:
    """One byte comes twice."""
    return rest[:1] + rest


def repeated(fault: At, rest: bytes) -> bytes:
    """A piece comes twice, as from a hub that sends a packet again."""
    return rest + rest


def noise(fault: At, rest: bytes) -> bytes:
    """A burst of it comes between."""
    return fault.random.randbytes(fault.random.randrange(1, 80)) + rest


def same_crc(fault: At, rest: bytes) -> bytes:
    """Adds the generator of CRC-32, which that sum cannot see."""
    return _added((_GENERATOR << fault.random.randrange(8)).to_bytes(5, "little"))(fault, rest)


def _added(pattern: bytes) -> Happening:
    def happen(fault: At, rest: bytes) -> bytes:
        if len(pattern) > len(rest):
            fault.then = _added(pattern[len(rest) :])
        return bytes(a ^ b for a, b in zip(rest, pattern, strict=False)) + rest[len(pattern) :]

    return happen


def late(seconds: float) -> Happening:
    """The rest of the piece comes late."""
    return lambda fault, rest: fault.line.later(seconds, rest)


def silence(seconds: float) -> Happening:
    """Nothing passes either way for a while."""

    def happen(fault: At, rest: bytes) -> bytes:
        fault.line.silent_until = fault.line.clock() + seconds
        return b""

    return happen


def restarted(fault: At, rest: bytes) -> bytes:
    """The device starts anew."""
    fault.line.device.reset()
    return b""


def restarted_unnoticed(fault: At, rest: bytes) -> bytes:
    """The device starts anew before this piece, and its banner is lost."""
    fault.line.device.reset()
    fault.line.device.read(4096, BOOT_SECONDS)
    return rest


def hung(seconds: float) -> Happening:
    """The device does nothing until its watchdog resets it."""

    def happen(fault: At, rest: bytes) -> bytes:
        fault.line.silent_until = fault.line.restart_at = fault.line.clock() + seconds
        return b""

    return happen


def unplugged(seconds: float, *, powered: bool = False, elf: Path | None = None) -> Happening:
    """The cable is pulled, of a device that has power of its own or not; perhaps another is put in."""

    def happen(fault: At, rest: bytes) -> bytes:
        if not powered:
            fault.line.device.reset(elf)
        fault.line.unplugged_until = fault.line.clock() + seconds
        return b""

    return happen


def blocked(fault: At, rest: bytes) -> bytes:
    """The host's write takes a part, then nothing until its time-out, with which the port must be opened again."""
    fault.line.blocked = True
    return rest[: len(rest) // 2]


class Noisy(Fault):
    """Every byte, in both directions, may be dropped, changed, doubled or joined by another."""

    def __init__(self, seed: random.Random, rate: float) -> None:
        super().__init__(seed)
        self._rate = rate

    def _spoil(self, data: Iterable[int]) -> bytes:
        out = bytearray()
        for byte in data:
            choice = self.random.randrange(4) if self.random.random() < self._rate else None
            if choice is None:
                out.append(byte)
            elif choice == 1:
                out.append(byte ^ 1 << self.random.randrange(8))
            elif choice == 2:
                out += bytes([byte, byte])
            elif choice == 3:
                out += bytes([byte, self.random.randrange(256)])
        return bytes(out)

    to_device = from_device = _spoil


class OtherBaud(Fault):
    """The sides disagree on the rate for `seconds`: every byte arrives as another, some as two, some not at all."""

    def __init__(self, seed: random.Random, seconds: float) -> None:
        super().__init__(seed)
        self._seconds = seconds
        self._table = [seed.randbytes(seed.choice((0, 1, 1, 2))) for _ in range(256)]

    def _garble(self, data: bytes) -> bytes:
        return data if self.line.clock() >= self._seconds else b"".join(self._table[byte] for byte in data)

    to_device = from_device = _garble


class Before(Fault):
    """Bytes that are there before ours: in the device (an unfinished command), or on their way from it."""

    def __init__(self, seed: random.Random, to: bytes = b"", from_: bytes = b"") -> None:
        super().__init__(seed)
        self._to, self._from = to, from_

    def begin(self) -> None:
        self.line.device.write(self._to)
        self.line.later(0.0, self._from)
