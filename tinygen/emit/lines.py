"""Generated C, held to lines of 120 columns.

Templates put sizes, names and expressions of any length into their text, so that its lines cannot be broken by hand.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

COLUMNS = 120
_LONG = re.compile(rf"[^\n]{{{COLUMNS + 1}}}")
_LONG_LINE = re.compile(rf"^[^\n]{{{COLUMNS + 1},}}$", re.MULTILINE)
_COMMENT = re.compile(r"^(?P<indent> *)/\*(?!@)(?P<body>.*?)\*/(?=[^\n]*$)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"(?P<margin> *\* ?)(?P<text>.*)")
_NO_PROSE = re.compile(r"$|[ *-]|[\w\[\].]+(, [\w\[\].]+)*: ")
"""What starts a line that is no continuation of a sentence: nothing, an item, an aligned column, a name explained."""
_NO_CODE = re.compile(r" *(#|\* |\*/|@)|.*([\"'\\]|/\*|//)")
"""Lines of macros, comments and strings: there a line break means something, or cannot stand anywhere."""
_BREAK = re.compile(r"(?<=,) |(?<=[\w])\((?=.)| (?=(?:[-+*/?:&|<>]|&&|\|\||<<|>>|[<>=!]=) )")
"""Between two lines: behind a comma or the parenthesis of a call, in front of an operator."""
_TRAILING = re.compile(r"(?P<indent> *)(?P<code>\S.*?) (?P<comment>/\*(?:(?!\*/).)*\*/)")
_ARRAY = re.compile(r" *(?:extern )?const \w+ (?=\w+\[)")
_DEPTH = {"(": 1, "[": 3, "{": 1, ")": -1, "]": -3, "}": -1}
"""An index is broken last."""


def wrap_lines(text: str) -> str:
    """Wraps lines of C that are longer than 120 columns, and leaves all others as they are.

    Comments that start a line: words that a line has no room for go to the next one, if that continues the sentence.
    Statements: within as few parentheses as possible; a comment behind one goes in front of it. Macros, strings, and
    what has no place to break at stay.
    """
    if not _LONG.search(text):
        return text
    wrapped = _COMMENT.sub(_comment, text)
    return _LONG_LINE.sub(lambda match: "\n".join(_statement(match[0])), wrapped)


def _statement(line: str) -> Iterator[str]:
    """The lines of a long one; those after the first are indented by one level more."""
    if beside := _TRAILING.fullmatch(line):
        yield beside["indent"] + beside["comment"]
        line = beside["indent"] + beside["code"]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    array, code = _ARRAY.match(line), not _NO_CODE.match(line)
    while code and len(line) > COLUMNS:
        found = array.end() if array else _place(line, len(indent))
        array = None
        if found is None:
            break
        yield line[:found].rstrip()
        line = indent + line[found:].lstrip()
    yield line


def _place(line: str, start: int) -> int | None:
    """Where a line is broken: within as few parentheses as possible, behind the first if the rest fits a line."""
    depths, depth = [], 0
    for character in line[:COLUMNS]:
        depth += _DEPTH.get(character, 0)
        depths.append(depth)
    places = [found.end() for found in _BREAK.finditer(line, start, COLUMNS)]
    least = min((depths[at - 1] for at in places), default=0)
    outer = [at for at in places if depths[at - 1] == least]
    opened = [at for at in outer if line[at - 1] == "(" and start + len(line) - at <= COLUMNS]
    return next(iter([*opened[:1], *outer[-1:]]), None)


def _comment(match: re.Match[str]) -> str:
    comment, indent = match[0], match["indent"]
    if not _LONG.search(comment):
        return comment
    lines = comment.split("\n")
    if len(lines) == 1:
        return "\n".join(_fold(match["body"].strip(), f"{indent}/* ", f"{indent}   ", spare=3)) + " */"
    return "\n".join(_lines(lines))


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a comment, each with a ` * ` in front but the first and last."""
    over, margin = "", ""
    for line in lines:
        found = _LINE.fullmatch(line)
        prose = found["text"] if found and line.strip() != "*/" else None
        if over and (prose is None or _NO_PROSE.match(prose)):
            yield margin + over
            over = ""
        if found is None or prose is None:
            yield line
            continue
        margin = found["margin"]
        first, *rest = _fold(f"{over} {prose}" if over else prose, margin, margin)
        yield first
        *whole, over = [one.removeprefix(margin) for one in rest] or [""]
        yield from (margin + one for one in whole)


def _fold(text: str, first: str, others: str, spare: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS - spare,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
