"""Tests of tinygen.nn. They need torch: skipped without it, but failing where TINYGEN_CI=1."""

import importlib.util
import os

import pytest

if importlib.util.find_spec("torch") is None and os.environ.get("TINYGEN_CI") != "1":
    pytest.skip("torch is not installed", allow_module_level=True)
