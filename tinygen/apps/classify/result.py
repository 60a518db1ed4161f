"""The result of a comparison of classifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.apps.classify.answers import Answer
from tinygen.apps.classify.images import Picture
from tinygen.apps.classify.pareto import Axis, cost_axis, front_of
from tinygen.apps.classify.tested import Row
from tinygen.targets.board import Board


@dataclass(frozen=True)
class Verdict:
    """The answer of one network on the board for a picture.

    Attributes:
        choice, switch: as in `Row`.
        answer: from the board's output.
        matches: whether the output codes equal those of the integer semantics.
    """

    choice: str
    switch: str
    answer: Answer
    matches: bool

    @property
    def name(self) -> str:
        return self.switch or self.choice


@dataclass(frozen=True)
class Seen:
    """A picture and the answers of all networks."""

    picture: Picture
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Comparison:
    """A comparison of networks.

    Attributes:
        title: names the models.
        board: on which they ran; `device` is the runtime's name, "f746zg-emulated".
        rows: one per network and switch; empty if no test set was run.
        float_accuracy: of the float network in PyTorch, 0 to 1; None without one.
        seen: the pictures.
        labels: names of classes; empty without names.
        kept: choices whose build and results were reused from an earlier run.
        report: folder of results.json, report.html and, if there are rows to compare, pareto.png.
        builds: build folders by choice.
        seconds: durations by activity.
    """

    title: str
    board: Board
    device: str
    rows: tuple[Row, ...]
    float_accuracy: float | None
    seen: tuple[Seen, ...]
    labels: tuple[str, ...]
    kept: tuple[str, ...]
    report: Path
    builds: Mapping[str, Path]
    seconds: Mapping[str, float]

    @property
    def axis(self) -> Axis | None:
        return cost_axis(self.rows)

    @property
    def front(self) -> list[Row]:
        return front_of(self.rows, self.axis)

    @property
    def outputs(self) -> int:
        """Number of outputs of the board, for test set and pictures."""
        return sum(row.inputs for row in self.rows) + sum(len(one.verdicts) for one in self.seen)

    @property
    def differ(self) -> int:
        """Number of outputs that differ from the integer semantics."""
        pictures = [verdict for one in self.seen for verdict in one.verdicts]
        return sum(row.differ for row in self.rows) + sum(not verdict.matches for verdict in pictures)

    @property
    def has_picture(self) -> bool:
        return len(self.rows) > 1 and bool(self.front)

    def as_json(self) -> dict[str, Any]:
        front, axis = self.front, self.axis
        return {
            "title": self.title,
            "board": self.board.name,
            "device": self.device,
            "accuracy_float": self.float_accuracy,
            "cost": axis.key if axis else None,
            "rows": [row.as_json() | {"on_front": row in front} for row in self.rows],
            "images": [self._image(one) for one in self.seen],
            "outputs": self.outputs,
            "differ_from_semantics": self.differ,
            "kept": list(self.kept),
            "builds": {name: str(folder) for name, folder in self.builds.items()},
            "report": str(self.report),
            "seconds": dict(self.seconds),
        }

    def _image(self, one: Seen) -> dict[str, Any]:
        return {
            "file": str(one.picture.path),
            "answers": [
                {
                    "choice": verdict.choice,
                    "switch": verdict.switch or None,
                    **verdict.answer.as_json(),
                    "label": self.labels[verdict.answer.index] if self.labels else None,
                    "matches_semantics": verdict.matches,
                }
                for verdict in one.verdicts
            ],
        }
