"""Automatic pruning of quantized networks: distances by hand, the search, and networks pruned to their end."""

from __future__ import annotations

import math

import pytest

from tests.support.spread import some
from tests.support.torch_models import need

torch = need("torch")

from torch import nn  # noqa: E402

from tests.support.prunable_networks import NETWORKS, images, network  # noqa: E402
from tinygen.compress.automatic import (  # noqa: E402
    AutomaticResult,
    AutomaticSettings,
    RatioSearch,
    best_ratio,
    filter_closeness,
    interactions,
    kernel_closeness,
    prune_automatically,
)
from tinygen.compress.automatic.prune import weight_bits  # noqa: E402
from tinygen.compress.surgery.rules import channel_map  # noqa: E402
from tinygen.errors import ModelError, TinygenError, UnsupportedError  # noqa: E402
from tinygen.nn import QuantConv2d, QuantLinear, calibrate, convert  # noqa: E402
from tinygen.nn.quantizers import APSQ, BWN, BinaryConnect, CodebookQuant, LogQuant, Symmetric8, TanhQuant  # noqa: E402
from tinygen.nn.quantizers import Ternary as TernaryQuant  # noqa: E402
from tinygen.nn.switchable import SwitchSpec, switchable  # noqa: E402

QUICK = RatioSearch(random=2, guided=1, seed=4)


def binary_conv(filters: int = 3, channels: int = 2) -> QuantConv2d:
    torch.manual_seed(1)
    return QuantConv2d(channels, filters, 3, weight_quantizer=BinaryConnect())


def test_angle_of_binary_weights_by_its_formula() -> None:
    """phi = sum |v| / (sqrt(sum v^2) sqrt(n)), below (4.3)."""
    layer = binary_conv()
    v = layer.weight.detach().double().reshape(3, -1)
    expected = v.abs().sum(1) / (v.norm(dim=1) * math.sqrt(18))
    assert torch.allclose(filter_closeness(layer, "angle"), expected, rtol=1e-12)
    kernels = v.reshape(3, 2, 9)
    expected = kernels.abs().sum(2) / (kernels.norm(dim=2) * 3)
    assert torch.allclose(kernel_closeness(layer, "angle"), expected, rtol=1e-12)


def test_distance_by_hand() -> None:
    """(4.4): signs of (3, -4) are (1, -1), at a distance of sqrt(4 + 9)."""
    layer = QuantLinear(2, 1, weight_quantizer=BinaryConnect())
    layer.weight.data = torch.tensor([[3.0, -4.0]])
    assert filter_closeness(layer, "euclidean").item() == -math.sqrt(13)
    assert filter_closeness(layer, "angle").item() == pytest.approx(7 / (5 * math.sqrt(2)))
    with pytest.raises(ModelError, match="angle, euclidean"):
        filter_closeness(layer, "manhattan")


class Chain(nn.Module):
    """A convolution read by a convolution and, through a concatenation and a flattening, by a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = QuantConv2d(1, 3, 3, padding=1, weight_quantizer=BinaryConnect())
        self.b = QuantConv2d(3, 2, 3, padding=1, weight_quantizer=BinaryConnect())
        self.head = QuantLinear(5 * 4, 4, weight_quantizer=BinaryConnect())

    def forward(self, x):
        x = self.a(x)
        return self.head(torch.flatten(torch.cat([self.b(x), x], 1), 1))


def test_interactions_are_the_readers_kernels() -> None:
    """Not the layer's own: kernel by kernel of its readers, then the mean (section 4.3.3)."""
    torch.manual_seed(2)
    net = Chain()
    channels = channel_map(net, torch.zeros(1, 1, 2, 2))
    found = interactions(net, channels)
    of_b = kernel_closeness(net.b).mean(0)
    v = net.head.weight.detach().double().reshape(4, 5, 4)
    of_head = (v.abs().sum(2) / (v.norm(dim=2) * 2)).mean(0)
    for k, number in enumerate(channels.layers["a"].outputs):
        assert found[int(number)].item() == pytest.approx(((of_b[k] + of_head[2 + k]) / 2).item(), rel=1e-12)
    for k, number in enumerate(channels.layers["b"].outputs):
        assert found[int(number)].item() == pytest.approx(of_head[k].item(), rel=1e-12)


def test_readers_of_8_bits_and_single_weights() -> None:
    net = Chain()
    net.head = QuantLinear(20, 4, weight_quantizer=Symmetric8())
    net.b = QuantConv2d(3, 2, 1, weight_quantizer=BinaryConnect())
    channels = channel_map(net, torch.zeros(1, 1, 2, 2))
    found = interactions(net, channels)
    assert not any(int(number) in found for number in channels.layers["b"].outputs)
    column = net.b.weight.detach().double()[:, 1, 0, 0]
    expected = column.abs().sum() / (column.norm() * math.sqrt(2))
    assert found[int(channels.layers["a"].outputs[1])].item() == pytest.approx(expected.item(), rel=1e-12)


def test_search_finds_the_least_loss() -> None:
    asked: list[float] = []

    def loss(ratio: float) -> float:
        asked.append(ratio)
        return 100 * (ratio - 0.23) ** 2

    ratio, tried = best_ratio(loss, RatioSearch(seed=3))
    assert len(asked) == 11 and asked[0] == 0 and all(0 <= r <= 0.4 for r in asked)
    assert [o.ratio for o in tried] == asked and ratio == min(tried, key=lambda o: o.loss).ratio
    assert abs(ratio - 0.23) < 0.02
    assert best_ratio(lambda ratio: ratio, RatioSearch())[0] == 0
    assert best_ratio(lambda ratio: -ratio, RatioSearch())[0] > 0.38


def test_bad_searches() -> None:
    with pytest.raises(TinygenError, match="highest ratio"):
        RatioSearch(highest=1.0)
    with pytest.raises(TinygenError, match="observations"):
        RatioSearch(random=0)
    with pytest.raises(TinygenError, match=r"(?s)trivial share of 5.*0\.05"):
        AutomaticSettings(trivial=5)
    with pytest.raises(TinygenError, match="is nan"):
        best_ratio(lambda ratio: math.nan, RatioSearch())
    with pytest.raises(TinygenError, match="interactions, filter, random"):
        AutomaticSettings(ranking="best")
    with pytest.raises(TinygenError, match="metric"):
        AutomaticSettings(metric="best")


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        (BWN(), 1),
        (TernaryQuant(), 2),
        (TanhQuant(2), 2),
        (TanhQuant(4), 4),
        (Symmetric8(), 8),
        (APSQ(1), 1),
        (LogQuant(3, integer_exponents=True), 4),
        (CodebookQuant(4, table_bits=8), 4),
    ],
)
def test_bits_of_weights(quantizer, bits: int) -> None:
    torch.manual_seed(0)
    assert weight_bits(QuantConv2d(4, 8, 3, weight_quantizer=quantizer)) == bits
    assert weight_bits(nn.Conv2d(1, 1, 1)) == 32


def quantized(name: str, recipe: str) -> nn.Module:
    net = convert(network(name), recipe)
    calibrate(net, [images()])
    return net


@pytest.mark.parametrize("name", some(NETWORKS, 2))
def test_whatever_is_free_goes(name: str) -> None:
    """With an accuracy that nothing moves, much of every group; a network that runs, and its size."""
    net = quantized(name, "w2a2")
    before = sum(p.numel() for p in net.parameters())
    result = prune_automatically(net, images(), lambda _: 50.0, settings=AutomaticSettings(search=QUICK))
    assert all(group.filters <= math.ceil(group.before * 0.8) for group in result.groups)
    assert result.network(images()).shape == (len(images()), 10)
    after = sum(p.numel() for p in result.network.parameters())
    assert result.parameters == 100 * after / before < 75
    assert sum(p.numel() for p in net.parameters()) == before and result.fine_tunings == 0


def test_nothing_goes_that_costs_too_much() -> None:
    net = quantized("plain", "binary-weights")
    whole = sum(p.numel() for p in net.parameters())

    def accuracy(candidate: nn.Module) -> float:
        return 90.0 if sum(p.numel() for p in candidate.parameters()) == whole else 20.0

    result = prune_automatically(net, images(), accuracy, settings=AutomaticSettings(backwards=True, search=QUICK))
    assert result.parameters == 100 and all(group.filters == group.before for group in result.groups)
    assert [group.layers for group in result.groups] == [("dense",), ("second.0",), ("first",)]


@pytest.mark.parametrize("falls", [False, True])
def test_fine_tuning_where_much_of_a_layer_went(falls: bool) -> None:
    """The share that is pruned counts (section 4.4), and no loss of accuracy: that may be none, or anything."""
    net = quantized("plain", "w2a2")
    whole = sum(p.numel() for p in net.parameters())
    tuned: list[int] = []

    def accuracy(candidate: nn.Module) -> float:
        return 90 * (sum(p.numel() for p in candidate.parameters()) / whole if falls else 1.0)

    def finetune(candidate: nn.Module) -> None:
        tuned.append(sum(p.numel() for p in candidate.parameters()))

    def pruned(trivial: float) -> AutomaticResult:
        search = RatioSearch(random=2, guided=0, seed=4)
        settings = AutomaticSettings(alpha=4.0, search=search, trivial=trivial)
        return prune_automatically(net, images(), accuracy, finetune=finetune, settings=settings)

    found = pruned(0.05)
    many = [group for group in found.groups if group.before - group.filters > 0.05 * group.before]
    assert found.fine_tunings == len(tuned) == len(many) == len(found.groups) == 3
    assert tuned == sorted(tuned, reverse=True) and tuned[0] < whole
    assert falls or pruned(0.5).fine_tunings == 0


@pytest.mark.parametrize("ranking", ["interactions", "filter"])
def test_the_farthest_filters_go(ranking: str) -> None:
    net = quantized("plain", "binary-weights")
    layer = net.get_submodule("second.0")
    channels = channel_map(net, images())
    by_number = interactions(net, channels)
    of_readers = torch.stack([by_number[int(number)] for number in channels.layers["second.0"].outputs])
    scores = of_readers if ranking == "interactions" else filter_closeness(layer)
    assert not torch.equal(of_readers.argsort(), filter_closeness(layer).argsort())

    def accuracy(candidate: nn.Module) -> float:
        others = (candidate.get_submodule("first").out_channels, candidate.get_submodule("dense").out_features)
        return 50.0 if others == (8, 16) else -1e6

    result = prune_automatically(net, images(), accuracy, settings=AutomaticSettings(ranking=ranking, search=QUICK))
    left = result.network.get_submodule("second.0").weight
    assert 6 <= len(left) < 12
    kept = scores.argsort()[12 - len(left) :].sort().values
    assert torch.equal(left, layer.weight[kept])


def test_networks_that_have_nothing_to_prune() -> None:
    with pytest.raises(TinygenError, match="less than 8 bits"):
        prune_automatically(network("plain"), images(), lambda _: 1.0)
    single = nn.Sequential(nn.Flatten(), QuantLinear(64, 10, weight_quantizer=BWN()))
    with pytest.raises(TinygenError, match="none of its layers"):
        prune_automatically(single, torch.zeros(2, 1, 8, 8), lambda _: 1.0)
    for accuracy in (0.93, 101.0):
        with pytest.raises(TinygenError, match=r"(?s)no percentage.*100 times"):
            prune_automatically(quantized("plain", "w2a2"), images(), lambda _, given=accuracy: given)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    several = switchable(nn.Sequential(*layers), [SwitchSpec(2, 2)])
    with pytest.raises(UnsupportedError, match="several switches"):
        prune_automatically(several, images(), lambda _: 1.0)
