"""The kinds of faults, and one trial: a whole session on a device with a fault, held against the known answer."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.hil import faults
from tests.hil.devices import BUILD, Hang, TimedDevice, right_outputs
from tests.hil.faults import BOOT_SECONDS, FOREVER, At, Before, Fault, FaultyLine, Happening, Noisy, OtherBaud
from tinygen.errors import DeviceError
from tinygen.hil.answers import DeviceInfo
from tinygen.hil.client import DeviceClient
from tinygen.hil.exchange import seal
from tinygen.hil.reconnect import ReconnectingTransport

OUTCOMES = ("recovered", "clean error", "wrong result", "hang")
_HOST_SECONDS = 300
_LOAD, _RUN, _BLOCK = rb"tg-load [^%]*%", rb"tg-run%", rb"m-tg-data [^\r]*\r\n"
_INFERENCES = 4
# Bytes that a session without faults sends and gets, rounded down.
TO_BYTES, FROM_BYTES = 1150, 2100
_CLOCKS = {1_000_000_000, 216_000_000}


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        make: one, drawn by seed; gets the firmware of another build.
        outcomes: those that it may have.
        pause: seconds before each inference.
    """

    make: Callable[[random.Random, Path], Fault]
    outcomes: tuple[str, ...] = ("recovered",)
    pause: float = 0.0


def _at(
    way: str, happen: Happening, spread: int = 0, after: bytes = b"", outcomes: tuple[str, ...] = ("recovered",)
) -> Kind:
    spread = spread or (TO_BYTES if way == "to" else FROM_BYTES)
    return Kind(lambda seed, other: At(seed, way, happen, spread, after), outcomes)


def _late(seconds: float) -> Kind:
    """Within the session what comes late comes."""
    return Kind(lambda seed, other: At(seed, "from", faults.late(seconds), FROM_BYTES), pause=seconds / 2)


def _stale(seed: random.Random, other: Path) -> Fault:
    """An earlier program's reply, whole but for its first bytes, and an intact one."""
    old = b"m-tg-gave 0 89abcdef 01234567\r\nm-tg-cycles 7\r\nm-tg-seal 00000001 11111111 22222222\r\nm-ready\r\n"
    return Before(seed, from_=old[seed.randrange(60) :] + b"m-tg-data 4 00000000\r\nabcd"[: seed.randrange(24)])


def _garbage(seed: random.Random, other: Path) -> Fault:
    commands = (
        b"tg-loa",
        b"tg-run%tg-",
        b"tg-load 0 64 00000000%abc",
        b"x" * 80,
        b"tg-switch 0%",
        b"%%%%tg-read 0%",
        seal("tg-run", 7)[:-5],
        seed.randbytes(40),
    )
    return Before(seed, to=seed.choice(commands))


def _swap(seed: random.Random, other: Path) -> Fault:
    return At(seed, "to", faults.unplugged(2.0, elf=other), TO_BYTES)


class _Stranger(Fault):
    """Another build answers from the start."""

    def __init__(self, seed: random.Random, other: Path) -> None:
        super().__init__(seed)
        self._other = other

    def begin(self) -> None:
        self.line.device.reset(self._other)


_ERROR = ("clean error",)
_ANY = ("recovered", "clean error")
KINDS: dict[str, Kind] = {
    "no fault": Kind(lambda seed, other: Fault(seed)),
    "a byte lost, to the device": _at("to", faults.lost(1)),
    "a byte lost, from the device": _at("from", faults.lost(1)),
    "a bit flipped, to the device": _at("to", faults.flipped),
    "a bit flipped, from the device": _at("from", faults.flipped),
    "another digit in a command": _at("to", faults.other_digit, 1, rb"tg-(?:switch|read|load) "),
    "another digit in the cycle count": _at("from", faults.other_digit, 1, rb"m-tg-cycles "),
    "a byte doubled, to the device": _at("to", faults.doubled),
    "a byte doubled, from the device": _at("from", faults.doubled),
    "a burst of noise, to the device": _at("to", faults.noise),
    "a burst of noise, from the device": _at("from", faults.noise),
    "50 bytes lost, to the device": _at("to", faults.lost(50)),
    "50 bytes lost, from the device": _at("from", faults.lost(50)),
    "a packet comes twice, to the device": _at("to", faults.repeated),
    "a packet comes twice, from the device": _at("from", faults.repeated),
    "the CRC-32 generator added to an input": _at("to", faults.same_crc, 55, _LOAD),
    "the CRC-32 generator added to an output": _at("from", faults.same_crc, 55, _BLOCK),
    "one byte in 500 spoilt, both ways": Kind(lambda seed, other: Noisy(seed, 0.002), _ANY),
    "one byte in 50 spoilt, both ways": Kind(lambda seed, other: Noisy(seed, 0.02), _ANY),
    "a reply comes 7 seconds late": _late(7.0),
    "a reply comes 30 seconds late": _late(30.0),
    "line dead for 3 seconds": _at("to", faults.silence(3.0)),
    "line dead for ever": _at("to", faults.silence(FOREVER), outcomes=_ERROR),
    "reset while an input is loaded": _at("to", faults.restarted, 70, _LOAD),
    "reset in an inference": _at("to", faults.restarted, 1, rb"tg-run(?=%)"),
    "reset while an output is sent": _at("from", faults.restarted, 64, _BLOCK),
    "reset before any command, unnoticed": _at("to", faults.restarted_unnoticed),
    "reset anywhere": _at("to", faults.restarted),
    "hang in an inference, watchdog after 8 s": _at("to", faults.hung(8.0), 1, rb"tg-run(?=%)"),
    "hang in an inference, for ever": _at("to", faults.silence(FOREVER), 1, rb"tg-run(?=%)", _ERROR),
    "cable pulled, back after 3 s": _at("to", faults.unplugged(3.0)),
    "cable pulled, device has power, back after 3 s": _at("from", faults.unplugged(3.0, powered=True)),
    "cable pulled for ever": _at("to", faults.unplugged(FOREVER), outcomes=_ERROR),
    "another device answers": Kind(_Stranger, _ERROR),
    "another device put in meanwhile": Kind(_swap, _ERROR),
    "an earlier program's bytes come from the device": Kind(_stale),
    "an earlier program's bytes are in the device": Kind(_garbage),
    "wrong baud rate for 2 seconds": Kind(lambda seed, other: OtherBaud(seed, 2.0)),
    "wrong baud rate": Kind(lambda seed, other: OtherBaud(seed, FOREVER), _ERROR),
    "the host's write blocks": _at("to", faults.blocked),
}


@dataclass(frozen=True)
class Trial:
    """How one went.

    Attributes:
        outcome: of OUTCOMES.
        why: the error, or what was wrong.
        seconds: of the line's time.
        happened: whether the fault did.
        troubles: what the client says it recovered from.
    """

    outcome: str
    why: str
    seconds: float
    happened: bool
    troubles: tuple[str, ...] = ()


def run_trial(name: str, number: int, device: TimedDevice, other: Path) -> Trial:
    """Inferences by switch 1 on a device that has just started, with a fault drawn by `name` and `number`."""
    seed = random.Random(f"{name} {number}")
    device.read(4096, BOOT_SECONDS)
    line = FaultyLine(device, KINDS[name].make(seed, other))
    transport = ReconnectingTransport(line.reopen, 10.0, line.clock, line.sleep)
    client = DeviceClient(transport, 20.0, line.clock, nonce=seed.getrandbits(32))
    try:
        with watchdog():
            why = session(client, line, seed, KINDS[name].pause)
        outcome = "wrong result" if why else "recovered"
    except DeviceError as error:
        outcome, why = ("clean error", str(error)) if error.what else ("wrong result", "an error without words")
    except Hang as hang:
        outcome, why = "hang", f"{hang} waits for ever"
    return Trial(outcome, why, device.now, line.fault.happened, tuple(client.troubles))


def session(client: DeviceClient, line: FaultyLine, seed: random.Random, pause: float = 0.0) -> str:
    """What is wrong with its results; empty when nothing is."""
    info = client.info()
    if info.build != BUILD:
        raise DeviceError(f"runs build {info.build}, not {BUILD}")
    if info != DeviceInfo("faulty", BUILD, info.clock_hz, (64, 8), (64, 4), 1, ("slow", "fast")):
        return f"{info}"
    if info.clock_hz not in _CLOCKS:
        return f"clock {info.clock_hz}"
    client.set_switch(1)
    for _ in range(_INFERENCES):
        line.sleep(pause)
        inputs = (seed.randbytes(64), seed.randbytes(8))
        inference = client.infer(inputs)
        if inference.outputs != right_outputs(*inputs, 1):
            return f"{inference.outputs}"
        if str(inference.cycles).encode() not in re.findall(rb"m-tg-cycles (\d+)\r\n", line.said):
            return f"{inference.cycles} cycles"
    return ""


@contextmanager
def watchdog() -> Iterator[None]:
    """Ends, as a hang, what takes minutes of the host's time without a word to the line."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang("the client, without reading,")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tally(
    trials: int, make: Callable[[], TimedDevice], other: Path, kinds: tuple[str, ...] = tuple(KINDS)
) -> dict[str, list[Trial]]:
    """Each kind `trials` times, each on a device that has just started."""
    result: dict[str, list[Trial]] = {}
    for name in kinds:
        result[name] = []
        for number in range(trials):
            device = make()
            try:
                result[name].append(run_trial(name, number, device, other))
            finally:
                device.close()
    return result


def table(trials: dict[str, list[Trial]]) -> str:
    """One line a kind: how often each outcome, and the longest in seconds of the line's time."""
    width = max(map(len, trials))
    rows = [f"{'fault':{width}}  " + "".join(f"{outcome:>14}" for outcome in OUTCOMES) + "   longest (s)"]
    for name, each in trials.items():
        counts = [sum(trial.outcome == outcome for trial in each) for outcome in OUTCOMES]
        longest = max(trial.seconds for trial in each)
        rows.append(f"{name:{width}}  " + "".join(f"{count:>14}" for count in counts) + f"{longest:>14.1f}")
    return "\n".join(rows)
