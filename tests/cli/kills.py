"""Commands that are ended at random moments: `python -m tests.cli.kills --count N --seed S`.

Each command is first run to its end, which says how long it takes and which files it writes; then each signal ends it
N times, at moments drawn from that time. Afterwards the user's files must be as they were, an output whole or not
there, and no process left; standard error must hold no traceback; the status must be that of the signal (a command
may have ended just before). Last, the command runs to its end: what killed runs have left must be gone. The status
is 1 where any of this does not hold. Signals go to all processes of a terminal for SIGINT, else to the command's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.cli.ended import SETTLE_SECONDS, end_all, members, started, tinygen, within
from tests.cli.writing.commands import ARRAY, first_shape
from tests.support.streaming_models import SMALL
from tinygen.claims import PREFIX

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
COMMANDS = ("build", "run", "hil", "export", "bench", "training")
ENDED, STATUS, TRACEBACK, STARTING, HALF, LEFT, CHANGED, LEFTOVERS = (
    "ended as asked",
    "another status",
    "traceback",
    "traceback of Python's own start",
    "half-written",
    "process left",
    "user's files changed",
    "leftovers",
)
NEVER = (STATUS, TRACEBACK, HALF, LEFT, CHANGED, LEFTOVERS)
_LIMIT_SECONDS = 600.0


class Campaign:
    """One command in folders of its own.

    Args:
        folder: new.
        name: of `COMMANDS`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.place, self.temporary = folder / "place", folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.place.mkdir()
        model = self.place / "model.tflite"
        model.write_bytes(SMALL["accumulator"]())
        np.save(self.place / ARRAY, np.zeros(first_shape(model), np.int8))
        self.environment = {"TMPDIR": str(self.temporary)}
        self.out = self.place / ("out.npy" if name == "run" else "out")
        self.arguments = _arguments(name, model, folder / "built", self.out)
        if name in ("run", "hil"):
            self._whole(("build", model, "--board", "host", "--out", folder / "built"))
        self.seconds = min(self._whole(self.arguments), self._whole(self.arguments))
        self.kept = _files(self.place, self.out)
        self.names = _names(self.out)

    def _whole(self, arguments: Sequence[str | Path]) -> float:
        begun = time.monotonic()
        process = started(tinygen(arguments), self.environment)
        _, said = process.communicate(timeout=_LIMIT_SECONDS)
        if process.returncode:
            raise RuntimeError(f"{arguments} ends with {process.returncode}: {said}")
        return time.monotonic() - begun

    def kill(self, number: signal.Signals, moment: float) -> set[str]:
        """What was found after one run that a signal ended."""
        process = started(tinygen(self.arguments), self.environment)
        time.sleep(moment)
        with suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        found = set()
        if not within(SETTLE_SECONDS, lambda: not members(process.pid)):
            found.add(LEFT)
            end_all(process.pid)
        _, said = process.communicate()
        expected = {0, 130, -number} if number == signal.SIGINT else {0, -number}
        if process.returncode not in expected and "Traceback" not in said:
            found.add(STATUS)
        if "Traceback" in said or "Error" in said:
            found.add(TRACEBACK if "tinygen" in said else STARTING)
            print(said, file=sys.stderr)
        if _files(self.place, self.out) != self.kept:
            found.add(CHANGED)
        if _names(self.out) not in (frozenset(), self.names):
            found.add(HALF)
        if number != signal.SIGKILL and _left(self.place, self.temporary):
            found.add(LEFTOVERS)
        return found or {ENDED}

    def leftovers(self) -> list[str]:
        """What is there after a run that nothing ends."""
        self._whole(self.arguments)
        return _left(self.place, self.temporary)


def _arguments(name: str, model: Path, built: Path, out: Path) -> tuple[str | Path, ...]:
    commands: dict[str, tuple[str | Path, ...]] = {
        "build": ("build", model, "--board", "host", "--out", out),
        "run": ("run", built, "--inputs", model.with_name(ARRAY), "--force", "--outputs", out),
        "hil": ("hil", built, "--limit", "3", "--out", out),
        "export": ("export", model, "--as", "c", "--board", "host", "--out", out),
        "bench": (
            "bench",
            model,
            "--board",
            "f411re",
            "--jobs",
            "2",
            "--out",
            out,
        ),
        "training": (
            *("demo", "classify", "--board", "host", "--choices", "int8,w4"),
            *("--epochs", "1", "--jobs", "2", "--out", out),
        ),
    }
    return commands[name]


def _names(out: Path) -> frozenset[str]:
    paths = out.rglob("*") if out.is_dir() else [out] if out.exists() else []
    names = {path.relative_to(out.parent).as_posix() for path in paths if path.is_file()}
    return frozenset(name for name in names if PREFIX not in name)


def _files(place: Path, out: Path) -> dict[str, bytes]:
    """The user's."""
    paths = [path for path in place.iterdir() if path.is_file() and path != out]
    return {path.name: path.read_bytes() for path in paths}


def _left(place: Path, temporary: Path) -> list[str]:
    ours = [path for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]  # a cache of PyTorch's
    return sorted(map(str, [*place.rglob(f"{PREFIX}*"), *ours]))


def campaign(folder: Path, names: Sequence[str], count: int, seed: int) -> dict[str, Any]:
    """Counts by command and signal; leftovers by command."""
    found: dict[str, Any] = {}
    for name in names:
        one = Campaign(folder / name, name)
        draw = random.Random(f"{seed} {name}")
        counts: dict[str, Counter[str]] = {}
        for number in SIGNALS:
            counts[number.name] = Counter()
            for _ in range(count):
                counts[number.name].update(one.kill(number, draw.uniform(0.0, one.seconds)))
        left = one.leftovers()
        found[name] = {
            "seconds": round(one.seconds, 2),
            **{number: dict(each) for number, each in counts.items()},
            LEFTOVERS: left,
        }
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def failures(found: dict[str, Any]) -> list[str]:
    """What must not be."""
    bad = [f"{name}: {LEFTOVERS}: {each[LEFTOVERS]}" for name, each in found.items() if each[LEFTOVERS]]
    for name, each in found.items():
        for number in SIGNALS:
            bad += [
                f"{name}: {number.name}: {each[number.name][what]} {what}"
                for what in NEVER
                if what in each[number.name]
            ]
    return bad


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cli.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=5, metavar="N", help="of each signal for each command")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--only", action="append", choices=COMMANDS, help="a command; repeatable")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        found = campaign(Path(folder), options.only or COMMANDS, options.count, options.seed)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, each in found.items():
            for number in SIGNALS:
                said = ", ".join(f"{count} {what}" for what, count in each[number.name].items())
                print(f"{name:10} {number.name:8} {said}")
    bad = failures(found)
    print("\n".join(bad), file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
