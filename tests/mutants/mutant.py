"""A mutant: one careless change to tinygen, and the tests that should notice it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


class StaleError(Exception):
    """The tree has changed, and the mutant says nothing of it any more."""


@dataclass(frozen=True)
class Mutant:
    """One entry of a list in this folder.

    Attributes:
        name: of letters, digits and dashes; no other mutant has it.
        breaks: what goes wrong, for a reader.
        file: what is changed, from the root of the checkout.
        before: text that stands there once; each run of white space stands for any other.
        after: what takes its place.
        tests: as for pytest, from the root of the checkout: these should fail.
        room: the list that it comes from.
    """

    name: str
    breaks: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    room: str

    def applied(self, text: str) -> str:
        """The file's text with the change.

        Raises:
            StaleError: the text to change is not there exactly once, or changes nothing.
        """
        words = self.before.split()
        found = list(re.finditer(r"\s+".join(map(re.escape, words)), text))
        if len(found) != 1:
            raise StaleError(f"{self.file} has the text before {len(found)} times, not once")
        if self.before.strip() == self.after.strip():
            raise StaleError("the text after is the text before")
        start, end = found[0].span()
        return text[:start] + self.after.strip() + text[end:]

    def check(self, root: Path = ROOT) -> None:
        """That the change can be made, that what comes out of it is still Python (YAML, a template), and that the tests
        are there.

        Raises:
            StaleError: something of that does not hold.
        """
        path = root / self.file
        if not path.is_file():
            raise StaleError(f"there is no {self.file}")
        changed = self.applied(path.read_text(encoding="utf-8"))
        try:
            _parse(path.suffix, changed)
        except Exception as error:
            raise StaleError(f"{self.file} does not parse with the change: {error}") from error
        if missing := [test for test in self.tests if not _is_there(root, test)]:
            raise StaleError(f"there is no {missing[0]}")


def _is_there(root: Path, test: str) -> bool:
    """Whether a file has a test; of parametrized ones the name counts."""
    name, _, function = test.partition("::")
    path = root / name
    if not function:
        return path.exists()
    wanted = re.escape(function.partition("[")[0])
    return path.is_file() and re.search(rf"\b{wanted}\b", path.read_text(encoding="utf-8")) is not None


def _parse(suffix: str, text: str) -> None:
    if suffix == ".py":
        ast.parse(text)
    elif suffix in (".yaml", ".yml"):
        yaml.safe_load(text)
    elif suffix == ".j2":
        Environment(extensions=["jinja2.ext.do"]).parse(text)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants, list by list.

    Raises:
        StaleError: an entry lacks a field or has another one, or a name is there twice.
    """
    found: list[Mutant] = []
    for path in sorted(folder.glob("*.yaml")):
        for entry in yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER):
            found.append(_mutant(entry, path.stem))
    for name, count in Counter(mutant.name for mutant in found).items():
        if count > 1:
            raise StaleError(f"two mutants are called {name}")
    return found


def _mutant(entry: dict[str, Any], room: str) -> Mutant:
    fields = {"name", "breaks", "file", "before", "after", "tests"}
    if set(entry) != fields:
        wrong = ", ".join(sorted(fields ^ set(entry)))
        raise StaleError(f"{room}.yaml, {entry.get('name', '?')}: fields {wrong}")
    tests = entry["tests"]
    texts = {key: str(entry[key]) for key in fields - {"tests"}}
    return Mutant(**texts, tests=tuple([tests] if isinstance(tests, str) else tests), room=room)


def chosen(mutants: Sequence[Mutant], only: Sequence[str]) -> list[Mutant]:
    """Those named, or of the rooms named; all where nothing is.

    Raises:
        StaleError: a name is none.
    """
    known = {mutant.name for mutant in mutants} | {mutant.room for mutant in mutants}
    if unknown := [name for name in only if name not in known]:
        raise StaleError(f"there is no mutant or list {unknown[0]!r}; --list shows them")
    return [mutant for mutant in mutants if not only or mutant.name in only or mutant.room in only]
