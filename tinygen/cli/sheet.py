"""Tables that choose their columns by the width there is, and never break or cut a name or a number.

Where a table does not fit, its headings are broken first, then sentences between words, then the columns of the highest
rank are left out, and a line says which. Lines that are still too wide continue in the terminal's next line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_GAP = "  "
_LEAST_PROSE = 18
_LEAST_TAIL = 16


class Kind(Enum):
    """How a column takes its width."""

    NAME = "a name: one line, to the left"
    NUMBER = "a number: one line, to the right"
    PROSE = "a sentence: broken between words"
    TAIL = "the last one: names of any length, one line; of several with ; between, as many as fit"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: the heading; may have line breaks of its own.
        kind: how it takes its width.
        rank: 0 is always there; of the others the highest is left out first.
    """

    name: str
    kind: Kind = Kind.NAME
    rank: int = 0


def name(heading: str, rank: int = 0) -> Column:
    return Column(heading, Kind.NAME, rank)


def number(heading: str, rank: int = 0) -> Column:
    return Column(heading, Kind.NUMBER, rank)


def prose(heading: str, rank: int = 0) -> Column:
    return Column(heading, Kind.PROSE, rank)


def tail(heading: str, rank: int = 0) -> Column:
    return Column(heading, Kind.TAIL, rank)


class Sheet:
    """A table for `Console.print`.

    Args:
        title: a line above it; empty: none.
        columns: from left to right.
        headings: print them.
    """

    def __init__(self, title: str, columns: Iterable[Column], *, headings: bool = True) -> None:
        self.title, self.columns, self.headings = title, tuple(columns), headings
        self.rows: list[tuple[list[Text], str]] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """One line; cells that are not given are empty."""
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        texts += [Text() for _ in range(len(self.columns) - len(texts))]
        self.rows.append((texts, style))

    def add_line(self, text: Text) -> None:
        """A line across all columns."""
        self.rows.append(([text], ""))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="bold")
        shown, widths = self._fit(options.max_width)
        if self.headings:
            places = zip(shown, widths, strict=True)
            heads = [Text("\n".join(_broken(self.columns[i].name, width))) for i, width in places]
            yield from self._lines(console, shown, widths, heads, "bold")
        for cells, style in self.rows:
            if len(cells) == 1:
                yield from cells
            else:
                yield from self._lines(console, shown, widths, [cells[i] for i in shown], style)
        hidden = [i for i in range(len(self.columns)) if i not in shown and self._is_filled(i)]
        if hidden:
            names = "; ".join(" ".join(self.columns[i].name.split()) for i in hidden)
            yield Text(f"Not shown at {options.max_width} columns: {names}", style="dim")

    def _fit(self, width: int) -> tuple[list[int], list[int]]:
        """Columns that are shown, and their widths."""
        shown = [i for i in range(len(self.columns)) if self._is_filled(i) or not self.columns[i].rank]
        for least in (False, True):
            widths = [self._width(i, least) for i in shown]
            if _total(widths) <= width:
                return shown, self._widened(shown, widths, width)
        while _total(widths) > width:
            ranks = [self.columns[i].rank for i in shown]
            if not any(ranks):
                break
            del shown[len(ranks) - 1 - ranks[::-1].index(max(ranks))]
            widths = [self._width(i, True) for i in shown]
        return shown, self._widened(shown, widths, width)

    def _is_filled(self, column: int) -> bool:
        return any(cell.plain for cell in self._cells(column))

    def _cells(self, column: int) -> Iterable[Text]:
        return (cells[column] for cells, _ in self.rows if len(cells) > 1)

    def _width(self, column: int, least: bool) -> int:
        """Width of a column: its natural width, or the smallest possible."""
        of = self.columns[column]
        body = max(map(_widest, self._cells(column)), default=0)
        limit = {Kind.PROSE: self._longest_word(column), Kind.TAIL: _LEAST_TAIL}.get(of.kind)
        if (least or of.kind is Kind.TAIL) and limit is not None:
            body = min(body, limit)
        if not self.headings:
            return body
        pieces = of.name.split() if least else of.name.splitlines()
        return max(body, max(map(len, pieces), default=0))

    def _longest_word(self, column: int) -> int:
        words = (word for cell in self._cells(column) for word in cell.plain.split())
        return max(_LEAST_PROSE, max(map(len, words), default=0))

    def _widened(self, shown: Sequence[int], widths: list[int], width: int) -> list[int]:
        """Gives the remaining width to sentences, then to headings."""
        for kinds in ((Kind.PROSE,), tuple(Kind)):
            for place, column in enumerate(shown):
                if self.columns[column].kind in kinds:
                    free = max(width - _total(widths), 0)
                    widths[place] += min(free, max(self._width(column, False) - widths[place], 0))
        return widths

    def _lines(
        self, console: Console, shown: Sequence[int], widths: Sequence[int], cells: Sequence[Text], style: str
    ) -> Iterable[Text]:
        kinds = [self.columns[i].kind for i in shown]
        room = console.width - _total(widths)
        columns = [
            list(cell.wrap(console, width, overflow="fold"))
            if kind is Kind.PROSE
            else [_shortened(cell, width + room)]
            if kind is Kind.TAIL
            else list(cell.split(allow_blank=True))
            for cell, width, kind in zip(cells, widths, kinds, strict=True)
        ]
        for line in range(max(map(len, columns), default=0)):
            text = Text(no_wrap=True, overflow="ignore", style=style)
            for place, (column, width, kind) in enumerate(zip(columns, widths, kinds, strict=True)):
                cell = column[line] if line < len(column) else Text()
                pad = " " * max(width - cell.cell_len, 0)
                text.append_text(Text.assemble(pad, cell) if kind is Kind.NUMBER else Text.assemble(cell, pad))
                if place + 1 < len(columns):
                    text.append(_GAP)
            text.rstrip()
            yield text


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(len(widths) - 1, 0)


def _widest(text: Text) -> int:
    return max((line.cell_len for line in text.split(allow_blank=True)), default=0)


def _shortened(names: Text, width: int) -> Text:
    """As many parts of `first;second;third` as fit, and the number of the others."""
    parts = names.plain.split(";")
    if names.cell_len <= width or len(parts) == 1:
        return names
    for count in range(len(parts) - 1, 0, -1):
        text = Text(f"{';'.join(parts[:count])}; {len(parts) - count} more")
        if text.cell_len <= width:
            break
    return text


def _broken(heading: str, width: int) -> list[str]:
    """A heading in lines of at most `width`, where its words allow that."""
    lines: list[str] = []
    for given in heading.splitlines():
        line = ""
        for word in given.split():
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines
