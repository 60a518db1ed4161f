"""Gated convolutions of tinygen.nn: gates, training, the exported graph against the module."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tinygen
from tests.frontends.torch_nn.networks import images, like_trained
from tests.support.differential import compare_code
from tinygen.errors import UnsupportedError
from tinygen.frontends.tg import load_tg, write_tg
from tinygen.ir.encodings import ChannelList
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.nn import (
    Affine8,
    CondConv2d,
    GatedConv2d,
    InputQuant,
    QuantLinear,
    Symmetric8,
    gate_penalty,
    gated_layers,
    utilisation,
)
from tinygen.nn.gated import winners


def _network(
    density: Fraction | float = 0.5, channels: int = 10, experts: int = 0, routing: str = "sigmoid"
) -> nn.Module:
    """Gated layers behind each other, a pool on live channels, and heads that want all channels."""
    torch.manual_seed(2)
    return nn.Sequential(
        InputQuant(),
        GatedConv2d(3, channels, 3, density=density, padding=1),
        GatedConv2d(channels, channels, 3, density=density, stride=2, experts=experts, routing=routing),
        nn.MaxPool2d(2),
        GatedConv2d(channels, channels, 1, density=density),
        nn.Flatten(),
        QuantLinear(channels * 4, 5, weight_quantizer=Symmetric8()),
    )


def _trained(
    density: Fraction | float = 0.5, channels: int = 10, experts: int = 0, routing: str = "sigmoid"
) -> tuple[nn.Module, torch.Tensor]:
    x = images(24, 3, 10, 10)
    network = like_trained(_network(density, channels, experts, routing), x)
    generator = torch.Generator().manual_seed(4)
    for layer in gated_layers(network).values():
        layer.beta.data.normal_(0.0, 0.3, generator=generator)
    return network.eval(), x


def _codes(module: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    quantizer = next(part for part in module.modules() if isinstance(part, InputQuant))
    return [np.moveaxis(quantizer.codes(sample[None])[0], 1, -1) for sample in x]


def test_winners_and_their_values() -> None:
    """Ties go to the lowest numbers; losers are 0, beta included; winners are multiplied, not only kept."""
    scores = torch.tensor([[3.0, 5.0, 5.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert winners(scores, 3).tolist() == [[0, 1, 2], [0, 1, 2]]
    network, x = _trained()
    layer = gated_layers(network)["1"]
    layer.beta.data.fill_(1.0)
    made = layer(network[0](x))
    assert layer.live is not None and layer.gates is not None and layer.live.shape == (24, 5)
    alive = torch.zeros(24, 10, dtype=torch.bool).scatter(1, layer.live, True)
    alive = alive[:, :, None, None].expand_as(made)
    assert not made[~alive].any()
    plain = layer.norm(layer.convolution(network[0](x)))
    wanted = layer.quantizer(torch.relu(layer.gates[:, :, None, None] * plain + 1.0))
    assert torch.equal(made[alive], wanted[alive])


@pytest.mark.parametrize(("density", "k"), [(0.3, 10), (Fraction(1, 3), 11), (0.55, 18), (1.0, 32), (0.01, 1)])
def test_how_many_live(density: Fraction | float, k: int) -> None:
    """0.55 of 100 channels in floats would be 56."""
    assert GatedConv2d(3, 32, 3, density=density).k == k
    assert GatedConv2d(3, 100, 3, density=0.55).k == 55


def test_gradients_reach_winners_alone() -> None:
    network, x = _trained()
    network.train()
    out = network(x)
    (out.square().mean() + gate_penalty(network, 0.0)).backward()
    layer = gated_layers(network)["4"]
    assert layer.live is not None and layer.head.bias.grad is not None and layer.beta.grad is not None
    used = torch.bincount(layer.live.flatten(), minlength=10) > 0
    assert 0 < int(used.sum()) < 10, "some channel never wins here"
    assert not layer.beta.grad[~used].any() and not layer.head.bias.grad[~used].any()
    assert layer.head.bias.grad[used].any() and gate_penalty(network) > 0


def test_utilisation() -> None:
    network, x = _trained()
    counts = utilisation(network, [x[:10], x[10:]])
    assert {name: int(count.sum()) for name, count in counts.items()} == {"1": 120, "2": 120, "4": 120}
    network(x)
    layer = gated_layers(network)["2"]
    assert layer.live is not None
    assert torch.equal(counts["2"], torch.bincount(layer.live.flatten(), minlength=10))


@pytest.mark.parametrize(
    ("density", "experts", "routing"),
    [(0.5, 0, "sigmoid"), (0.3, 3, "sigmoid"), (0.3, 5, "softmax"), (1.0, 0, "sigmoid")],
)
def test_against_the_module(density: float, experts: int, routing: str) -> None:
    """Lists are the module's; codes too, where float32 does not round over a boundary."""
    network, x = _trained(density, experts=experts, routing=routing)
    graph = tinygen.export(network, x[:1], name="gated")
    lists = [key for key, tensor in graph.tensors.items() if isinstance(tensor.encoding, ChannelList)]
    made: dict[str, np.ndarray] = {}
    for name, layer in gated_layers(network).items():
        layer.register_forward_hook(
            lambda part, _, out, name=name: made.update({name: np.moveaxis(part.quantizer.codes(out)[0], 1, -1)})
        )
    total, differing = 0, 0
    for sample, codes in zip(x, _codes(network, x), strict=True):
        network(sample[None])
        found = evaluate_all(graph, [codes])
        for key, (name, layer) in zip(lists, gated_layers(network).items(), strict=True):
            assert layer.live is not None
            np.testing.assert_array_equal(found[key], layer.live.numpy())
            apart = np.abs(found[name].astype(int) - made[name][..., layer.live[0].numpy()])
            assert apart.max() <= 1
            total, differing = total + apart.size, differing + int(np.count_nonzero(apart))
    assert differing <= total / 2000, f"{differing} of {total}"


def _mixed(routing: str = "sigmoid") -> tuple[nn.Module, torch.Tensor]:
    """Mixed weights without gates."""
    torch.manual_seed(5)
    network = nn.Sequential(
        InputQuant(),
        CondConv2d(3, 6, 3, experts=3, padding=1, routing=routing),
        nn.BatchNorm2d(6),
        Affine8(relu=True),
        CondConv2d(6, 5, 1, experts=5, stride=2, routing=routing),
        nn.BatchNorm2d(5),
        Affine8(relu=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        QuantLinear(5, 4, weight_quantizer=Symmetric8()),
    )
    x = images(24, 3, 8, 8) + 2 * images(24, 3, 1, 1, seed=1)
    return like_trained(network, x), x


@pytest.mark.parametrize("routing", ["sigmoid", "softmax"])
def test_mixed_weights(routing: str) -> None:
    """Shares depend on the input, weights are on the board's grid, gradients reach every expert and the router."""
    network, x = _mixed(routing)
    out = network(x).detach()
    layer = network[1]
    assert isinstance(layer, CondConv2d) and layer.shares is not None
    assert layer.shares.std(0).min() > 0 and bool(((layer.shares * 256) % 1 == 0).all())
    known = (256 * layer.shares.detach()).numpy()
    assert (np.abs(known.sum(1) - 256).max() <= 2) == (routing == "softmax"), "it adds up to 1, but for three roundings"
    graph = tinygen.export(network, x[:1], name="mixed")
    (shares,) = (name for name in graph.tensors if name.endswith("1.shares"))
    counts = np.concatenate([evaluate_all(graph, [codes])[shares] for codes in _codes(network, x)]).astype(int) + 128
    assert np.array_equal(counts, known)
    scale = graph.tensors[graph.outputs[0]].integer.scale[0]
    found = np.concatenate([evaluate(graph, [codes])[0] for codes in _codes(network, x)])
    np.testing.assert_allclose(found * scale, out.numpy(), atol=2e-3 * float(out.abs().max()))
    network.train()
    network(x).square().sum().backward()
    assert layer.weight.grad is not None and layer.router.weight.grad is not None
    assert bool(layer.weight.grad.flatten(1).any(1).all()) and layer.router.weight.grad.any()
    with pytest.raises(UnsupportedError, match="17 experts"):
        CondConv2d(3, 4, 3, experts=17)


def _everything(graphs: Sequence[Graph], feeds: Sequence[Sequence[Sequence[np.ndarray]]]) -> None:
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["gated modules"] * len(graphs), on_board=True)


def test_in_c_and_through_files(tmp_path: Path) -> None:
    made = [_trained(0.5), _trained(0.3, 7, experts=4), _mixed(), _trained(0.4, 9, 5, "softmax")]
    graphs = [tinygen.export(network, x[:1], name=f"gated_{i}") for i, (network, x) in enumerate(made)]
    for graph in graphs:
        tinygen.save(graph, tmp_path / "net.tg")
        assert write_tg(load_tg(tmp_path / "net.tg")) == write_tg(graph)
    feeds = [[[one] for one in _codes(network, x[:4])] for network, x in made]
    _everything(graphs, feeds)


def test_refused() -> None:
    for density in (0.0, 1.5):
        with pytest.raises(UnsupportedError, match="a density of"):
            GatedConv2d(3, 4, 3, density=density)
    with pytest.raises(UnsupportedError, match="a routing by softmax"):
        GatedConv2d(3, 4, 3, density=0.5, routing="softmax")
    with pytest.raises(UnsupportedError, match="'tanh' asked for"):
        CondConv2d(3, 4, 3, routing="tanh")
    with pytest.raises(UnsupportedError, match="values below 0"):
        GatedConv2d(3, 4, 3, density=0.5, quantizer=Affine8())
