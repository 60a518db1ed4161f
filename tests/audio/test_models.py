"""The models that pymicro-wakeword brings."""

from __future__ import annotations

import json
import types
from pathlib import Path

import pytest

from tests.targets.tools import requires_package
from tinygen.audio import models
from tinygen.audio.models import bundled
from tinygen.errors import TinygenError


@requires_package("pymicro_wakeword")
def test_four_models_each_with_its_json() -> None:
    found = bundled()
    assert list(found) == ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"]
    for name, (tflite, config) in found.items():
        assert tflite.read_bytes()[4:8] == b"TFL3"
        assert json.loads(config.read_text())["model"] == f"{name}.tflite"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TinygenError, match=r"tinygen\[audio\]"):
        bundled()


def test_a_package_without_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: package)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "half.json").write_text("{}")
    with pytest.raises(TinygenError, match="brings no models"):
        bundled()
