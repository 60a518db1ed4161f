"""Models that lose channels: what the manifest says, and layers that verify compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.layers import conv, image, weights, zeroed
from tests.support.tflite_builder import build_chain
from tinygen.frontends.load import load_model
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.passes import remove_channels as removal
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify


@pytest.fixture(autouse=True)
def every_channel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is too narrow for words of four channels."""
    monkeypatch.setattr("tinygen.passes.pipeline._CHANNELS", 1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    a, b, c, d = image(3), image(5), image(4, size=2), image(2, size=2)
    path = tmp_path / "thin.tflite"
    path.write_bytes(
        build_chain(
            [
                conv(a, b, zeroed(weights(5, 1, 1, 3), 0, 1, 4), [100, 2000, -300, 0, -5000]),
                conv(b, c, zeroed(weights(4, 3, 3, 5), 0, 2), [1, 2, 3, 4]),
                conv(c, d, weights(2, 1, 1, 4), [5, 6]),
            ]
        )
    )
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.random.default_rng(0).integers(-128, 128, (3, 4, 4, 3)).astype(np.int8))
    return path


def test_manifest(model: Path, tmp_path: Path) -> None:
    manifest = build(model, tmp_path / "out", BuildOptions(board="host")).as_json()
    assert manifest["simplified"] == {
        "channels_removed": {"conv_2d_0": 2, "conv_2d_1": 1},
        "layers_removed": [],
        "macs_removed": 16 * 3 * 2 + 4 * 9 * (4 * 5 - 3 * 3) + 4 * 2 * 1,
    }
    assert manifest["macs"] == 16 * 3 * 3 + 4 * 9 * 3 * 3 + 4 * 2 * 3


def test_identical(model: Path, inputs: Path) -> None:
    assert verify(model, inputs, BuildOptions(board="f746zg")).identical


def test_a_wrong_layer_is_named(model: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tensor has fewer channels on the device than in the model."""
    right = Conv2D.evaluate

    def wrong(self: Conv2D, node, values):  # type: ignore[no-untyped-def]
        outputs = right(self, node, values)
        if self.name == "conv_2d_1":
            outputs[0] ^= 64
        return outputs

    monkeypatch.setattr(Conv2D, "evaluate", wrong)
    report = verify(model, inputs, BuildOptions(board="host"))
    for comparison in report.comparisons:
        assert comparison.where is not None and comparison.where.layer == "conv_2d_1"


def test_a_wrong_pass_shows_at_the_outputs(model: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device agrees with the simplified graph layer by layer, and still the model's outputs are others."""
    right = removal.remove_channels

    def wrong(graph: Graph, multiple: int, *, integers: bool) -> Graph:
        monkeypatch.setattr(
            "tinygen.passes.channel_folding.Reader.added", lambda self, removed: np.full(len(self.used), 5000)
        )
        return right(graph, multiple, integers=integers)

    monkeypatch.setattr("tinygen.passes.pipeline.remove_channels", wrong)
    report = verify(model, inputs, BuildOptions(board="host"))
    semantics, device = report.comparisons
    assert semantics.mismatches == 0
    assert device.mismatches and device.where is not None
    assert (device.where.layer, device.where.tensor) == ("", load_model(model).outputs[0])
