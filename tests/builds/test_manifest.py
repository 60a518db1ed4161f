"""Manifests as objects: to JSON and back, and what is said of damaged ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import a_manifest
from tinygen.builds.manifest import AppEntry, Manifest, read_manifest
from tinygen.errors import TinygenError
from tinygen.lowering.program import Streamed
from tinygen.lowering.select import Family
from tinygen.passes.litert_arithmetic import Arithmetic

APP = AppEntry(
    kind="wakeword",
    wake_word="Alexa",
    cutoff=0.9,
    switch_cutoffs={},
    sliding_window=5,
    labels=("Alexa",),
    ignored=(),
    features={"hop_ms": 10},
    listens=None,
    frames=3,
    step_frames=3,
    cutoff_sums=((1153, None),),
    sample_rate_hz=16_000,
    hop_samples=160,
    window_samples=480,
    channels=40,
    bauds=(115_200,),
)
STREAMED = Streamed(("conv", "pool"), 4, 8, keep=True, macs=100, recomputed_macs=5, arena_bytes_before=9000)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"app": APP},
        {"app": replace(APP, flash_bytes=1, ram_bytes=2), "stream": STREAMED, "arithmetic": Arithmetic.OPTIMIZED},
        {"flash_bytes": None, "firmware": None, "target_note": "untested", "host_outputs": 1, "images": {"bin": "b"}},
    ],
)
def test_there_and_back(changes: dict[str, Any], tmp_path: Path) -> None:
    manifest = a_manifest(**changes)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.to_json()))
    assert read_manifest(tmp_path) == manifest


def test_what_stands_in_the_file() -> None:
    """What other programs read; entries that say nothing are left out."""
    content = a_manifest().to_json()
    assert content["kernels"] == "tinygen" and content["weights"] == "flash" and content["mode"] == "performance"
    assert content["inputs"] == [
        {"name": "x", "dtype": "int8", "shape": [1, 4], "bytes": 4, "offset": 0, "scale": 0.5, "zero_point": -1}
    ]
    assert "scale" not in content["outputs"][0] and "packed" not in content["outputs"][0]
    assert content["stream"] is None and content["app"] is None and content["switches"] == []
    assert not {"network", "profile", "arithmetic", "firmware", "target_note", "host_outputs"} & content.keys()
    assert a_manifest(firmware=None).to_json()["firmware"] is None


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(key)


def put(value: Any, *keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("layers"), r"\(layers is missing\)"),
        (put("many", "layers", 0, "macs"), r"\(layers\[0\]\.macs: 'many' is not a whole number\)"),
        (put(True, "arena_bytes"), r"arena_bytes: True is not a whole number"),
        (put({}, "layers"), r"layers: \{\} is not a list"),
        (put(["x"], "layers"), r"layers\[0\]: 'x' is not an object"),
        (put("magic", "kernels"), r"kernels: 'magic' is not one of: tinygen, compact, reference"),
        (put(None, "board"), r"board: None is not text"),
        (put("fast", "clock_hz"), r"clock_hz: 'fast' is not a whole number"),
        (put([], "arena_memory"), r"arena_memory: \[\] is not an object"),
        (put(0.5, "arena_optimal"), r"arena_optimal: 0.5 is not true or false"),
        (put("x" * 100, "inputs", 0, "scale"), r"inputs\[0\]\.scale: 'x+ \.\.\. is not a number"),
    ],
)
def test_damaged_ones(change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path) -> None:
    content = a_manifest().to_json()
    change(content)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TinygenError, match=words) as caught:
        read_manifest(tmp_path)
    assert caught.value.where == str(path) and caught.value.fix == "Build it again."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("\xff", "cannot be read"),
        ("[]", "is not a manifest of tinygen's"),
        ('{"name": "extension"}', "is not a manifest of tinygen's"),
        ('{"unfinished": true, "files": {}}', "an earlier build was interrupted"),
    ],
)
def test_other_files(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(TinygenError, match=words):
        read_manifest(tmp_path)


def test_what_a_later_tinygen_adds_is_left_out() -> None:
    assert Manifest.from_json(a_manifest().to_json() | {"colour": "red"}) == a_manifest()


def test_switches_by_name_and_number() -> None:
    manifest = a_manifest()
    assert manifest.section(None) is manifest.section(0) is manifest
    assert manifest.kernels is Family.TINYGEN and not manifest.is_switchable and not manifest.keeps_states
    with pytest.raises(TinygenError, match=r"dummy: there is no switch 'w2'\nIt has no switches"):
        manifest.section("w2")
