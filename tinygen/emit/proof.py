"""Comments in ACSL for Frama-C's Eva, which tell it how to analyse the generated C; compilers skip them.

None of them is an assumption: `loop unroll`, `slevel` and `split` say how precisely Eva analyses a statement, and an
`assert` is proved by Eva where it stands, or is one more alarm. So the C with them is the C without them.

Loops that add up are unrolled: after widening, an interval of a sum knows nothing of how many terms it has. All
other loops Eva takes as they are: their counters and pointers have bounds that its domains find (intervals, gauges).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MARK = "//@"
"""What the lines of these comments begin with, in templates and in generated C."""

UNKNOWN_ROUNDS = 64
"""Unrolled at most where the number of rounds is no constant of the loop's head: Eva stops at the last one."""

_HEAD = re.compile(r"^\s*(?:for|while) \(")
_COUNTED = re.compile(r"^\s*for \(\w+ (\w+) = (-?\d+)U?; \1 < (-?\d+)U?; .*?\1(\+\+| \+= (\d+))")
_DECLARED = re.compile(r"\b(?:u?int(?:8|16|32|64)_t|int) (\w+)(?:\[[^]]*\])?(?: =|;|,)")
_CHANGED = re.compile(r"\b(\w+)(?:\[[^]]*\])?(?: [-+*]= |\+\+|--| = (?!tg_(?:max|min)\()[^;?]*\b\1\b[^;?]*;)")


def without_annotations(text: str) -> str:
    """The C as it is shipped: without the lines that templates have for Eva."""
    if MARK not in text:
        return text
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(MARK))


def with_annotations(files: Mapping[str, str]) -> dict[str, str]:
    """The files of a model, with those lines kept and the loops that accumulate annotated."""
    return {name: _with_loops(text) for name, text in files.items()}


def _with_loops(text: str) -> str:
    lines = text.splitlines()
    start = 0
    written: list[str] = []
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        if _is_loop(lines, number) and (rounds := _rounds_to_unroll(lines[start:], number - start)):
            indent = line[: len(line) - len(line.lstrip())]
            written.append(f"{indent}{MARK} loop unroll {rounds};")
        written.append(line)
    return "\n".join(written) + "\n"


def _is_loop(lines: list[str], number: int) -> bool:
    """Whether a loop begins there that has no annotation; loops in macros have none."""
    line = lines[number]
    plain = line.endswith("{") and _HEAD.match(line)
    return bool(plain) and (number == 0 or not lines[number - 1].lstrip().startswith(f"{MARK} loop"))


def _rounds_to_unroll(lines: list[str], number: int) -> int:
    """Of the loop at a line of a function's body; 0 for one that changes no integer from outside of it."""
    block = _block(lines, number)
    body = "\n".join(block[1:])
    outside = set(_DECLARED.findall("\n".join(lines[:number]))) - set(_DECLARED.findall("\n".join(block)))
    if outside.isdisjoint(_CHANGED.findall(body)):
        return 0
    counted = _COUNTED.match(lines[number])
    if counted is None:
        return UNKNOWN_ROUNDS
    _, first, end, _, step = counted.groups()
    return -((int(first) - int(end)) // int(step or 1))


def _block(lines: list[str], number: int) -> list[str]:
    """The lines of the loop that begins there."""
    depth = 0
    for end in range(number, len(lines)):
        depth += lines[end].count("{") - lines[end].count("}")
        if depth == 0:
            return lines[number : end + 1]
    return lines[number:]
