"""The report of a run: first-light-BOARD.json, .md and .html."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinygen.files import write_file
from tinygen.targets.first_light import KERNEL, LOOP, MEASURED, MODEL, FirstLight, Point

_STYLE = "body{font:15px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.1em .8em;text-align:left}"
_NO_BOARD = "Nothing here was measured on a real board. This file does not belong into `boards/measured/`."
_TITLES = {LOOP: "Loops", KERNEL: "Kernels", MODEL: "Models"}


def write_reports(found: FirstLight, out: Path) -> list[Path]:
    """Writes the three files into `out`, over those of an earlier run."""
    out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(markdown(found)) + "\n"
    content = {"json": json.dumps(found.to_json(), indent=1) + "\n", "md": text, "html": _page(found, text)}
    paths = []
    for suffix, one in content.items():
        paths.append(out / f"first-light-{found.board}.{suffix}")
        write_file(paths[-1], one.encode())
    return paths


def markdown(found: FirstLight) -> Iterator[str]:
    """Lines of the report."""
    verdict = "all checks passed" if found.passed else "checks FAILED"
    yield from (f"# First light: {found.board}", "")
    yield f"{found.created}, {found.place}, tinygen {found.tinygen}, compiler: {found.toolchain}. **{verdict}.**"
    yield from ("", f"Cycles are **{found.source}**." + ("" if found.source == MEASURED else f" {_NO_BOARD}"), "")
    rows = [[check["name"], check["status"], check["message"]] for check in found.checks]
    yield from table_lines(["check", "result", ""], rows)
    if found.rates:
        yield from ("", "## Clock and line", "")
        rates = found.rates.items()
        rows = [[n, f"{r['wanted']:,.0f}", f"{r['found']:,.0f}", f"{100 * r['error']:+.2f} %"] for n, r in rates]
        yield from table_lines(["", "should be", "is", "error"], rows)
    for kind, title in _TITLES.items():
        points = [point for point in found.points if point.kind == kind]
        if points:
            yield from ("", f"## {title}", "", f"Counted by predicted: {found.spread(kind) or 'not known'}.", "")
            yield from table_lines(
                ["", "kernel", "cycles", "predicted", "difference"], [_row(point) for point in points]
            )
    if found.energy:
        yield from ("", "## Energy", "")
        rows = [[name, f"{one['microjoules']:,.1f}", str(one["about"])] for name, one in found.energy.items()]
        yield from table_lines(["model", "µJ", ""], rows)
    if found.gaps:
        yield from ("", "## What was not tried", "", *(f"- {gap}" for gap in found.gaps))


def _row(point: Point) -> list[str]:
    cycles, predicted = (f"{n:,}" if n else "–" for n in (point.cycles, point.predicted))
    ratio = point.ratio
    return [point.name, point.kernel, cycles, predicted, f"{100 * (ratio - 1):+.1f} %" if ratio else "–"]


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _page(found: FirstLight, text: str) -> str:
    body: list[str] = []
    cell, inside = "th", False
    for line in text.splitlines():
        if line.startswith("|---"):
            cell = "td"
            continue
        if line.startswith("| "):
            body.append("" if inside else "<table>")
            tags = (f"<{cell}>{html.escape(part.strip())}</{cell}>" for part in line.strip("| ").split(" | "))
            body.append(f"<tr>{''.join(tags)}</tr>")
            inside = True
            continue
        if inside:
            body.append("</table>")
        cell, inside = "th", False
        level = len(line) - len(line.lstrip("#"))
        safe = html.escape(line.lstrip("# ")).replace("**", "")
        body.append(f"<h{level}>{safe}</h{level}>" if level else f"<p>{safe}</p>" if safe else "")
    title = html.escape(f"First light: {found.board}")
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>' + "\n".join(body)
