"""Fire together, wire together in tinygen.nn: predictors, labels, both ways to train, the exported graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tinygen
from tests.frontends.torch_nn.networks import images, like_trained
from tests.support.differential import compare_code
from tinygen.compress.fire_together import firing_profile
from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import ChannelList
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D, counted
from tinygen.nn import (
    Affine8,
    InputQuant,
    MaskedConv2d,
    QuantConv2d,
    QuantLinear,
    Symmetric8,
    firing_loss,
    masked_layers,
)
from tinygen.nn.fire_together import firing_labels, winning_labels
from tinygen.nn.mask_predictors import MaskPredictor
from tinygen.passes.pipeline import simplify


class _Residual(nn.Module):
    """A masked layer, and what it read."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.quantizer = Affine8(relu=True)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.quantizer(self.inner(x) + x)
        return made


def _network(channels: int = 9, **signature: Any) -> nn.Module:
    """Masked layers behind each other, a pool between, a residual sum, and a head that wants all channels."""
    torch.manual_seed(2)
    return nn.Sequential(
        InputQuant(),
        MaskedConv2d(3, channels, 3, padding=1, **signature),
        nn.MaxPool2d(2),
        MaskedConv2d(channels, channels, 3, padding=1, **signature),
        _Residual(MaskedConv2d(channels, channels, 1, **signature)),
        MaskedConv2d(channels, 7, 3, stride=2, **signature),
        nn.Flatten(),
        QuantLinear(28, 5, weight_quantizer=Symmetric8()),
    )


def _trained(**signature: Any) -> tuple[nn.Module, Tensor]:
    x = images(24, 3, 10, 10) * images(24, 3, 1, 1, seed=1).exp()
    network = _network(**signature)
    for number, layer in enumerate(masked_layers(network).values()):
        if not isinstance(layer.predictor, MaskPredictor):
            continue
        generator = torch.Generator().manual_seed(number)
        layer.predictor.weight.data.normal_(0.0, 9.0, generator=generator)
        layer.predictor.bias.data.normal_(0.2, 1.0, generator=generator)
    return like_trained(network, x), x


def _codes(module: nn.Module, x: Tensor) -> list[np.ndarray]:
    quantizer = next(part for part in module.modules() if isinstance(part, InputQuant))
    return [np.moveaxis(quantizer.codes(sample[None])[0], 1, -1) for sample in x]


def _listed(graph: Graph, values: dict[str, np.ndarray], name: str) -> list[int]:
    encoding = graph.tensors[name].encoding
    assert isinstance(encoding, ChannelList)
    return counted(values[name], encoding.of).tolist() if encoding.counted else values[name].reshape(-1).tolist()


@pytest.mark.parametrize(
    "signature",
    [
        {"mass": 0.9},
        {"density": 0.4},
        {"mass": 1.0, "joint": True},
        {"mass": 0.9, "prediction": "maxima"},
    ],
    ids=str,
)
def test_against_the_module(signature: dict[str, Any]) -> None:
    """Lists are the module's; codes too, where float32 does not round over a boundary."""
    network, x = _trained(**signature)
    graph = tinygen.export(network, x[:1], name="masked")
    lists = [key for key, tensor in graph.tensors.items() if isinstance(tensor.encoding, ChannelList)]
    made: dict[str, np.ndarray] = {}
    for name, layer in masked_layers(network).items():
        layer.register_forward_hook(
            lambda part, _, out, name=name: made.update({name: np.moveaxis(part.quantizer.codes(out)[0], 1, -1)})
        )
    total, differing, lengths = 0, 0, set()
    for sample, codes in zip(x, _codes(network, x), strict=True):
        network(sample[None])
        found = evaluate_all(graph, [codes])
        for key, (name, layer) in zip(lists, masked_layers(network).items(), strict=True):
            assert layer.live is not None
            live = layer.live[0].nonzero().flatten().tolist()
            assert _listed(graph, found, key) == live
            lengths.add(len(live))
            whole = made[name] if layer.k is None else made[name][..., live]
            apart = np.abs(found[name].astype(int) - whole)
            assert apart.max(initial=0) <= 1
            total, differing = total + apart.size, differing + int(np.count_nonzero(apart))
    assert differing <= total / 2000, f"{differing} of {total}"
    assert len(lengths) > (3 if "mass" in signature else 1)


def test_dead_inputs_are_not_read() -> None:
    """Behind a mask and a pool; not behind a residual sum."""
    network, x = _trained(mass=0.9)
    graph = tinygen.export(network, x[:1], name="masked")
    reads = [node.optional(2) is not None for node in graph.nodes() if isinstance(node.op, MaskedConv2D)]
    assert reads == [False, True, True, False]


def test_random_masks() -> None:
    """The same filters for every input, drawn with torch's seed; exported as layers whose other channels are zero."""
    network, x = _trained(density=0.4, prediction="random")
    again, _ = _trained(density=0.4, prediction="random")
    found, kept = network(x).detach(), {}
    for (name, layer), other in zip(masked_layers(network).items(), masked_layers(again).values(), strict=True):
        assert layer.live is not None and layer.k is not None and layer.logits is None
        kept[name] = layer.live[0]
        assert bool((layer.live == kept[name]).all()) and int(kept[name].sum()) == layer.k
        assert torch.equal(layer.predictor.order, other.predictor.order)
    assert not torch.equal(kept["1"], kept["3"])
    other, _ = _trained(density=0.4, prediction="random")
    other.load_state_dict(_another(network).state_dict())
    other(x)
    assert not torch.equal(other[1].live[0], kept["1"]), "lists are saved with the weights"
    assert float(firing_loss(network)) == 0.0
    graph = tinygen.export(network, x[:1], name="random")
    assert not any(isinstance(tensor.encoding, ChannelList) for tensor in graph.tensors.values())
    scale = graph.tensors[graph.outputs[0]].integer.scale[0]
    codes = np.concatenate([evaluate(graph, [sample])[0] for sample in _codes(network, x)])
    np.testing.assert_allclose(codes * scale, found.numpy(), atol=2e-3 * float(found.abs().max()))
    convs = [node.output.shape[3] for node in simplify(graph).nodes() if isinstance(node.op, Conv2D)]
    assert len(convs) == 4 and convs[0] <= 4 and convs[3] <= 3, "nothing is computed of the other filters"


def _another(network: nn.Module) -> nn.Module:
    """With other lists."""
    made = copy.deepcopy(network)
    for layer in masked_layers(made).values():
        layer.predictor.order = layer.predictor.order.flip(0)
    return made


def _compare(networks: Sequence[tuple[nn.Module, Tensor]], count: int, on_board: bool) -> None:
    graphs, feeds = [], []
    for number, (network, x) in enumerate(networks):
        graphs.append(tinygen.export(network, x[:1], name=f"m{number}"))
        feeds.append([[codes] for codes in _codes(network, x)[:count]])
    expected = [[evaluate(graph, sample) for sample in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["masked"] * len(graphs), on_board=on_board)


@pytest.mark.long
def test_on_a_board() -> None:
    signatures: list[dict[str, Any]] = [{"mass": 0.9}, {"density": Fraction(2, 5)}, {"density": 1.0}]
    signatures += [{"mass": 0.9, "prediction": "maxima"}, {"density": 0.4, "prediction": "maxima"}]
    _compare([_trained(**signature) for signature in signatures], 6, True)


def test_maxima_in_c() -> None:
    """Logits with biases."""
    _compare([_trained(mass=0.9, prediction="maxima")], 4, False)


def _gradients(network: nn.Module, loss: Tensor) -> tuple[float, float]:
    """Sums of magnitudes over predictors, and over everything else."""
    network.zero_grad()
    loss.backward()
    sums = [0.0, 0.0]
    for name, parameter in network.named_parameters():
        sums[".predictor." not in name] += 0.0 if parameter.grad is None else float(parameter.grad.abs().sum())
    return sums[0], sums[1]


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("signature", [{"mass": 0.8}, {"density": 0.5}, {"mass": 0.8, "prediction": "maxima"}], ids=str)
def test_where_gradients_go(joint: bool, signature: dict[str, Any]) -> None:
    """Decoupled: labels teach predictors alone, and the task everything else. Joint: each teaches both."""
    network, x = _trained(joint=joint, **signature)
    network.train()
    network(x)
    predictors, others = _gradients(network, firing_loss(network))
    assert predictors > 0 and (others > 0) == joint
    predictors, others = _gradients(network, network(x).square().mean())
    assert others > 0 and (predictors > 0) == joint


def test_labels_are_of_outputs_before_the_mask() -> None:
    """And of inputs behind the mask of the layer in front."""
    network, x = _trained(mass=0.7)
    network(x)
    first, second = list(masked_layers(network).values())[:2]
    seen = network[2](network[1](network[0](x)))
    whole = torch.relu(second.norm(second.convolution(seen)))
    assert second.labels is not None and second.live is not None and first.live is not None
    assert torch.equal(second.labels, firing_labels(whole.amax((2, 3)), 0.7))
    assert bool((second.labels & ~second.live).any()), "some dead filter would fire here"
    assert not seen[~first.live].any()
    fixed, x = _trained(density=0.5)
    fixed(x)
    layer = masked_layers(fixed)["1"]
    assert layer.labels is not None and layer.live is not None and layer.peaks is not None
    assert torch.equal(layer.labels, winning_labels(layer.peaks, 5)) and bool((layer.live.sum(1) == 5).all())


def test_batch_norm_follows_masked_inputs() -> None:
    network, x = _trained(mass=0.7)
    first, second = list(masked_layers(network).values())[:2]
    network.train()
    second.norm.momentum = 1.0
    given: list[Tensor] = []
    second.register_forward_hook(lambda part, taken, out: given.append(taken[0].detach()))
    network(x)
    assert second.norm.running_mean is not None and first.live is not None
    assert not given[0][~first.live].any() and not first.live.all()
    wanted = second.convolution(given[0]).mean((0, 2, 3))
    assert torch.allclose(second.norm.running_mean, wanted, atol=1e-5)


@pytest.mark.parametrize("softmax", [True, False])
def test_predictor(softmax: bool) -> None:
    """The logits of the definition, but for rounding to 8 bits; integers have their signs; a logit of 0 is dead."""
    torch.manual_seed(0)
    predictor = MaskPredictor(6, 4, softmax=softmax)
    predictor.weight.data.normal_()
    predictor.bias.data.normal_()
    x = images(50, 6, 3, 3).abs()
    predictor.train()
    for _ in range(3):
        predictor(x)
    logits, integers = predictor.eval()(x)
    peaks = x.amax((2, 3))
    wanted = (torch.softmax(peaks, 1) if softmax else peaks) @ predictor.weight.T + predictor.bias
    assert float((logits - wanted).detach().abs().max()) < (0.05 if softmax else 0.15)
    assert torch.equal(logits > 0, integers > 0) and torch.equal(integers, integers.round())
    predictor.weight.data.zero_()
    predictor.bias.data.zero_()
    layer = MaskedConv2d(6, 4, 1, mass=1.0)
    layer.predictor = predictor
    layer.quantizer.train()(x)
    layer.eval()
    assert not layer(x).any() and layer.live is not None and not layer.live.any()
    layer.masking = False
    assert layer(x).any()


def test_masses_before_training() -> None:
    """The dense network says what a mass spares; its labels are those of dense outputs."""
    network, x = _trained(mass=1.0)
    profile = firing_profile(network, [x[:9], x[9:]])
    assert {name: layer.source for name, layer in profile.layers.items()} == {
        "1": "",
        "3": "1",
        "4.inner": "3",
        "5": "",
    }
    assert profile.layers["3"].macs == 25 * 9 * 9 * 9 and profile.peaks["5"].shape == (24, 7)
    for layer in masked_layers(network).values():
        assert layer.masking
        layer.masking = False
    network(x)
    assert torch.equal(profile.peaks["3"], masked_layers(network)["3"].peaks)
    with pytest.raises(ModelError, match="no layer with masks"):
        firing_profile(nn.Sequential(nn.ReLU()), [x])


def test_what_is_refused() -> None:
    signature: dict[str, Any]
    for signature in ({}, {"mass": 0.5, "density": 0.5}):
        with pytest.raises(UnsupportedError, match="not one of mass and density"):
            MaskedConv2d(3, 4, 3, **signature)
    for signature in ({"mass": 0.0}, {"density": 1.5}):
        with pytest.raises(UnsupportedError, match="a mass or density of"):
            MaskedConv2d(3, 4, 3, **signature)
    for signature in ({"mass": 0.5}, {"density": 0.5, "joint": True}):
        with pytest.raises(UnsupportedError, match="a random mask that depends on the input"):
            MaskedConv2d(3, 4, 3, prediction="random", **signature)
    with pytest.raises(UnsupportedError, match="'mean' asked for"):
        MaskedConv2d(3, 4, 3, density=0.5, prediction="mean")
    with pytest.raises(UnsupportedError, match="values below 0"):
        MaskedConv2d(3, 4, 3, mass=0.5, quantizer=Affine8())
    with pytest.raises(UnsupportedError, match="without logits"):
        firing_loss(nn.ReLU())
    network, x = _trained(mass=0.9)
    masked_layers(network)["1"].masking = False
    with pytest.raises(UnsupportedError, match="a predictor that is not used"):
        tinygen.export(network, x[:1], name="masked")
    network, x = _trained(mass=0.9, prediction="maxima")
    masked_layers(network)["1"].predictor.bias.data[2] = 1e9
    with pytest.raises(UnsupportedError, match="a bias far larger than all weights"):
        tinygen.export(network, x[:1], name="masked")


def test_depthwise_layers_behind_masks() -> None:
    """They have constants where channels are dead: as on the board."""
    torch.manual_seed(1)
    depthwise = QuantConv2d(8, 8, 3, padding=1, groups=8, weight_quantizer=Symmetric8())
    network = nn.Sequential(InputQuant(), MaskedConv2d(3, 8, 1, mass=0.9), depthwise, Affine8(relu=True))
    x = images(8, 3, 6, 6)
    masked_layers(network)["1"].predictor.bias.data.zero_()
    like_trained(network, x)
    graph = tinygen.export(network, x[:1], name="masked")
    for sample, codes in zip(x, _codes(network, x), strict=True):
        wanted = network[3].codes(network(sample[None]))[0]
        assert np.abs(evaluate(graph, [codes])[0].astype(int) - np.moveaxis(wanted, 1, -1)).max() <= 1
