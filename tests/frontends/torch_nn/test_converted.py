"""Float networks of every kind by every recipe: converted, calibrated, exported; or refused before anybody trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tinygen
from tests.frontends.torch_nn.networks import images, like_trained
from tests.support.float_networks import NETWORKS, pooled
from tests.support.torch_oracle import Compared, compare_with_torch
from tinygen.errors import UnsupportedError
from tinygen.ir.network import Network, Switch
from tinygen.nn import RECIPES, convert

torch.set_num_threads(1)

LABEL = "nn: converted networks"
QUANTIZED = [name for name, network in NETWORKS.items() if not network.refused]
ON_A_BOARD = ("pool over 12x12", "residual sums", "concatenations")


def _images(name: str) -> Tensor:
    return images(8, *NETWORKS[name].shape)


def _compared(name: str, recipe: str) -> Compared:
    torch.manual_seed(0)
    module = like_trained(convert(NETWORKS[name].make(), recipe), _images(name))
    return compare_with_torch(module, _images(name), LABEL, recipe.replace("-", "_"))


@pytest.mark.parametrize(
    ("name", "recipe"),
    [(name, list(RECIPES)[index % len(RECIPES)]) for index, name in enumerate(QUANTIZED)],
)
def test_codes_are_those_of_the_module(name: str, recipe: str) -> None:
    _compared(name, recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_sums_that_16_bits_do_not_hold_become_codes(recipe: str) -> None:
    """144 codes of 8 bits."""
    x = images(2, 1, 12, 12)
    graph = tinygen.export(like_trained(convert(pooled(), recipe), x), x[:1])
    assert graph.tensors[graph.ops[-1].inputs[0]].dtype == np.int8


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in QUANTIZED])
def test_what_has_no_quantized_form_is_refused_by_convert(name: str, recipe: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        convert(NETWORKS[name].make(), recipe)
    assert caught.value.where == NETWORKS[name].refused and caught.value.fix


@pytest.mark.long
@pytest.mark.parametrize("name", QUANTIZED)
def test_built_and_verified(name: str, tmp_path: Path) -> None:
    """All recipes as switches of one build: on the host, and some networks on an emulated board."""
    found = {recipe.replace("-", "_"): _compared(name, recipe) for recipe in RECIPES}
    network = Network("net", tuple(Switch(recipe, one.graph) for recipe, one in found.items()))
    tinygen.save(network, tmp_path / "net.tg")
    board = "f746zg" if name in ON_A_BOARD else "host"
    codes = np.concatenate([feed[0] for feed in found["int8"].feeds[:3]])
    assert tinygen.verify(str(tmp_path / "net.tg"), codes, board=board).identical


class _Fork(nn.Module):
    """Two layers that read one sum, which nothing rectifies."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.relu(self.left(x) + self.right(x))


def test_layers_that_read_the_same_values_share_a_quantizer() -> None:
    network = like_trained(convert(_Fork(), "ternary"), x := images(4, 3, 5, 5))
    assert network.left.input_quantizer is network.right.input_quantizer
    graph = compare_with_torch(network, x, LABEL).graph
    assert len({op.inputs[0] for op in graph.ops if op.name in ("left", "right")}) == 1
