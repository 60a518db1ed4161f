"""Loops of one pass, which templates write for batches and rows, taken out of the C."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARGIN = "    "
_DECLARED = re.compile(r"(?!return|goto|else|case)(?:const )*\w+ (?:\*|const |[A-Za-z_])")
_HINT = re.compile(r" *TG_\w+")
"""What a macro says to the compiler about the loop behind it."""
_INNER = re.compile(r" *(for|while|do|switch)\b")
_ONCE = re.compile(r" {4}for \(int32_t (\w+) = 0; \1 < 1; [^{]*\{")


def without_single_passes(text: str) -> str:
    """C whose functions end with no loop of one pass; other loops of one pass stay."""
    lines = text.split("\n")
    found: list[str] = []
    at = start = 0
    while at < len(lines):
        start = at if lines[at] == "{" else start
        opened = _ONCE.fullmatch(lines[at])
        end = _end(lines, at) if opened else None
        body = None if opened is None or end is None else _body(lines[start:at], lines[at + 1 : end], opened[1])
        if body is not None and _HINT.fullmatch(lines[at - 1]):
            found.pop()
        found += [lines[at]] if body is None else body
        at = at + 1 if body is None or end is None else end + 1
    return "\n".join(found)


def _end(lines: Sequence[str], at: int) -> int | None:
    """The line that closes the loop, if the function ends there as well."""
    end = next((i for i in range(at + 1, len(lines)) if lines[i] == f"{_MARGIN}}}"), len(lines))
    return end if lines[end + 1 : end + 2] == ["}"] else None


def _body(before: Sequence[str], body: Sequence[str], counter: str) -> list[str] | None:
    """The loop's statements; None if they need the counter, or declare what the function has declared before."""
    plain = [re.sub(rf" \+ {counter}(?: \* \d+U?)+(?![\w.]| [*/%])", "", line) for line in body]
    names = _names(before, 4) & _names(plain, 8)
    if names or _leaves(plain) or any(re.search(rf"\b{counter}\b", line) for line in plain):
        return None
    return [line.removeprefix(_MARGIN) for line in plain]


def _names(lines: Sequence[str], depth: int) -> set[str]:
    """The words of declarations at a depth of so many columns, up to what is assigned: variables are among them."""
    own = (line[depth:] for line in lines if line.startswith(" " * depth))
    return {name for line in own if _DECLARED.match(line) for name in re.findall(r"\w+(?= = |;|\[|, )", line)}


def _leaves(body: Sequence[str]) -> bool:
    """Whether a `continue` or `break` belongs to the loop itself, not to one within."""
    outer: list[str] = []
    for line in body:
        depth = len(line) - len(line.lstrip())
        outer = [one for one in outer if len(one) - len(one.lstrip()) < depth]
        if re.fullmatch(r" *(continue|break);", line) and not any(_INNER.match(one) for one in outer):
            return True
        outer += [line] if line.strip() else []
    return False
