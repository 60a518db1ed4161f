"""Networks of tinygen.nn's layers: torch, the graph's integers, C on the host and in the emulated core.

The last three must give the same codes, bit for bit. Torch may give another one only where the exact value lies
within float32's rounding of a boundary; how often it does is printed at the end of the test run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.frontends.torch_nn.networks import (
    ACTIVATIONS,
    WEIGHTS,
    Beside,
    Difference,
    Joined,
    Mean,
    Residual,
    body,
    compare_in_c,
    float_network,
    images,
    layer,
    like_trained,
)
from tests.support.differential import Board
from tests.support.shares import one_in, shares
from tests.support.tally import INPUTS, OTHER_TOP
from tests.support.torch_oracle import Compared, compare_with_torch
from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain
from tinygen.nn import (
    BWN,
    RECIPES,
    Affine8,
    BinaryConnect,
    InputQuant,
    LogQuantActivation,
    QuantConv2d,
    QuantLinear,
    ReLUQuant,
    Sign,
    Symmetric8,
    TanhQuant,
    TanhQuantActivation,
    Ternary,
    XNORNet,
    convert,
    xnor_block,
)

torch.set_num_threads(1)


def _trained(network: nn.Module, x: Tensor, label: str, name: str, seed: int = 0) -> Compared:
    return compare_with_torch(like_trained(network, x, seed), x, label, name)


def _all(networks: Iterable[tuple[nn.Module, Tensor]], label: str, every: int = 1, board: Board = Board.ALL) -> None:
    """All of them against torch, one in so many of the graphs in C too."""
    found = [_trained(net, x, label, f"m{i}", seed=i) for i, (net, x) in enumerate(networks)]
    compare_in_c(found[::every], label, board)


@shares
def test_recipes(every: int) -> None:
    label = "nn: recipes"
    x = images(64, 3, 8, 8)
    found = [_trained(convert(float_network(), recipe), x, label, f"m{i}") for i, recipe in enumerate(RECIPES)]
    assert OTHER_TOP[label] <= 0.001 * INPUTS[label]
    compare_in_c(found[::every], label)


def _combinations(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[nn.Module, Tensor]]:
    for weights, activation in pairs:
        torch.manual_seed(1)
        yield body(weights, activation), images(12, 3, 7, 7)


@pytest.mark.long
def test_quantizers() -> None:
    """Each of the weights, each of the activations."""
    activations = list(ACTIVATIONS)
    pairs = [(w, activations[i * 5 % len(activations)]) for i, w in enumerate(WEIGHTS)]
    assert {a for _, a in pairs} == set(activations)
    _all(_combinations(pairs), "nn: quantizers")


# Tables of 15 bits on both sides: their products leave 32 bits.
_TOO_WIDE = {
    (w, a) for w in ("log-sqrt2", "log-thesis", "codebook4", "codebook64") for a in ("log-sqrt2", "log-thesis")
}


@pytest.mark.long
@pytest.mark.parametrize("weights", WEIGHTS)
def test_all_pairs_of_quantizers(weights: str) -> None:
    pairs = [(weights, activation) for activation in ACTIVATIONS if (weights, activation) not in _TOO_WIDE]
    _all(_combinations(pairs), "nn: pairs of quantizers", board=Board.SHARE)


@pytest.mark.parametrize(("weights", "activation"), sorted(_TOO_WIDE))
def test_tables_on_both_sides_are_refused(weights: str, activation: str) -> None:
    network, x = next(iter(_combinations([(weights, activation)])))
    with pytest.raises(UnsupportedError, match=r"4: accumulators reach .* beyond 32 bits\nFewer bits"):
        _trained(network, x, "", "m")


@one_in(4)
def test_geometry(every: int) -> None:
    torch.manual_seed(2)
    _all(
        [
            layer("int8", "int8", 3, 5, 1, image=(3, 5, 4)),
            layer("tanh5", "relu3", 3, 5, 7, padding=3, image=(3, 6, 7)),
            layer("bwn-channel", "int8-relu", 5, 3, (3, 5), stride=(2, 1), padding=(1, 2), image=(5, 8, 7)),
            layer("log", "sign", 3, 4, 4, padding="same", image=(3, 5, 6)),
            layer("ternary", "tanh2", 4, 7, 3, padding="same", dilation=(2, 1), image=(4, 7, 6)),
            layer("codebook4", "relu2", 6, 9, 3, groups=3, image=(6, 5, 5)),
            layer("int8", "int8-relu", 6, 6, 3, groups=6, padding=1, image=(6, 5, 5)),
            layer("apsq2", "log", 4, 8, 3, groups=4, stride=2, image=(4, 7, 7)),
            layer("apsq", "int8", 4, 8, (2, 3), groups=2, padding=1, image=(4, 5, 5)),
            layer("xnor", "sign", 35, 33, 3, padding=1, entry="sign", image=(35, 4, 5), bias=False),
            layer("xnor", "int8", 32, 40, 1, entry="sign", image=(32, 3, 3)),
            layer("tanh1", "sign", 3, 5, 5, stride=3, padding="valid", entry="tanh2", image=(3, 11, 8)),
            layer("tanh2", "tanh4", 9, 4, 2, stride=2, entry="relu2", image=(9, 6, 6)),
            layer("log-sqrt2", "log-two-sided", 3, 2, 6, dilation=2, padding=5, entry="tanh1", image=(3, 5, 5)),
        ],
        "nn: geometry",
        every,
    )


def _convolution(channels: int, filters: int, kernel: int = 3, **options: object) -> QuantConv2d:
    return QuantConv2d(channels, filters, kernel, weight_quantizer=options.pop("weights", Symmetric8)(), **options)


def _dense(inputs: int, outputs: int) -> QuantLinear:
    return QuantLinear(inputs, outputs, weight_quantizer=Symmetric8())


@one_in(4)
def test_pools_and_heads(every: int) -> None:
    torch.manual_seed(4)
    x = images(12, 3, 8, 8)

    def network(*rest: nn.Module) -> tuple[nn.Module, Tensor]:
        fresh = [InputQuant(), _convolution(3, 6), nn.BatchNorm2d(6)]
        return nn.Sequential(*fresh, *rest), x

    _all(
        [
            network(nn.MaxPool2d(3, 1, 1), Affine8(), nn.Flatten(), _dense(216, 4)),
            network(nn.MaxPool2d(2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2, 1), nn.BatchNorm2d(6), Sign()),
            network(Sign(), nn.MaxPool2d(2), nn.Flatten(), _dense(54, 4)),
            network(ReLUQuant(3), nn.MaxPool2d((2, 3), (1, 2), (1, 0)), _convolution(6, 2, 2, weights=Ternary)),
            network(LogQuantActivation(2, two_sided=True, integer_exponents=True), nn.MaxPool2d(2), nn.AvgPool2d(3)),
            network(Affine8(), nn.AvgPool2d(2), nn.Flatten(), _dense(54, 4)),
            network(ReLUQuant(4), nn.AdaptiveAvgPool2d((2, 3)), nn.BatchNorm2d(6), TanhQuantActivation(4)),
            network(Affine8(relu=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), _dense(6, 4)),
            network(TanhQuantActivation(8), Mean(), _dense(6, 4)),
            network(Affine8(), Mean(), nn.BatchNorm1d(6), Sign(), _dense(6, 4)),
            network(nn.Flatten(), ReLUQuant(2), nn.Dropout(), _dense(216, 4)),
            network(ReLUQuant(2), nn.Identity(), Affine8(), Sign()),
            network(nn.ReLU6(), Affine8(), nn.MaxPool2d(6), nn.Flatten()),
        ],
        "nn: pools and heads",
        every,
    )


@one_in(4)
def test_orders_of_layers(every: int) -> None:
    """XNOR-Net's order, slopes in front of quantizers, dense networks, quantizers within layers."""
    torch.manual_seed(5)
    x, vectors = images(12, 3, 7, 7), images(12, 13)

    def sloped(slope: nn.Module, *rest: nn.Module) -> tuple[nn.Module, Tensor]:
        if isinstance(slope, nn.PReLU):
            slope.weight.data = torch.linspace(0, 1.5, slope.num_parameters)
        return nn.Sequential(InputQuant(), _convolution(3, 5), nn.BatchNorm2d(5), slope, *rest), x

    _all(
        [
            (
                nn.Sequential(
                    InputQuant(),
                    _convolution(3, 32),
                    xnor_block(32, 33, 3, padding=1, activation="relu"),
                    xnor_block(33, 8, 3),
                    nn.BatchNorm2d(8),
                    Sign(),
                    nn.Flatten(),
                    _dense(72, 5),
                ),
                x,
            ),
            (nn.Sequential(InputQuant(), _convolution(3, 6), xnor_block(6, 5, 3, activation="prelu"), Affine8()), x),
            (nn.Sequential(InputQuant(), _dense(13, 9), nn.BatchNorm1d(9), ReLUQuant(4), _dense(9, 3)), vectors),
            (
                nn.Sequential(
                    InputQuant(),
                    QuantLinear(13, 33, weight_quantizer=BWN()),
                    nn.BatchNorm1d(33),
                    Sign(),
                    QuantLinear(33, 35, weight_quantizer=XNORNet()),
                    nn.BatchNorm1d(35),
                    nn.LeakyReLU(0.1),
                    Sign(),
                    QuantLinear(35, 4, bias=False, weight_quantizer=BinaryConnect()),
                ),
                vectors,
            ),
            (
                nn.Sequential(
                    QuantLinear(13, 6, weight_quantizer=TanhQuant(3), input_quantizer=TanhQuantActivation(3)),
                    QuantLinear(6, 4, weight_quantizer=Symmetric8(), input_quantizer=Affine8()),
                ),
                vectors,
            ),
            sloped(nn.PReLU(5), Affine8(), _convolution(5, 3)),
            sloped(nn.PReLU(5), nn.BatchNorm2d(5), nn.MaxPool2d(2), nn.PReLU(), ReLUQuant(2), _convolution(5, 2, 2)),
            sloped(nn.LeakyReLU(), nn.BatchNorm2d(5), nn.Hardtanh(-0.5, 0.7), TanhQuantActivation(4)),
            sloped(nn.ReLU(), nn.BatchNorm2d(5), Sign(), _convolution(5, 4, weights=XNORNet)),
            (nn.Sequential(nn.Flatten(), InputQuant(), _dense(49, 4)), images(12, 1, 7, 7)),
        ],
        "nn: orders of layers",
        every,
    )


def _residual_network(recipe: str) -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        Residual(8, 8),
        Residual(8, 12, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )
    return convert(network, recipe)


@pytest.mark.long
def test_branches() -> None:
    torch.manual_seed(6)
    x = images(12, 3, 7, 7)
    first = [InputQuant(), _convolution(3, 32, padding=1)]
    _all(
        [
            *[(_residual_network(recipe), x) for recipe in ("int8", "w2a2", "xnor", "apsq")],
            # Real values all along the way beside the bits: sums of sums.
            (
                nn.Sequential(
                    *first,
                    Beside(nn.BatchNorm2d(32), Sign(), _convolution(32, 32, padding=1, weights=XNORNet)),
                    Beside(nn.BatchNorm2d(32), Sign(), _convolution(32, 32, padding=1, weights=XNORNet)),
                    Beside(nn.BatchNorm2d(32), Sign(), _convolution(32, 32, padding=1, weights=XNORNet)),
                    nn.BatchNorm2d(32),
                    Affine8(),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    _dense(32, 10),
                ),
                x,
            ),
            (
                nn.Sequential(
                    InputQuant(),
                    Difference(
                        nn.Sequential(_convolution(3, 4), ReLUQuant(3)), nn.Sequential(_convolution(3, 4), Sign())
                    ),
                    nn.BatchNorm2d(4),
                    TanhQuantActivation(3),
                    nn.Flatten(),
                    _dense(100, 10),
                ),
                x,
            ),
            (
                nn.Sequential(
                    InputQuant(),
                    Joined(_convolution(3, 32), _convolution(3, 64), Sign()),
                    _convolution(96, 5, weights=XNORNet),
                    nn.BatchNorm2d(5),
                    Affine8(),
                ),
                x,
            ),
            (
                nn.Sequential(
                    InputQuant(),
                    Joined(_convolution(3, 5), _convolution(3, 2), ReLUQuant(4)),
                    nn.MaxPool2d(2),
                    nn.Flatten(),
                    _dense(28, 10),
                ),
                x,
            ),
        ],
        "nn: branches",
    )


@shares
def test_layers_of_zeros(every: int) -> None:
    """Channels that a method of compression has emptied: scales of zero, ranges of nothing."""
    torch.manual_seed(7)
    found = []
    for index, weights in enumerate(WEIGHTS):
        network = like_trained(body(weights, "int8-relu"), images(8, 3, 7, 7))
        with torch.no_grad():
            network[1].weight[1] = 0.0
            network[4].weight.zero_()
            for part in (network[1], network[4]):
                if hasattr(part.weight_quantizer, "cluster"):
                    part.weight_quantizer.cluster(part.weight)
        found.append(compare_with_torch(network, images(8, 3, 7, 7), "nn: layers of zeros", f"m{index}"))
    compare_in_c(found[::every], "nn: layers of zeros")


def _without_epsilon(chain: Chain, mean: Any, variance: Any, epsilon: float, gamma: Any, beta: Any) -> Chain:
    return _BATCH_NORM(chain, mean, variance, 0.0, gamma, beta)


def _nearly(chain: Chain, mean: Any, variance: Any, epsilon: float, gamma: Any, beta: Any) -> Chain:
    """Off by 15 parts in a million."""
    return _BATCH_NORM(chain, mean, variance, epsilon, gamma * (1 + 2.0**-16), beta)


_BATCH_NORM = Chain.batch_norm


@pytest.mark.parametrize("wrong", [_without_epsilon, _nearly])
def test_what_is_not_exact_is_noticed(wrong: Callable[..., Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the tolerance for torch's rounding nor the count of samples hides a graph that is a little off."""
    torch.manual_seed(8)
    network = like_trained(body("int8", "int8", channels=24, size=9), x := images(64, 3, 9, 9), seed=1)
    compare_with_torch(network, x, "nn: recipes")
    monkeypatch.setattr(Chain, "batch_norm", wrong)
    with pytest.raises(AssertionError, match="the graph's code is not that of the exact value"):
        compare_with_torch(network, x, "nn: recipes")
