"""When a session believes a result: on a device of which nothing but its answers is there."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from tinygen.builds.arrays import Samples
from tinygen.hil.answers import Marks
from tinygen.hil.session import ATTEMPTS, Session

RIGHT, WRONG, OTHER = (np.array([[value]], np.int8) for value in (1, 2, 3))


class Semantics:
    """The right answer is always the same."""

    path: ClassVar[dict[str, int]] = {}

    def outputs(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [RIGHT]

    def reset(self) -> None:
        pass

    def first_difference(self, *_: object) -> None:
        return None


class Device:
    """Gives what it is told to, one after the other; the first answer is that of the warm-up."""

    cycles_source, keeps, timer, stack_used = "counted", False, None, None
    has_branches = False

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers = [RIGHT, *answers]
        self.checked = 0
        self.client = SimpleNamespace(troubles=[], paint=lambda: None, marks=lambda: Marks(None, None))

    def timed(self, sample: Sequence[np.ndarray], *, keep: bool = False) -> tuple[list[np.ndarray], int]:
        return [self.answers.pop(0)], 10

    def check(self) -> None:
        self.checked += 1

    def reset(self) -> None:
        pass

    def take_back(self) -> None:
        pass

    def intermediate(self, sample: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {}


def _session(device: Device, inputs: int = 1) -> Any:
    samples = Samples((np.zeros((inputs, 1, 1), np.int8),))
    return Session(device, Semantics(), samples).collect()  # type: ignore[arg-type]


def test_a_wrong_result_that_does_not_come_twice_is_the_boards() -> None:
    device = Device(WRONG, RIGHT, RIGHT)
    found = _session(device, inputs=2)
    first, second = found.rows
    assert (first.matches, first.stable, first.attempts) == (True, False, 2)
    assert (second.matches, second.stable, second.attempts) == (True, True, 1)
    assert device.checked == 1 and [incident.sample for incident in found.incidents] == [0]


def test_a_wrong_result_that_comes_twice_is_the_firmwares() -> None:
    (row,) = _session(Device(WRONG, WRONG)).rows
    assert (row.matches, row.stable, row.attempts) == (False, True, 2)
    (row,) = _session(Device(WRONG, OTHER, WRONG)).rows
    assert (row.matches, row.stable, row.attempts) == (False, False, 3)


def test_what_is_another_each_time_ends_after_some_attempts() -> None:
    answers = [np.array([[value]], np.int8) for value in range(2, 2 + ATTEMPTS)]
    (row,) = _session(Device(*answers)).rows
    assert (row.matches, row.stable, row.attempts) == (False, False, ATTEMPTS)
