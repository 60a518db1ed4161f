"""A slice of the campaign, see tests/cli/kills.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.kills import campaign, failures


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_commands_leave_nothing(tmp_path: Path) -> None:
    found = campaign(tmp_path, ("build", "run", "hil", "export"), 2, 1)
    assert failures(found) == []
