"""`tinygen doctor` lists the tools that flash boards: which are here, what each is for, how to get it."""

from __future__ import annotations

import importlib.metadata

import pytest

from tests.targets.flashing.doubles import Tools, tools
from tinygen.verbs.doctor import examine

__all__ = ["tools"]


def test_flashers(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    tools.add("openocd", ("Open On-Chip Debugger 0.12.0\n", 0))
    entries = {entry["what"]: entry for entry in examine()}
    assert entries["openocd"]["found"] and entries["openocd"]["version"] == "Open On-Chip Debugger 0.12.0"
    for name, get in (
        ("pyocd", "tinygen[flash]"),
        ("esptool", "tinygen[flash]"),
        ("st-flash", "stlink-tools"),
        ("dfu-util", "apt install dfu-util"),
        ("pio", "tinygen[platformio]"),
    ):
        assert not entries[name]["found"]
        assert get in entries[name]["get"]
        assert "tinygen flash --method" in entries[name]["needed_for"]
    assert tools.calls == [["openocd", "--version"]]


def test_packages_say_their_version() -> None:
    pytest.importorskip("pyocd")
    entries = {entry["what"]: entry for entry in examine()}
    assert entries["pyocd"]["found"] and entries["pyocd"]["version"] == importlib.metadata.version("pyocd")
