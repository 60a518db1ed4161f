"""One build on its board: a row for each of its switches, made of what `tinygen hil` finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.builds.manifest import read_manifest
from tinygen.errors import DeviceError
from tinygen.verbs.hil import HilOptions, hil

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """A network on a board, by one of its switches.

    Attributes:
        choice: name of the build.
        switch: "" where there are none.
        correct, inputs: right answers on the board, of how many; None where the test set has no labels.
        differ: of the inputs, how many have other output codes on the board than in the integer semantics; 0 says that
            every class is theirs, too.
        correct_torch: right answers of the network in PyTorch; None where it was not trained here.
        cycles: {min, median, max} over the inputs; None where nothing counts them.
        milliseconds: of the median; None likewise.
        microjoules, interval: predicted per inference, and what they lie between; None where the board's current is
            not known.
        source: of latency: "predicted", "measured" or "reported"; "" where there is none.
        flash_bytes, ram_bytes: of the whole firmware, with all of its switches.
    """

    choice: str
    switch: str
    correct: int | None
    inputs: int
    differ: int
    correct_torch: int | None
    cycles: Mapping[str, float] | None
    milliseconds: float | None
    microjoules: float | None
    interval: tuple[float, float] | None
    source: str
    flash_bytes: int | None
    ram_bytes: int | None

    @property
    def name(self) -> str:
        return self.switch or self.choice

    @property
    def accuracy(self) -> float | None:
        """0 to 1."""
        return None if self.correct is None else self.correct / self.inputs

    def as_json(self) -> dict[str, Any]:
        return {
            "choice": self.choice,
            "switch": self.switch or None,
            "accuracy": self.accuracy,
            "correct": self.correct,
            "inputs": self.inputs,
            "differ_from_semantics": self.differ,
            "correct_torch": self.correct_torch,
            "cycles": None if self.cycles is None else dict(self.cycles),
            "milliseconds": self.milliseconds,
            "microjoules": self.microjoules,
            "microjoules_interval": None if self.interval is None else list(self.interval),
            "source": self.source or None,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
        }

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> Row:
        """What `as_json` gave."""
        interval = entry["microjoules_interval"]
        return Row(
            entry["choice"],
            entry["switch"] or "",
            entry["correct"],
            entry["inputs"],
            entry["differ_from_semantics"],
            entry["correct_torch"],
            entry["cycles"],
            entry["milliseconds"],
            entry["microjoules"],
            None if interval is None else (interval[0], interval[1]),
            entry["source"] or "",
            entry["flash_bytes"],
            entry["ram_bytes"],
        )


def run_test_set(
    choice: str,
    folder: Path,
    options: HilOptions,
    *,
    right_torch: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Runs a test set on the board of a build directory, by each of its switches, over its serial port.

    Args:
        choice: name of the rows.
        folder: written by `tinygen build`.
        options: the inputs, and where they are run.
        right_torch: right answers of the network in PyTorch, by switch.
        progress: called with (what, done, of).

    Raises:
        DeviceError: the device stopped before the last input.
        KeyboardInterrupt: so did the user.
    """
    report = hil(folder, options, progress=progress).as_json()
    failed = [one for one in report["checks"] if one["status"] == "failed"]
    if any(one["name"] == "finished" or "interrupted" in one["message"] for one in failed):
        raise KeyboardInterrupt
    for one in failed:
        # Other codes than the semantics' are a result, which the table shows.
        if one["name"] not in ("bit-exact", "stable"):
            raise DeviceError(one["message"], where=report["device"]["name"])
    right = right_torch or {}
    return [_row(choice, part, _sizes(folder), right.get(part["switch"] or "")) for part in report["switches"]]


def _row(choice: str, part: Mapping[str, Any], sizes: Mapping[str, int | None], right_torch: int | None) -> Row:
    latency, accuracy = part["latency"], part["accuracy"]
    energy = part["energy"][0] if part["energy"] else None
    return Row(
        choice=choice,
        switch=part["switch"] or "",
        correct=accuracy["correct"] if accuracy else None,
        inputs=part["completed"],
        differ=part["mismatches"],
        correct_torch=right_torch,
        cycles={key: latency["cycles"][key] for key in ("min", "median", "max")} if latency else None,
        milliseconds=latency["microseconds"]["median"] / 1e3 if latency else None,
        microjoules=energy["microjoules"] if energy else None,
        interval=(energy["interval"][0], energy["interval"][1]) if energy else None,
        source=latency["source"] if latency else "",
        **sizes,
    )


def _sizes(folder: Path) -> dict[str, int | None]:
    manifest = read_manifest(folder)
    return {"flash_bytes": manifest.flash_bytes, "ram_bytes": manifest.ram_bytes}
