"""What lies at the top of the repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TOP = (
    ".ci .gitignore CHANGELOG.md CONTRIBUTING.md LICENSE Makefile README.md boards docs examples firmware hil "
    "mkdocs.yml pyproject.toml templates tests tinygen"
)


def test_nothing_else_is_kept_at_the_top() -> None:
    if not (_ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout, or no git here")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git does not say: {done.stderr.strip()}")
    assert {name.split("/")[0] for name in done.stdout.split("\0") if name} <= set(_TOP.split())
