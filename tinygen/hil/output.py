"""The files that `tinygen hil` writes: hil-report.json, junit.xml, report.html and outputs.npz, all or none."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tinygen.builds.folder import Folder, Record
from tinygen.files import check_new_file, write_file
from tinygen.hil.checks import junit_xml
from tinygen.hil.page import render_hil

RECORD = Record("hil-report.json", "hil report")
_OURS = "tinygen hil "
"""Prefix of the test suite's name in files that `junit_xml` wrote."""


@dataclass(frozen=True)
class HilReport:
    """The results of a session.

    Attributes:
        content: see `tinygen.hil.report`.
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

    def write(self, out: Path, junit: Path | None = None, *, force: bool = False) -> None:
        """Writes hil-report.json, junit.xml, report.html and outputs.npz into `out`; and the JUnit XML to `junit`.

        Args:
            out: an empty or new folder, or one with an earlier report, which is replaced.
            junit: a new file, or JUnit XML of an earlier session.
            force: replace an earlier report that has been changed, and any file at `junit`.

        Raises:
            TinygenError: `out` holds something else, or cannot be written; it is then as it was.
        """
        arrays = io.BytesIO()
        named: dict[str, Any] = dict(self.outputs)
        np.savez(arrays, **named)
        files = {
            "junit.xml": self.junit().encode(),
            "report.html": render_hil(self.content).encode(),
            "outputs.npz": arrays.getvalue(),
        }
        Folder(out, RECORD, force=force).write(self.content, files)
        if junit is not None:
            check_junit(junit, force=force)
            write_file(junit, files["junit.xml"])


def check_junit(junit: Path | None, *, force: bool = False) -> None:
    """
    Raises:
        TinygenError: there can be no file of that name, or there is one that `junit_xml` did not write.
    """
    if junit is not None:
        check_new_file(junit, force=force or _is_junit_of_ours(junit))


def _is_junit_of_ours(path: Path) -> bool:
    try:
        suite = ElementTree.parse(path).getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        return False
    return suite is not None and suite.get("name", "").startswith(_OURS)


def check_output(out: Path, *, force: bool = False) -> None:
    """
    Raises:
        TinygenError: `out` is a file, or holds what is not from an earlier session.
    """
    Folder(out, RECORD, force=force).check()
