"""What `tinygen bench --out DIR` writes: bench.json and report.html, both or neither."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tinygen.bench.html import render_bench
from tinygen.errors import TinygenError

FIGURES_FILE, REPORT_FILE = "bench.json", "report.html"


def check_output(out: Path) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier benchmark.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise TinygenError("is a file", where=str(out), fix="Name a directory for --out.")
    if {path.name for path in out.iterdir()} - {FIGURES_FILE, REPORT_FILE}:
        raise TinygenError(
            "holds files that are not an earlier benchmark", where=str(out), fix="Choose an empty or new directory."
        )


def write_output(report: dict[str, Any], out: Path) -> None:
    """Writes a report (`BenchReport.as_json`) into `out`, replacing an earlier one.

    Raises:
        TinygenError: it cannot be written; `out` is then as it was.
    """
    check_output(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / "bench"
            folder.mkdir()
            (folder / FIGURES_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            (folder / REPORT_FILE).write_text(render_bench(report), encoding="utf-8")
            if out.exists():
                shutil.rmtree(out)
            folder.rename(out)
    except OSError as error:
        raise TinygenError(f"cannot be written ({error.strerror})", where=str(out)) from error
