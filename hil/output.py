"""What `tinygen hil` leaves behind: hil-report.json, junit.xml, report.html and outputs.npz, all or none."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hil.checks import junit_xml
from hil.page import render_hil
from tinygen.errors import TinygenError
from tinygen.verbs.output import check_folder, write_folder

FILES = frozenset(("hil-report.json", "junit.xml", "report.html", "outputs.npz"))
_WHAT = "hil report"


@dataclass(frozen=True)
class HilReport:
    """What a session found.

    Attributes:
        content: see `hil.report`.
        outputs: the device's codes: y0, y1, ... with one row per result, and `sample`, the number of each result's
            input; of a switchable network "w2a4/y0" and so on.
    """

    content: dict[str, Any]
    outputs: Mapping[str, np.ndarray]

    @property
    def passed(self) -> bool:
        return bool(self.content["passed"])

    def as_json(self) -> dict[str, Any]:
        return self.content

    def junit(self) -> str:
        return junit_xml(self.content)

    def write(self, out: Path, junit: Path | None = None) -> None:
        """Writes hil-report.json, junit.xml, report.html and outputs.npz into `out`; and the JUnit XML to `junit`.

        Raises:
            TinygenError: `out` holds something else, or cannot be written; it is then as it was.
        """
        arrays = io.BytesIO()
        named: dict[str, Any] = dict(self.outputs)
        np.savez(arrays, **named)
        files = {
            "hil-report.json": (json.dumps(self.content, indent=2) + "\n").encode(),
            "junit.xml": self.junit().encode(),
            "report.html": render_hil(self.content).encode(),
            "outputs.npz": arrays.getvalue(),
        }
        write_folder(out, files, _WHAT)
        if junit is not None:
            try:
                junit.write_bytes(files["junit.xml"])
            except OSError as error:
                raise TinygenError(f"cannot be written ({error.strerror})", where=str(junit)) from error


def check_junit(junit: Path | None) -> None:
    """
    Raises:
        TinygenError: there can be no file of that name.
    """
    if junit is not None and (junit.is_dir() or not junit.parent.is_dir()):
        what = "is a directory" if junit.is_dir() else "its directory does not exist"
        raise TinygenError(what, where=str(junit), fix="Name a file for --junit.")


def check_output(out: Path) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier session.
    """
    check_folder(out, FILES, _WHAT)
