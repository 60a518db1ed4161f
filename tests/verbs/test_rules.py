"""What verbs decide by themselves: whether a farm passed, where weights lie, which helpers a kernel pulls in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinygen.errors import TinygenError
from tinygen.project.choices import WeightMemory
from tinygen.targets.boards import load_board
from tinygen.verbs.farm import FarmReport
from tinygen.verbs.flash_helpers import Caller, Helpers
from tinygen.verbs.options import BuildOptions
from tinygen.verbs.weights import weight_memory


def _report(*errors: str, samples: int = 2, wrong: tuple[int, ...] = ()) -> FarmReport:
    boards = tuple(cast("Any", SimpleNamespace(error=error)) for error in errors)
    return FarmReport(boards, (), tuple(range(samples)), 2, wrong, None)


def test_a_farm_passes_if_every_board_and_every_input_did() -> None:
    assert _report("", "").passed
    assert not _report("", "gone").passed and not _report("", samples=1).passed and not _report("", wrong=(1,)).passed


@pytest.mark.parametrize(
    ("board", "weights", "small", "memory"),
    [
        ("esp32c3", 1000, False, WeightMemory.RAM),
        ("esp32c3", 1000, True, WeightMemory.FLASH),
        ("esp32c3", 10**6, False, WeightMemory.FLASH),
        ("f746zg", 1000, False, WeightMemory.FLASH),
    ],
)
def test_weights_are_copied_where_flash_is_slow(board: str, weights: int, small: bool, memory: WeightMemory) -> None:
    constant = SimpleNamespace(data=SimpleNamespace(tobytes=lambda: bytes(weights)))
    step = SimpleNamespace(plan=SimpleNamespace(constants=[constant, constant], operands=()), branches=())
    program = cast("Any", SimpleNamespace(programs=[SimpleNamespace(steps=[step])], arena_bytes=1000))
    assert weight_memory(WeightMemory.AUTO, load_board(board), program, small=small) is memory
    assert weight_memory(WeightMemory.RAM, load_board(board), program, small=small) is WeightMemory.RAM


def test_helpers_are_a_callers_if_no_firmware_with_it_is_without_them() -> None:
    """`shared` is called by both; `other` stands in the header, and a firmware with the kernel does without it."""
    helpers = Helpers(
        [(frozenset({"a", "b"}), {"shared": 10, "other": 30}), (frozenset({"a"}), {"shared": 12})],
        {"h.h": frozenset({"shared", "other"}), "unread.h": frozenset({"more"})},
    )
    assert helpers.parts([Caller("a", ("h.h",))]) == {("helper", "shared"): 12}
    assert helpers.parts([Caller("b", ("h.h",))]) == {("helper", "shared"): 12, ("helper", "other"): 30}
    assert helpers.parts([Caller("b", ("none.h",))]) == {}


@pytest.mark.parametrize("choice", ["kernels", "weights", "mode", "arithmetic", "io", "gates"])
def test_choices_that_there_are_not(choice: str) -> None:
    with pytest.raises(TinygenError, match="'magic'"):
        BuildOptions(**{choice: "magic"})  # type: ignore[arg-type]
