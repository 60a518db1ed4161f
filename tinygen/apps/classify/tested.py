"""One build on its board: a row for each of its switches, from the results of `tinygen hil`."""

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
    """Results of a network with one of its switches on a board.

    Attributes:
        choice: name of the build.
        switch: "" if the network has none.
        correct, inputs: number of correct answers on the board, and of inputs; `correct` is None without labels.
        differ: number of inputs whose output codes on the board differ from the integer semantics; 0 implies that all
            classes are equal as well.
        correct_torch: number of correct answers of the network in PyTorch; None if it was not trained here.
        cycles: {min, median, max} over the inputs; None if nothing counts cycles.
        milliseconds: median latency; None if nothing counts cycles.
        microjoules, interval: predicted energy per inference, and its interval; None if the board's current is unknown.
        source: of the latency: "predicted", "measured" or "reported"; "" if there is none.
        flash_bytes, ram_bytes: of the whole firmware, with all its switches.
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
        """Share of correct answers, 0 to 1."""
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
        """The row from the JSON of `as_json`."""
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
    """Runs a test set on the board of a build directory, with each of its switches, over the serial port.

    Args:
        choice: name for the rows.
        folder: written by `tinygen build`.
        options: the inputs, and the board.
        right_torch: number of correct answers of the network in PyTorch, by switch.
        progress: called with (what, done, of).

    Raises:
        DeviceError: the device stopped before the last input.
        KeyboardInterrupt: the user stopped the run.
    """
    report = hil(folder, options, progress=progress).as_json()
    failed = [one for one in report["checks"] if one["status"] == "failed"]
    if any(one["name"] == "finished" or "interrupted" in one["message"] for one in failed):
        raise KeyboardInterrupt
    for one in failed:
        # Codes that differ from the semantics are a result, which the table shows.
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
