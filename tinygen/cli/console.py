"""Where text goes: results to stdout, errors and progress to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(content: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    print(json.dumps(content, indent=2))


def print_wide(content: RenderableType, width: int) -> None:
    """Prints tables on stdout, at least `width` columns wide: a narrow terminal breaks lines, but no number is cut."""
    wide = Console(highlight=False, width=max(width, console.width))
    wide.print(content)


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A callback (what, done, of) that draws progress bars on stderr; silent when quiet or not a terminal."""
    if quiet or not errors.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=errors, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield update
