"""A wrong result must never be called right: conversations over lines that drop, double, flip, delay and cut bytes,
with boards that are reset in the middle or have a flipped bit in their weights.

`python -m tests.hil.campaign --count N --seed S` holds N conversations and counts how they ended, by kind of network
and by kind of fault. A conversation is drawn from the seed and its number alone: `--first K --count 1` repeats one.
The status is 1 when one ended as none may.

The board is the host's build of the very firmware, in step with its line, so that waiting takes no time; with
`--emulated-every`, some conversations are with an emulated f746zg. What is right is known before: the model's outputs,
and, of a board whose weights differ, its outputs over a line without faults.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.hil import faults
from tests.hil.campaign_boards import Outputs, Rig, Rigs, truth, with_a_flipped_bit
from tests.hil.devices import Hang, TimedDevice, VirtualDevice
from tests.hil.fault_kinds import watchdog
from tests.hil.faults import BOOT_SECONDS, At, Fault, FaultyLine, Happening
from tests.hil.listen_devices import HOP, right_events, sound
from tinygen.builds.arrays import Samples
from tinygen.builds.codes import from_memory, in_memory
from tinygen.errors import BoardError, DeviceError
from tinygen.hil.audio import HopEvent, listen
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import Device
from tinygen.hil.farm import FarmResult, Target, run_shared
from tinygen.hil.reconnect import ReconnectingTransport
from tinygen.hil.session import Collected, Session, same

RIGHT, REFUSED, DIFFERS = "right", "refused", "reported as differing"
WRONG, ACCUSED, LOST, HANG = "wrong called right", "right called wrong", "lost", "hang"
OUTCOMES = (RIGHT, REFUSED, DIFFERS, WRONG, ACCUSED, LOST, HANG)
NEVER = (WRONG, ACCUSED, LOST, HANG)
INPUTS, HOPS = 5, 10
# Bytes that a conversation of this kind without faults sends and gets, about: where faults are drawn from.
_BYTES = {
    "plain": (1800, 2200),
    "streaming": (700, 1900),
    "switchable": (2800, 4400),
    "branching": (4000, 5500),
    "farm": (900, 1300),
    "farm of streams": (600, 1300),
    "listening": (700, 1300),
}
KINDS = (*_BYTES, "plain, flipped bit", "switchable, flipped bit", "branching, flipped bit", "farm, flipped bit")
EMULATED = ("plain", "streaming", "switchable", "branching")

FAULTS: dict[str, tuple[str, Callable[[random.Random], Happening]]] = {
    "a byte dropped, to the board": ("to", lambda seed: faults.lost(1)),
    "a byte dropped, from the board": ("from", lambda seed: faults.lost(1)),
    "bytes cut, to the board": ("to", lambda seed: faults.lost(seed.randrange(2, 200))),
    "bytes cut, from the board": ("from", lambda seed: faults.lost(seed.randrange(2, 200))),
    "a byte doubled, to the board": ("to", lambda seed: faults.doubled),
    "a byte doubled, from the board": ("from", lambda seed: faults.doubled),
    "a packet doubled, to the board": ("to", lambda seed: faults.repeated),
    "a packet doubled, from the board": ("from", lambda seed: faults.repeated),
    "a bit flipped, to the board": ("to", lambda seed: faults.flipped),
    "a bit flipped, from the board": ("from", lambda seed: faults.flipped),
    "another digit, from the board": ("from", lambda seed: faults.other_digit),
    "noise, to the board": ("to", lambda seed: faults.noise),
    "noise, from the board": ("from", lambda seed: faults.noise),
    "the CRC-32 generator added, to the board": ("to", lambda seed: faults.same_crc),
    "the CRC-32 generator added, from the board": ("from", lambda seed: faults.same_crc),
    "delayed, from the board": ("from", lambda seed: faults.late(seed.choice((0.3, 2.5, 7.0)))),
    "line dead for a while": ("to", lambda seed: faults.silence(seed.choice((0.2, 1.0, 6.0)))),
    "reset": ("to", lambda seed: faults.restarted),
    "reset while it sends": ("from", lambda seed: faults.restarted),
    "reset, banner lost": ("to", lambda seed: faults.restarted_unnoticed),
    "cable pulled for a while": ("to", lambda seed: faults.unplugged(2.0)),
}
_WAITING = ("delayed", "dead", "cable")
"""Kinds whose waiting takes long to emulate."""


class Several(Fault):
    """Faults one behind the other on one line."""

    def __init__(self, seed: random.Random, parts: Sequence[tuple[str, At]]) -> None:
        super().__init__(seed)
        self.parts = parts

    def begin(self) -> None:
        for _, part in self.parts:
            part.line = self.line
            part.begin()

    def to_device(self, data: bytes) -> bytes:
        for _, part in self.parts:
            data = part.to_device(data)
        return data

    def from_device(self, data: bytes) -> bytes:
        for _, part in self.parts:
            data = part.from_device(data)
        return data

    @property
    def names(self) -> list[str]:
        """Of those that happened."""
        return [name for name, part in self.parts if part.happened]


def draw_faults(seed: random.Random, bytes_of: tuple[int, int], kinds: Sequence[str] = tuple(FAULTS)) -> Several:
    """None to some forty, at places drawn from a whole conversation."""
    chosen = seed.choices(kinds, k=seed.choice((0, 1, 2, 4, 8, 12, 20, 40)))
    to, from_ = bytes_of
    parts = []
    for name in chosen:
        way, make = FAULTS[name]
        parts.append((name, At(seed, way, make(seed), to if way == "to" else from_)))
    return Several(seed, parts)


@dataclass(frozen=True)
class Ending:
    """How a conversation ended.

    Attributes:
        kind: of `KINDS`; on an emulated board, it says so.
        outcome: of `OUTCOMES`.
        why: the error, or what was wrong.
        faults: names of those that happened.
        results: how many inferences or hops have one.
    """

    number: int
    kind: str
    outcome: str
    why: str = ""
    faults: list[str] = field(default_factory=list)
    results: int = 0


class _Judged(Exception):
    """What must never be."""

    def __init__(self, outcome: str, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


class Talk:
    """One conversation, drawn by seed and number."""

    def __init__(self, rigs: Rigs, seed: int, number: int, *, emulated: bool = False) -> None:
        self.rigs, self.number, self.emulated = rigs, number, emulated
        self.seed = random.Random(f"{seed} {number}")
        self.kind = self.seed.choice(EMULATED if emulated else KINDS)
        self.lines: list[FaultyLine] = []
        self.devices: list[TimedDevice] = []
        self.results = 0

    def run(self) -> Ending:
        talk = {"farm": self._farm, "list": self._listen}.get(self.kind[:4], self._session)
        try:
            with watchdog():
                outcome, why = talk()
        except _Judged as judged:
            outcome, why = judged.outcome, str(judged)
        except (DeviceError, BoardError) as error:
            outcome, why = (REFUSED, str(error)) if error.what else (LOST, "an error without words")
        except ValueError as error:
            outcome, why = WRONG, f"bytes that are no outputs: {error}"
        except Hang as hang:
            outcome, why = HANG, f"{hang} waits for ever"
        finally:
            for device in self.devices:
                device.close()
        names = [name for line in self.lines if isinstance(line.fault, Several) for name in line.fault.names]
        kind = f"{self.kind}, emulated board" if self.emulated else self.kind
        return Ending(self.number, kind, outcome, why, names, self.results)

    def _line(self, device: TimedDevice) -> FaultyLine:
        """With faults of its own, behind the banner."""
        self.devices.append(device)
        device.read(4096, BOOT_SECONDS)
        to, from_ = _BYTES[self.kind.removesuffix(", flipped bit")]
        if self.emulated:
            quick = [name for name in FAULTS if not any(word in name for word in _WAITING)]
            line = FaultyLine(device, draw_faults(random.Random(self.seed.getrandbits(32)), (to, from_), quick[::2]))
        else:
            line = FaultyLine(device, draw_faults(random.Random(self.seed.getrandbits(32)), (to, from_)))
        self.lines.append(line)
        return line

    def _client(self, line: FaultyLine, nonce: int) -> DeviceClient:
        transport = ReconnectingTransport(line.reopen, 10.0, line.clock, line.sleep)
        return DeviceClient(transport, 20.0, line.clock, nonce=nonce)

    def _rig(self, name: str) -> Rig:
        return self.rigs.emulated(name) if self.emulated else self.rigs.on_host(name)

    # Sessions, as of `tinygen hil`.

    def _session(self) -> tuple[str, str]:
        rig = self._rig(self.kind.split(",")[0])
        switches = self.seed.sample(rig.switches, min(2, len(rig.switches)))
        samples = rig.draw(self.seed, INPUTS)
        elf = rig.elf
        with _folder("flipped" in self.kind) as folder:
            if folder is not None:
                elf = with_a_flipped_bit(rig.elf, self.seed, folder)
            given = {name: truth(rig, elf, name, samples) if folder else rig.right(name, samples) for name in switches}
            line = self._line(rig.start(elf))
            found = self._collect(rig, line, switches, samples)
        outcome, why = RIGHT, ""
        for name, collected in found.items():
            differs = _judge_rows(collected, rig.right(name, samples), given[name], line)
            self.results += len(collected.rows)
            if differs and "flipped" not in self.kind:
                raise _Judged(ACCUSED, differs)
            if collected.stopped:
                return REFUSED, collected.stopped
            if len(collected.rows) != len(samples):
                raise _Judged(LOST, f"{len(collected.rows)} rows of {len(samples)}, and no reason")
            if differs:
                outcome, why = DIFFERS, differs
        return outcome, why

    def _collect(
        self, rig: Rig, line: FaultyLine, switches: Sequence[str | None], samples: Samples
    ) -> dict[str | None, Collected]:
        client = self._client(line, self.seed.getrandbits(32))
        device = Device(rig.folder, transport=line)
        device.client = client  # whose time is the line's
        found: dict[str | None, Collected] = {}
        with device:
            for name in switches:
                if name is not None:
                    device.select(name)
                found[name] = Session(device, rig.semantics[name], samples).collect(layers=False)
                if found[name].stopped:
                    break
        return found

    # Farms: run_shared, and the comparison of `tinygen farm`.

    def _farm(self) -> tuple[str, str]:
        keeps = self.kind == "farm of streams"
        rig = self._rig("streaming" if keeps else "switchable")
        switch = self.seed.choice(rig.switches)
        samples = rig.draw(self.seed, 2 * INPUTS)
        part = rig.manifest.section(switch)
        index = rig.manifest.switch_index(switch) if switch is not None else 0
        elves = [rig.elf for _ in range(self.seed.randrange(2, 4))]
        right = rig.right(switch, samples)
        given = [right for _ in elves]
        with _folder("flipped" in self.kind) as folder:
            if folder is not None:
                elves[0] = with_a_flipped_bit(rig.elf, self.seed, folder)
                given[0] = truth(rig, elves[0], switch, samples)
            lines = [self._line(rig.start(elf)) for elf in elves]
            targets = [
                Target(str(i), self._connect(line, self.seed.getrandbits(32)), rig.manifest.build_id, index)
                for i, line in enumerate(lines)
            ]
            inputs = [
                [in_memory(x, t) for x, t in zip(samples.sample(i), part.inputs, strict=True)]
                for i in range(len(samples))
            ]
            found = run_shared(targets, inputs, streams=samples.streams() if keeps else None)
        return self._judge_farm(found, right, given, part.outputs)

    def _connect(self, line: FaultyLine, nonce: int) -> Callable[[], DeviceClient]:
        return lambda: self._client(line, nonce)

    def _judge_farm(
        self, found: FarmResult, right: Sequence[Outputs], given: Sequence[Sequence[Outputs]], entries: Sequence[Any]
    ) -> tuple[str, str]:
        differing = []
        for number, board in enumerate(found.boards):
            for index in board.samples:
                inference = found.inferences[index]
                if inference is None:
                    raise _Judged(LOST, f"input {index}, which board {board.name} has run")
                outputs = [from_memory(data, entry) for data, entry in zip(inference.outputs, entries, strict=True)]
                if not same(outputs, given[number][index]):
                    raise _Judged(WRONG, f"input {index}: not what board {board.name} gave")
                if not same(outputs, right[index]):
                    differing.append(index)
        self.results = len(right) - len(found.missing)
        if sum(len(board.samples) for board in found.boards) != self.results:
            raise _Judged(LOST, "results that no board has run")
        if found.missing and not all(board.error for board in found.boards):
            raise _Judged(LOST, f"inputs {found.missing}, though a board was there")
        if found.missing:
            return REFUSED, found.boards[0].error
        return (DIFFERS, f"inputs {differing}") if differing else (RIGHT, "")

    # Sound, as of `tinygen listen`.

    def _listen(self) -> tuple[str, str]:
        samples = sound(HOPS, self.seed.getrandbits(16))
        line = self._line(VirtualDevice(self.rigs.listening()))
        client = self._client(line, self.seed.getrandbits(32))
        right = right_events(samples)
        client.info()
        events: list[HopEvent] = []
        try:
            for event in listen(client, [samples], hop_samples=HOP):
                events.append(event)
        finally:
            self.results = len(events)
            for index, event in enumerate(events):
                if _without_cycles(event) != right[index] or not _was_said(event, line.said):
                    raise _Judged(WRONG, f"{event}")
        if len(events) != len(right):
            raise _Judged(LOST, f"{len(events)} hops of {len(right)}, and no reason")
        return RIGHT, ""


def _judge_rows(found: Collected, right: Sequence[Outputs], given: Sequence[Outputs], line: FaultyLine) -> str:
    """The first row that is reported as differing; "" where there is none.

    Raises:
        _Judged: one is not what the board gave, or is called what it is not.
    """
    said = {int(number) for number in re.findall(rb"m-tg-cycles (\d+)\r\n", line.said)}
    differs = ""
    for index, row in enumerate(found.rows):
        if row.sample != index:
            raise _Judged(LOST, f"input {index}: row {row.sample} is in its place")
        if row.matches and not same(row.outputs, right[index]):
            raise _Judged(WRONG, f"input {index}: {row.outputs}")
        if not same(row.outputs, given[index]):
            raise _Judged(WRONG, f"input {index}: not what the board gave")
        if row.cycles not in said:
            raise _Judged(WRONG, f"input {index}: {row.cycles} cycles, which the board has not said")
        if not row.matches:
            differs = differs or f"input {index}"
    return differs


def _without_cycles(event: HopEvent) -> HopEvent:
    return HopEvent(**{**asdict(event), "frontend_cycles": 0, "inference_cycles": 0})


def _was_said(event: HopEvent, stream: bytearray) -> bool:
    """Whether the device gave these cycles for that hop."""
    text = rf"m-tg-hop [0-9a-f]{{8}} {event.hop} \d \d \d+ \d+ {event.frontend_cycles} {event.inference_cycles} "
    return re.search(text.encode(), stream) is not None


@contextmanager
def _folder(wanted: bool) -> Iterator[Path | None]:
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tinygen-campaign-") as folder:
        yield Path(folder)


def hold(
    rigs: Rigs,
    seed: int,
    numbers: Iterable[int],
    emulated_every: int = 0,
    tell: Callable[[Ending], None] = lambda _: None,
) -> list[Ending]:
    """Conversations, one after the other."""
    found = []
    for number in numbers:
        emulated = bool(emulated_every) and number % emulated_every == emulated_every - 1
        found.append(Talk(rigs, seed, number, emulated=emulated).run())
        tell(found[-1])
    return found


def counted(endings: Sequence[Ending]) -> dict[str, Any]:
    """Counts by kind of network and by kind of fault; a conversation counts under each kind of fault that it had."""
    networks: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    injected: Counter[str] = Counter()
    for ending in endings:
        networks[ending.kind][ending.outcome] += 1
        injected.update(ending.faults)
        for name in set(ending.faults) or {"none"}:
            kinds[name][ending.outcome] += 1
    return {
        "conversations": len(endings),
        "faults": sum(injected.values()),
        "results": sum(ending.results for ending in endings),
        "outcomes": {outcome: sum(ending.outcome == outcome for ending in endings) for outcome in OUTCOMES},
        "networks": {name: dict(counts) for name, counts in sorted(networks.items())},
        "fault kinds": {name: {"injected": injected[name], **counts} for name, counts in sorted(kinds.items())},
        "never": [asdict(ending) for ending in endings if ending.outcome in NEVER],
    }


def table(content: dict[str, Any]) -> str:
    """What was counted, to read."""
    columns = ("right", "refused", "differs", "wrong", "accused", "lost", "hang")
    lines = []
    for head, rows in (("network", content["networks"]), ("fault", content["fault kinds"])):
        width = max(len(name) for name in (*rows, head)) + 2
        lines.append(f"{head:{width}}" + "".join(f"{name:>9}" for name in columns) + f"{'injected':>10}")
        for name, counts in rows.items():
            cells = "".join(f"{counts.get(outcome, 0):>9}" for outcome in OUTCOMES)
            lines.append(f"{name:{width}}{cells}{counts.get('injected', ''):>10}")
        lines.append("")
    said = ", ".join(f"{count:,} {outcome}" for outcome, count in content["outcomes"].items())
    lines.append(f"{content['conversations']:,} conversations, {content['faults']:,} faults: {said}")
    return "\n".join(
        [*lines, *(f"{one['number']}: {one['kind']}: {one['outcome']}: {one['why']}" for one in content["never"])]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hil.campaign", description=__doc__)
    parser.add_argument("--count", type=int, default=300, metavar="N", help="conversations")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="number of the first")
    parser.add_argument("--emulated-every", type=int, default=100, metavar="N", help="0: never")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    begun = time.monotonic()

    def tell(ending: Ending) -> None:
        done = ending.number - options.first + 1
        if ending.outcome in NEVER or done % 500 == 0:
            print(f"{done}: {ending.outcome} {ending.why}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="tinygen-campaign-") as folder:
        numbers = range(options.first, options.first + options.count)
        found = counted(hold(Rigs(Path(folder)), options.seed, numbers, options.emulated_every, tell))
    found["seconds"] = round(time.monotonic() - begun, 1)
    print(json.dumps(found, indent=1) if options.json else table(found))
    return int(bool(found["never"]))


if __name__ == "__main__":
    sys.exit(main())
