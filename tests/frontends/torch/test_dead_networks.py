"""A network whose output no longer depends on its input is not exported in silence, and builds say so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.command_line import call
from tests.support.torch_models import need

torch = need("torch")

from torch import nn  # noqa: E402

import tinygen  # noqa: E402
from tinygen.compress import apply_masks, prune_by_magnitude  # noqa: E402
from tinygen.errors import ModelError  # noqa: E402
from tinygen.nn import convert  # noqa: E402
from tinygen.nn.switchable import SwitchSpec, calibrate_switches, switchable  # noqa: E402

torch.set_num_threads(1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def images() -> torch.Tensor:
    return torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def without(net: nn.Module, layer: str) -> nn.Module:
    apply_masks(net, {layer: torch.zeros(net.get_submodule(layer).weight.shape[:2], dtype=torch.bool)})
    return net


@pytest.mark.parametrize(
    ("layer", "weights", "real"), [("0", 108, False), ("2", 54, True), ("4", 24, False), ("7", 48, True)]
)
def test_export_names_the_layer(layer: str, weights: int, real: bool) -> None:
    x = images()
    options = {"float32": True} if real else {"calibration": x}
    with pytest.raises(
        ModelError, match=rf"(?s)same for every input: all {weights} weights of '{layer}' are 0.*empty_"
    ):
        tinygen.export(without(network(), layer), x, **options)


@pytest.mark.parametrize("recipe", ["int8", "w2a2", "ternary", "binary-weights"])
def test_low_bit_networks(recipe: str) -> None:
    quantized = convert(network(), recipe)
    quantized.train()(images())
    quantized.eval()
    with pytest.raises(ModelError, match="all 24 weights of '4' are 0"):
        tinygen.export(without(quantized, "4"), images())


def test_switches() -> None:
    net = switchable(network(), [SwitchSpec(8, 8), SwitchSpec(2, 2)])
    calibrate_switches(net, [images()])
    without(net, "4")
    with pytest.raises(ModelError, match=r"switch w8a8, .*all 24 weights of '4' are 0"):
        tinygen.export_switches(net, images())


def test_saturation() -> None:
    """No weight is 0, and yet every code behind the ReLU is."""
    net = network()
    net[4].bias.data[:] = -100
    with pytest.raises(ModelError, match=r"(?s)every channel that '4' computes is constant.*'4' saturates"):
        tinygen.export(net, images(), images())


def test_magnitude_does_not_kill() -> None:
    """By default every filter keeps a connection, and there is a path; at nine tenths of all weights, too."""
    for level, scope, share in (("kernel", "layer", 0.7), ("weight", "global", 0.8), ("weight", "layer", 0.8)):
        net = network()
        apply_masks(net, prune_by_magnitude(net, share, level=level, scope=scope))
        tinygen.export(net, images(), images())


def test_build_warns_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may say so on purpose: the build says it, in its JSON, its manifest and its page."""
    monkeypatch.setattr(sys.modules["tinygen.frontends.torch.export"], "dead_outputs", lambda graph: [])
    path, out = tmp_path / "dead.tg", tmp_path / "out"
    tinygen.save(tinygen.export(without(network(), "4"), images(), images()), path)
    done = call("build", path, "--board", "host", "--out", out)
    assert done.returncode == 0
    text = " ".join(done.stderr.split())
    assert "Warning: output '7' is the same for every input: all 24 weights of '4' are 0" in text
    (note,) = json.loads((out / "manifest.json").read_text())["warnings"]
    assert note in text and "Warning: output" in (out / "report.html").read_text()
