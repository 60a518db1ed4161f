"""What all tests share."""

from __future__ import annotations

import pytest

from tests.support.differential import CASES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many models each operator was compared on."""
    if CASES:
        terminalreporter.section("differential cases compared, 0 mismatches")
        for label, count in sorted(CASES.items()):
            terminalreporter.write_line(f"{count:6d}  {label}")
