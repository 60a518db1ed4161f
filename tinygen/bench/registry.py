"""Every suite of `tinygen bench`: importing a suite's module registers it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import tinygen.bench.boards
import tinygen.bench.gated_layers
import tinygen.bench.generation
import tinygen.bench.int8_kernels
import tinygen.bench.lowbit
import tinygen.bench.lowbit_networks
import tinygen.bench.mobilenet
import tinygen.bench.models
import tinygen.bench.operators
import tinygen.bench.pairs
import tinygen.bench.sparse
import tinygen.bench.switches
import tinygen.bench.wakeword  # noqa: F401  (each registers its suite)
from tinygen.bench.suites import Suite, registered
from tinygen.errors import TinygenError


def all_suites() -> tuple[Suite, ...]:
    """Every suite, in the order of their registration."""
    return registered()


def find_suite(name: str) -> Suite:
    """The suite `name`.

    Raises:
        TinygenError: there is none.
    """
    known = {entry.name: entry for entry in all_suites()}
    if name not in known:
        raise TinygenError(f"there is no suite '{name}'", where="--suite", fix=f"Suites: {', '.join(known)}.")
    return known[name]


def find_suites(name: str) -> tuple[Suite, ...]:
    """The suite `name`, or those that a Python file registers.

    Raises:
        TinygenError: there is none; the file cannot be imported.
    """
    return _suites_of(Path(name)) if name.endswith(".py") else (find_suite(name),)


def _suites_of(file: Path) -> tuple[Suite, ...]:
    """Imports the file by its name within its packages, whose folder joins Python's path: also in other processes."""
    file = file.resolve()
    if not file.is_file():
        raise TinygenError("no such file", where=str(file), fix="Name a suite, or a Python file that registers one.")
    folder, names = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        folder, names = folder.parent, [folder.name, *names]
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    name = ".".join(names)
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise TinygenError(f"cannot be imported: {error}", where=str(file)) from error
    if module.__file__ is None or Path(module.__file__).resolve() != file:
        fix = "Give the file, or the folder of its package, another name."
        raise TinygenError(f"module {name} is another file: {module.__file__}", where=str(file), fix=fix)
    found = tuple(entry for entry in registered() if entry.cases.__module__ == name)
    if not found:
        fix = "Decorate a function that gives cases with tinygen.bench.suites.suite (docs/bench.md)."
        raise TinygenError("registers no suite", where=str(file), fix=fix)
    return found
