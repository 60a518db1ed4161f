"""What tests of boards and toolchains share."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest


def requires_tool(name: str) -> pytest.MarkDecorator:
    """Skips a test when `name` is not installed; where TINYGEN_CI=1 the test runs, and fails."""
    missing = shutil.which(name) is None and os.environ.get("TINYGEN_CI") != "1"
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")


def requires_package(name: str) -> pytest.MarkDecorator:
    """Likewise for a Python package, by the name that is imported."""
    missing = importlib.util.find_spec(name) is None and os.environ.get("TINYGEN_CI") != "1"
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")
