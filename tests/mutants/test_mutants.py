"""The lists of mutants are of this tree: each applies to it once, and what comes out still parses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.mutants import trial
from tests.mutants.counts import count_table, room_of, source_files
from tests.mutants.mutant import FOLDER, Mutant, StaleError, chosen, read_mutants
from tests.mutants.tree import broken

_mutants = cache(read_mutants)


@pytest.mark.parametrize("room", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_mutant_applies(room: str) -> None:
    stale = []
    for mutant in chosen(_mutants(), [room]):
        try:
            mutant.check()
        except StaleError as error:
            stale.append(f"{mutant.name}: {error}")
    assert not stale, "mend the entry, or take it out:\n" + "\n".join(stale)


def test_all_rooms_have_some() -> None:
    counts = Counter(mutant.room for mutant in _mutants())
    assert len(_mutants()) >= 60 and min(counts.values()) >= 2, counts


def test_every_room_of_the_package_has_some() -> None:
    """But for those where there is next to nothing to break."""
    rooms = {room_of(file) for file in source_files() if file.startswith("tinygen/")}
    without = rooms - {room_of(mutant.file) for mutant in _mutants()}
    assert without <= {"tinygen/demo"}, f"add a list for {', '.join(sorted(without))}"


def test_the_table_counts_files_and_names_what_has_none() -> None:
    mutants = [_mutant(file="tinygen/emit/a.py"), _mutant(file="tinygen/emit/a.py"), _mutant(file="hil/x.py")]
    table = count_table(mutants, ["tinygen/emit/a.py", "tinygen/emit/b.py", "tinygen/files.py", "templates/x/y.j2"])
    assert [line.split() for line in table[1:]] == [
        ["hil", "1", "1", "of", "1"],
        ["templates/x", "0", "0", "of", "1"],
        ["tinygen", "0", "0", "of", "1"],
        ["tinygen/emit", "2", "1", "of", "2"],
        ["all", "3", "2", "of", "5"],
        ["without", "any:", "templates/x,", "tinygen"],
    ]


def _mutant(**fields: str) -> Mutant:
    known = {"name": "one", "breaks": "it", "file": "a.py", "before": "x + 1", "after": "x - 1", "room": "test"}
    return Mutant(**{**known, **fields}, tests=("tests",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"), [("y = 1\n", "0 times"), ("y = x + 1\nz = x + 1\n", "2 times"), ("y = x +1\n", "0 times")]
)
def test_what_is_not_there_once_is_stale(text: str, words: str) -> None:
    with pytest.raises(StaleError, match=words):
        _mutant().applied(text)


def test_white_space_may_differ() -> None:
    assert _mutant(before="f(x,\n  y)", after="f(y, x)").applied("a = f(x, y)\n") == "a = f(y, x)\n"


def test_a_change_that_does_not_parse_is_stale(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("y = (x + 1)\n")
    (tmp_path / "tests").mkdir()
    _mutant().check(tmp_path)
    with pytest.raises(StaleError, match="does not parse"):
        _mutant(after="x - (1").check(tmp_path)


def test_the_tree_is_whole_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("y = x + 1\n")
    before = path.stat().st_mtime_ns
    with broken(tmp_path, _mutant()):
        assert path.read_text() == "y = x - 1\n"
    assert path.read_text() == "y = x + 1\n" and path.stat().st_mtime_ns == before


@pytest.mark.long
def test_a_run_names_the_test_that_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a broken copy to the verdict, with pytest in a process of its own."""

    def tiny(to: Path) -> Path:
        for name, text in (("a.py", "def f(x):\n    return x + 1\n"), ("test_a.py", TESTS), ("test_b.py", "x = 1\n")):
            (to / name).write_text(text)
        return to

    monkeypatch.setattr(trial, "copy_tree", tiny)
    place = trial.Workplace(tmp_path)
    mutant = replace(_mutant(), tests=("test_a.py::test_right",))
    blind = replace(mutant, tests=("test_a.py::test_blind",))
    try:
        found = trial.try_mutant(place, mutant, seconds=60, whole=0, jobs=0)
        assert (found.verdict, found.by) == (trial.KILLED, "test_a.py::test_right"), found.output
        assert trial.try_mutant(place, blind, seconds=60, whole=0, jobs=0).verdict == trial.SURVIVED
        found = trial.try_mutant(place, blind, seconds=60, whole=60, jobs=0)
        assert (found.verdict, found.by, found.expected) == (trial.KILLED, "test_a.py::test_right", False), found.output
        stale = replace(mutant, before="x * 1")
        assert trial.try_mutant(place, stale, seconds=60, whole=0, jobs=0).verdict == trial.STALE
    finally:
        place.close()


TESTS = """
from a import f

def test_blind():
    assert f(0) in (1, -1)

def test_right():
    assert f(0) == 1
"""
