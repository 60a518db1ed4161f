"""Each script in examples/ runs, in this process and small, and says what it should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SHARED = "digits"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module; those that it imports lie beside it."""
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "build_tflite": ({}, ["10 operators", "answers [3 5 0 2 3], labels [3 5 0 2 3]"]),
    "verify_your_data": ({}, ["semantics = f746zg-emulated: 0 of 20 differ", "f746zg-emulated: 19 of 20 right"]),
    "two_boards": ({}, ["esp32c3: ", "the same codes: True"]),
    "streaming": ({}, ["cycles predicted per step", "what the windows give: True"]),
    "low_bit": ({"epochs": 1}, ["passed: True"]),
    "prune": ({"epochs": 1}, ["whole: flash", "pruned: flash"]),
    "switchable": ({"epochs": 1}, ["all switches: flash", "w8a8: ", "w2a2: ", "w8a8_x0_5: "]),
    "gated_macs": ({}, ["static: 174.3 million MAC", "   0.25     11.2     11.3         11.5     11.7"]),
    "wake_word": ({}, ["heard at ", "1 times in "]),
}
QUICK = ("build_tflite",)


def test_all_are_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {SHARED, "__init__"} == set(SAYS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.long) for n in SAYS])
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "wake_word":
        pytest.importorskip("pymicro_wakeword")
        pytest.importorskip("espeakng_loader")
    options, words = SAYS[name]
    try:
        load(name, monkeypatch).main(tmp_path, **options)
    finally:
        sys.modules.pop(SHARED, None)
    said = capsys.readouterr().out
    for text in words:
        assert text in said, said


def test_scripts_are_short() -> None:
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 45, path.name
