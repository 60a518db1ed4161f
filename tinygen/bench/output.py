"""What `tinygen bench --out DIR` writes: bench.json and report.html, both or neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygen.bench.html import render_bench
from tinygen.builds.folder import Folder, Record

FIGURES_FILE, REPORT_FILE = "bench.json", "report.html"
RECORD = Record(FIGURES_FILE, "benchmark")


def check_output(out: Path, *, force: bool = False) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier benchmark.
    """
    Folder(out, RECORD, force=force).check()


def write_output(report: dict[str, Any], out: Path, *, force: bool = False) -> None:
    """Writes a report (`BenchReport.as_json`) into `out`, replacing an earlier one; forced, also one that was changed.

    Raises:
        TinygenError: it cannot be written; `out` is then as it was.
    """
    Folder(out, RECORD, force=force).write(report, {REPORT_FILE: render_bench(report).encode()})
