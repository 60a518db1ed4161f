"""Suite `models`: the demo's model, those of given folders, and those that installed packages ship."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from tinygen.bench.case import Case, Skipped, case_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.demo import MODEL
from tinygen.errors import ModelError, TinygenError, UnsupportedError

SUITE = "models"
PACKAGES = ("pymicro_wakeword",)
"""Python packages that ship quantized .tflite models for microcontrollers."""


@suite(SUITE, "whole models: the demo's, every .tflite in --models (or TINYGEN_MODELS), those of installed packages")
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: a folder is not there, or holds no model.
    """
    found: list[Case] = []
    skipped: list[Skipped] = []
    paths = [MODEL, *(path for folder in options.models for path in _in_folder(folder))]
    for path in [*paths, *(path for package in PACKAGES for path in _in_package(package))]:
        name = _free_name(path, {case.name for case in found})
        try:
            found.append(case_of(SUITE, name, path))
        except (ModelError, UnsupportedError) as error:
            skipped.append(Skipped(str(path), error.what))
    return SuiteCases(found, skipped)


def _in_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise TinygenError("is not a directory", where=str(folder), fix="Name a folder of .tflite files: --models DIR.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".tflite" and path.is_file())
    if not paths:
        raise TinygenError("holds no .tflite file", where=str(folder), fix="Name another folder: --models DIR.")
    return paths


def _in_package(name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(name)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(folder).rglob("*.tflite"))


def _free_name(path: Path, taken: set[str]) -> str:
    if path.stem not in taken:
        return path.stem
    number = 2
    while f"{path.stem}_{number}" in taken:
        number += 1
    return f"{path.stem}_{number}"
