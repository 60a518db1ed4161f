"""What tests of boards and toolchains share."""

from __future__ import annotations

import os
import shutil

import pytest


def requires_tool(name: str) -> pytest.MarkDecorator:
    """Skips a test when `name` is not installed; where TINYGEN_CI=1 the test runs, and fails."""
    missing = shutil.which(name) is None and os.environ.get("TINYGEN_CI") != "1"
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")
