"""What the suite finds, test by test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from hil.clock import Rate
from hil.place import Place
from tinygen.targets.first_light import KERNEL, LOOP, MODEL, FirstLight, Point
from tinygen.version import VERSION

_STATUS = {"passed": "passed", "failed": "failed", "skipped": "skipped"}


class Record:
    """A run of the suite in the making."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.points: list[Point] = []
        self.checks: list[dict[str, str]] = []
        self.gaps: list[str] = []
        self.rates: dict[str, dict[str, float]] = {}
        self.energy: dict[str, dict[str, Any]] = {}
        self.clock_hz: int | None = None
        self._untried: tuple[str, ...] = ()
        self._ran: set[str] = set()

    def untried(self, kernels: Sequence[str]) -> None:
        """Kernels for which the suite has no layer."""
        self._untried = tuple(kernels)

    def asked(self, kernels: Iterable[str]) -> None:
        """Kernels that layers should have."""
        self._untried = (*self._untried, *kernels)

    def ran(self, kernels: Iterable[str]) -> None:
        """Kernels that layers have."""
        self._ran.update(kernels)

    def rate(self, name: str, rate: Rate) -> None:
        self.rates[name] = rate.as_json()

    def check(self, report: pytest.TestReport) -> None:
        """One test, once it has come to something."""
        if report.when != "call" and report.outcome == "passed":
            return
        message = ""
        if report.skipped and isinstance(report.longrepr, tuple):
            message = str(report.longrepr[2]).removeprefix("Skipped: ")
            self.gaps.append(message)
        elif report.failed:
            message = str(report.longrepr).strip().splitlines()[-1]
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message.splitlines()[0] if crash is not None else message
        name = report.nodeid.split("::", 1)[-1].removeprefix("test_").replace("_", " ")
        self.checks.append({"name": name, "status": _STATUS[report.outcome], "message": message})

    def finished(self) -> FirstLight:
        gaps = list(dict.fromkeys(self.gaps))
        untried = [kernel for kernel in dict.fromkeys(self._untried) if kernel not in self._ran]
        if untried:
            gaps.append(f"no layer that ran is computed by these kernels: {', '.join(untried)}")
        return FirstLight(
            board=self.place.board.name,
            place=self.place.what,
            source=self.place.source,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            tinygen=VERSION,
            toolchain=self.place.toolchain or "default",
            clock_hz=self.clock_hz,
            points=tuple(self.points),
            checks=tuple(self.checks),
            gaps=tuple(gaps),
            rates=self.rates,
            energy=self.energy,
        )

    def summary(self) -> list[str]:
        """For the terminal."""
        found = self.finished()
        lines = [f"{found.board}, {found.place}; its cycles are {found.source}"]
        for kind in (LOOP, KERNEL, MODEL):
            points = [point for point in found.points if point.kind == kind]
            if points:
                lines.append(f"{len(points)} {kind}s; counted by predicted: {found.spread(kind) or 'not known'}")
        return lines + [f"gap: {gap}" for gap in found.gaps]
