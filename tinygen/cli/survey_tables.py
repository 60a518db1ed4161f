"""Tables of `tinygen inspect` over several models."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen.cli.sheet import Sheet, number, tail
from tinygen.verbs.survey import Survey, Surveyed


def survey_tables(found: Survey) -> RenderableType:
    """Models that can be read, those that cannot, and what stops them, ranked."""
    folder = _common_folder(found.models)
    enters = [model for model in found.models if model.enters]
    refused = [model for model in found.models if not model.enters]
    parts: list[RenderableType] = []
    if enters:
        parts += [_entering(enters, folder), Text()]
    if refused:
        parts += [_refused(refused, folder), Text(), _causes(found), Text()]
    return Group(*parts, Text(f"{found.entering} of {len(found.models)} models can be read."))


def _common_folder(models: tuple[Surveyed, ...]) -> Path:
    return Path(os.path.commonpath([Path(model.file).parent for model in models]))


def _entering(models: list[Surveyed], folder: Path) -> Sheet:
    arenas = any(model.arena_bytes is not None for model in models)
    columns = [number("bytes", 1), number("layers", 2), number("MAC"), number("weights"), tail("model")]
    table = Sheet(f"Can be read, in {folder}", [*columns[:4], number("arena"), columns[4]] if arenas else columns)
    for model in models:
        figures = [model.file_bytes, model.layers, model.macs, model.constant_bytes]
        figures += [model.arena_bytes or 0] if arenas else []
        table.add_row(*(f"{figure:,}" for figure in figures), os.path.relpath(model.file, folder))
    return table


def _refused(models: list[Surveyed], folder: Path) -> Sheet:
    table = Sheet("Cannot be read", [], headings=False)
    for model in models:
        operator = model.where.split(" (")[0]  # without its tensors
        name = os.path.relpath(model.file, folder)
        table.add_line(Text.assemble((name, "bold"), f"  {operator}: " if operator else "  ", model.what))
    return table


def _causes(found: Survey) -> Sheet:
    table = Sheet("What stops them, and what to do", [], headings=False)
    for cause in found.causes:
        table.add_line(Text.assemble((f"{cause.models:4}  ", "bold"), cause.what))
        if cause.fix:
            table.add_line(Text(f"      {cause.fix}"))
    return table
