"""What the acceptance suite leaves behind, and what of it is believed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tinygen.builds.predicted import error_of, time_and_energy
from tinygen.errors import BoardError
from tinygen.targets import first_light
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.cycles.fit import main
from tinygen.targets.first_light import KERNEL, LOOP, MODEL, FirstLight, Point, measured_of, read_first_light, spread_of
from tinygen.verbs.boards import list_boards as describe_boards

POINTS = tuple(Point(KERNEL, f"k{n}", "conv", cycles=1000 + 10 * n, predicted=1000) for n in range(21))
FOUND = FirstLight("f746zg", "/dev/ttyACM0", "measured", "2026-11-23T00:00:00+00:00", "0.1", "zig", points=POINTS)


def keep(folder: Path, found: FirstLight, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a `boards/measured` of one's own."""
    (folder / "measured").mkdir(exist_ok=True)
    (folder / "measured/first-light-f746zg.json").write_text(json.dumps(found.to_json()))
    monkeypatch.setattr(first_light, "resource", lambda name: folder)


def test_the_spread_is_counted_by_predicted() -> None:
    spread = spread_of(POINTS)
    assert spread is not None
    assert (spread.points, spread.median) == (21, pytest.approx(1.10))
    assert (spread.low, spread.high) == (pytest.approx(1.01), pytest.approx(1.19))
    assert str(spread) == "21 points, median +10.0 %, 90 % of them +1.0 to +19.0 %"
    assert FOUND.spread(MODEL) is None


def test_what_a_board_said_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, FOUND, monkeypatch)
    assert measured_of("f746zg") == FOUND and measured_of("l4r5zi") is None


def test_boards_says_which_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, FOUND, monkeypatch)
    content = {board["name"]: board for board in describe_boards()}
    assert content["f746zg"]["measured"] == "21 points, median +10.0 %, 90 % of them +1.0 to +19.0 %"
    assert content["l4r5zi"]["measured"] is None


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (replace(FOUND, source="predicted", place="emulated by tinygen"), "was predicted .emulated by tinygen., not"),
        (replace(FOUND, source="reported"), "was reported"),
        (replace(FOUND, board="f767zi"), "is f767zi's"),
        (replace(FOUND, checks=({"name": "clock", "status": "failed", "message": ""},)), "has checks that failed"),
    ],
)
def test_only_what_a_real_board_said_is_kept(
    found: FirstLight, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, found, monkeypatch)
    with pytest.raises(BoardError, match=problem):
        measured_of("f746zg")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "tinygen first light", "schema_version": 2}'])
def test_what_is_no_first_light(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BoardError, match=r"x\.json: is no first light"):
        read_first_light(path)


def test_everything_in_boards_measured_was_measured() -> None:
    """And the page says that there is no real board as long as there is none."""
    measured = [name for name in list_boards() if measured_of(name) is not None]
    read_me = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert ("| Real boards | **None yet.**" in read_me) is (not measured)


def test_predictions_carry_the_boards_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = error_of(load_board("f746zg"))
    assert before.interval is not None and "published" in before.source
    keep(tmp_path, FOUND, monkeypatch)
    assert time_and_energy(216_000, load_board("f746zg"))["milliseconds_interval"] == pytest.approx([1.01, 1.19])
    assert error_of(load_board("f746zg")).source == "21 measurements on this board"
    assert error_of(load_board("f767zi")) == before


def test_factors_are_fitted_to_some_points_and_held_against_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loops = [Point(LOOP, f"l{n}", cycles=1050 + 300 * n, predicted=1000 + 100 * n, stalls=100 * n) for n in range(4)]
    kernels = [Point(KERNEL, "k", "conv", cycles=2550, predicted=1500, stalls=500), Point(KERNEL, "unknown")]
    path = tmp_path / "first-light-f746zg.json"
    path.write_text(json.dumps(replace(FOUND, points=(*loops, *kernels)).to_json()))
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "core x 1.050, memory x 3.000" in said and "miss_cycles of code: 8 would be 24.0" in said
    assert "held out, before: 1 points, median +70.0 %" in said
    assert "held out, after:  1 points, median +0.0 %" in said


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (replace(FOUND, source="predicted", place="emulated by tinygen"), "cycles are predicted .emulated by tinygen."),
        (FOUND, "0 points of kind loop are too few"),
    ],
)
def test_there_is_nothing_to_fit_to(
    found: FirstLight, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(found.to_json()))
    assert main([str(path)]) == 1
    assert re.search(problem, capsys.readouterr().err)
