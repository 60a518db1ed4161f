"""Environments with some of the packages that are installed here: what a user has who chose few extras, or none."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = _PROJECT["optional-dependencies"]


def partial_environment(folder: Path, extras: Sequence[str] = ()) -> Path:
    """The Python of a new environment that has tinygen's dependencies, those of the extras, and nothing else.

    Packages are links to this environment's. tinygen itself is not among them: PYTHONPATH brings it.
    """
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    wanted = [*_PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    for name in _closure(wanted):
        for entry, place in _entries(name):
            link = site / entry
            if not os.path.lexists(link):
                link.symlink_to(place)
    return folder / "bin/python"


def run_all(python: Path, commands: Sequence[Sequence[str | Path]], folder: Path) -> list[tuple[int, str]]:
    """Exit status and output of `tinygen` with each of these arguments, in `folder`, one after the other."""
    given = json.dumps([list(map(str, command)) for command in commands])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-m", "tests.packaging.partial_commands"],
        input=given,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(status, output) for status, output in json.loads(done.stdout)]


def _closure(requirements: Sequence[str]) -> set[str]:
    """Names of the distributions, and of all that they need in turn."""
    found: set[tuple[str, str]] = set()
    waiting = [(line, "") for line in requirements]
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for one in ("", *requirement.extras):
            if (name, one) not in found:
                found.add((name, one))
                waiting += [(inner, one) for inner in _requirements(name, one)]
    return {name for name, _ in found if name != "tinygen"}


def _requirements(name: str, extra: str) -> list[str]:
    if name == "tinygen":
        return EXTRAS[extra] if extra else []
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:  # CUDA's, say, of a torch for the CPU alone
        return []


def _entries(name: str) -> Iterator[tuple[str, Path]]:
    """What a distribution puts at the top of site-packages, and where it lies."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return
    for entry in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
        yield entry, Path(str(found.locate_file(entry)))
