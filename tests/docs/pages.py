"""The Markdown pages: README, the files beside it, docs/, and those of examples/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(```+)(\w*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


def pages(root: Path = ROOT) -> list[Path]:
    """All of them, sorted."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "examples").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line it starts in."""

    page: Path
    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    content = page.read_text()
    for found in _FENCE.finditer(content):
        yield Block(page, found[2], found[3], content.count("\n", 0, found.start()) + 1)


def prose(page: Path) -> str:
    """A page without fenced blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", page.read_text()))


def links(page: Path) -> list[str]:
    """Targets of its links and pictures."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What `page.md#...` may name: headings as Python-Markdown and GitHub write them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-") for heading in headings}
