"""What `tinygen bench --out DIR` writes: bench.json and report.html, both or neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinygen.bench.html import render_bench
from tinygen.verbs.output import check_folder, write_folder

FIGURES_FILE, REPORT_FILE = "bench.json", "report.html"
_WHAT = "benchmark"


def check_output(out: Path) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier benchmark.
    """
    check_folder(out, frozenset((FIGURES_FILE, REPORT_FILE)), _WHAT)


def write_output(report: dict[str, Any], out: Path) -> None:
    """Writes a report (`BenchReport.as_json`) into `out`, replacing an earlier one.

    Raises:
        TinygenError: it cannot be written; `out` is then as it was.
    """
    check_output(out)
    figures = json.dumps(report, indent=2) + "\n"
    write_folder(out, {FIGURES_FILE: figures.encode(), REPORT_FILE: render_bench(report).encode()}, _WHAT)
