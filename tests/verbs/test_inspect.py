"""What `inspect` says of layers on integer codes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import integer_layers as layers
from tests.support.streaming_models import SMALL
from tinygen.frontends.tg import save_tg
from tinygen.verbs.inspect import inspect_model


def test_epilogues_are_named_not_listed(tmp_path: Path) -> None:
    layer = layers.conv("one", (6, 6, 40), 48, (3, 3), x=layers.BINARY, w=layers.BINARY, y=layers.BINARY)
    path = tmp_path / "one.tg"
    save_tg(layer.graph, path)
    content = inspect_model(path)
    attributes = json.loads(json.dumps(content))["operators"][0]["attributes"]
    assert attributes["epilogue"] == "1 threshold per channel"
    assert content["macs"] == 6 * 6 * 48 * 3 * 3 * 40


def test_states_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ring.tflite"
    path.write_bytes(SMALL["ring"]())
    (state,) = inspect_model(path)["states"]
    assert state["shape"] == [1, 3, 1, 4]
