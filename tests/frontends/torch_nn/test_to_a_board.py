"""Every recipe, every quantizer and every encoding from PyTorch to a board: export, save, load, build, run, hil.

The networks are switches of one, so that a single build holds all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

import tinygen
import tinygen.nn as qn
from tests.frontends.torch_nn.networks import ACTIVATIONS, WEIGHTS, body, images, like_trained
from tests.support.networks import Network as Layers
from tinygen.frontends.tg import load_tg, load_tg_network, write_tg
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network, Switch
from tinygen.nn import RECIPES, ActivationQuantizer, WeightQuantizer, convert
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions, hil
from tinygen.verbs.run import RunOptions, run

IMAGES = images(12, 3, 5, 5)
KINDS = (("recipe", RECIPES), ("weights", WEIGHTS), ("activations", ACTIVATIONS))
ALL = (
    *(f"{kind}_{name}".replace("-", "_") for kind, names in KINDS for name in names),
    "activations_default",
)
FEW = (
    *(name for name in ALL if name.startswith("recipe_")),
    "weights_apsq2",
    "weights_codebook64",
    "activations_log",
    "activations_log_thesis",
    "activations_tanh4",
)
"""All recipes and, in weights or activations, every encoding that tinygen.nn has."""


def _modules() -> Iterator[tuple[str, nn.Module]]:
    for name in RECIPES:
        torch.manual_seed(3)
        float_network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(36, 4),
        )
        yield f"recipe_{name}", convert(float_network, name)
    for name in WEIGHTS:
        yield f"weights_{name}", body(name, "int8-relu", channels=4, size=5)
    for name in ACTIVATIONS:
        yield f"activations_{name}", body("tanh2", name, channels=4, size=5)
    yield (
        "activations_default",
        nn.Sequential(
            qn.InputQuant(),
            qn.QuantConv2d(3, 4, 3, weight_quantizer=qn.TanhQuant(2)),
            nn.BatchNorm2d(4),
            qn.LogQuantActivation(3),
            nn.Flatten(),
            qn.QuantLinear(36, 4, weight_quantizer=qn.TanhQuant(2)),
        ),
    )


@cache
def network(names: tuple[str, ...]) -> Network:
    torch.set_num_threads(1)
    modules = ((name.replace("-", "_"), module) for name, module in _modules())
    chosen = {name: like_trained(module, IMAGES) for name, module in modules if name in names}
    graphs = {name: tinygen.export(module, IMAGES[:1], name=name) for name, module in chosen.items()}
    return Network("road", tuple(Switch(name, graphs[name]) for name in names))


def encodings(graphs: Network) -> set[type]:
    return {type(tensor.encoding) for switch in graphs for tensor in switch.graph.tensors.values()}


def test_nothing_is_left_out() -> None:
    """A quantizer or an encoding that is new needs a network here."""
    tried = {type(make()) for make in (*WEIGHTS.values(), *ACTIVATIONS.values())}
    public = [kind for name in qn.__all__ if isinstance(kind := getattr(qn, name), type)]
    kinds = {kind for kind in public if issubclass(kind, WeightQuantizer | ActivationQuantizer)}
    assert {kind for kind in kinds if not inspect.isabstract(kind)} - {qn.InputQuant} == tried
    assert set(get_args(IntegerEncoding)) <= encodings(network(FEW))


def _proved(saved: Network, folder: Path, board: str) -> None:
    """Saved, loaded, built for the board; runs there as the integers say, by every switch."""
    tinygen.save(saved, folder / "road.tg")
    loaded = load_tg_network(folder / "road.tg")
    assert write_tg(loaded) == write_tg(saved)
    for switch in saved:
        tinygen.save(switch.graph, folder / "one.tg")
        assert write_tg(load_tg(folder / "one.tg")) == write_tg(switch.graph)
    built = build(folder / "road.tg", folder / "built", BuildOptions(board=board), profile=False).folder
    x = np.random.default_rng(0).integers(-128, 128, (3, *saved.first.tensors[saved.first.inputs[0]].shape), np.int8)
    last = saved.switches[-1]
    found = run(built, x, RunOptions(switch=last.name if saved.is_switchable else None))
    for row, sample in zip(found.rows, x, strict=True):
        np.testing.assert_array_equal(row.outputs[0], evaluate(last.graph, [sample])[0])
    report = hil(built, HilOptions(inputs=x))
    assert report.passed, [one for one in report.content["checks"] if one["status"] == "failed"]
    assert len(report.content["switches"]) == len(saved.switches)


def test_recipes_and_encodings_on_the_host(tmp_path: Path) -> None:
    _proved(network(FEW), tmp_path, "host")


@pytest.mark.long
@pytest.mark.parametrize(("names", "board"), [(ALL, "host"), (FEW, "f746zg")], ids=["host", "f746zg"])
def test_everything_on_boards(tmp_path: Path, names: tuple[str, ...], board: str) -> None:
    _proved(network(names), tmp_path, board)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("board", ["host", "f746zg"])
def test_other_types_of_activations(tmp_path: Path, dtype: str, board: str) -> None:
    """What only TFLite models and float networks have; 16-bit layers have 64-bit biases."""
    layers = Layers(4, dtype)
    x = layers.conv(layers.input(6, 6, 3), 4, 3)
    layers.depthwise(x)
    graph = layers.graph()
    tinygen.save(graph, tmp_path / "net.tg")
    assert write_tg(load_tg(tmp_path / "net.tg")) == write_tg(graph)
    built = build(tmp_path / "net.tg", tmp_path / "built", BuildOptions(board=board), profile=False).folder
    assert hil(built, HilOptions(limit=3)).passed
