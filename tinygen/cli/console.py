"""Output streams: results go to stdout, errors and progress to stderr.

What is printed may come from anywhere: names of files, tensors and models, messages of other programs. So text is
only ever text here: the consoles read no markup and no emoji codes in it, and show control characters as symbols.
Styles are given by `rich.text.Text` objects alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

PIPE_COLUMNS = 10_000
"""Columns of a pipe or a file, which have no width: every table is printed whole, no line is broken."""

_KEPT = "\n\t"
_SYMBOLS = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}"),
}
"""What stands for control characters: an escape sequence in a tensor's name must not reach the terminal."""


class PlainConsole(Console):
    """A console that prints text as it is, as wide as its terminal, and without a limit elsewhere.

    Args:
        file: where to; default: the stdout of the moment.
        stderr: to the stderr of the moment.
        width: columns; default: the terminal's, or `COLUMNS`.
    """

    def __init__(self, file: IO[str] | None = None, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
        self._width = width  # Rich would keep the `COLUMNS` of the moment of import

    @property
    def size(self) -> ConsoleDimensions:
        found = super().size
        limited = self.is_terminal or self._width is not None or os.environ.get("COLUMNS", "").isdigit()
        return found if limited else ConsoleDimensions(PIPE_COLUMNS, found.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(_SYMBOLS), style, control)

    def print(self, *objects: Any, **options: Any) -> None:
        """As `Console.print`; what is wider than the terminal continues in its next line instead of being cut."""
        super().print(*objects, **{"crop": False, **options})


console = PlainConsole()
errors = PlainConsole(stderr=True)


def warn(notes: Iterable[str]) -> None:
    """Prints a warning, which does not stop the command, on stderr, so that `--json` stays JSON."""
    for note in notes:
        errors.print(Text.assemble(("Warning: ", "bold yellow"), note))


def print_json(content: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    print(json.dumps(content, indent=2))


@contextmanager
def progress(quiet: bool) -> Iterator[Any]:
    """A callback (what, done, of) that draws progress bars on stderr; silent when quiet or not a terminal."""
    if quiet or not errors.is_terminal:
        yield lambda what, done, total: None
        return
    what = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield update
