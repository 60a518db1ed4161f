"""What lies at the top of the repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tinygen.version import VERSION

_ROOT = Path(__file__).parents[2]
_TOP = (
    ".ci .editorconfig .github .gitignore .pre-commit-config.yaml CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE "
    "Makefile README.md SECURITY.md boards docs examples firmware hil mkdocs.yml pyproject.toml templates tests tinygen"
)


def test_nothing_else_is_kept_at_the_top() -> None:
    if not (_ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout, or no git here")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git does not say: {done.stderr.strip()}")
    assert {name.split("/")[0] for name in done.stdout.split("\0") if name} <= set(_TOP.split())


def test_the_version_is_the_same_everywhere() -> None:
    """Also what a release takes its notes from: the newest section of CHANGELOG.md, of at most 40 lines."""
    sections = (_ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]
    assert sections[0].split()[0] == VERSION
    assert len(sections[0].splitlines()) <= 40
    assert yaml.safe_load((_ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_the_hosted_ci_does_what_ours_does() -> None:
    jobs = yaml.safe_load((_ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
