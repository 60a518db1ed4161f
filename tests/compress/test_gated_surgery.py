"""Gated networks without some of their filters: equal to the masked ones, gates, lists and export included."""

from __future__ import annotations

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import Tensor, nn  # noqa: E402

from tinygen.compress.criteria import filter_masks, taylor_gate, weight_norm  # noqa: E402
from tinygen.compress.surgery import groups, masked, slim  # noqa: E402
from tinygen.frontends.torch import export  # noqa: E402
from tinygen.ir.interpreter import evaluate  # noqa: E402
from tinygen.nn import (  # noqa: E402
    Affine8,
    CondConv2d,
    GatedConv2d,
    InputQuant,
    QuantConv2d,
    QuantLinear,
    Symmetric8,
)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Sequential, Tensor]:
    """Gates, one with experts, between layers that have none; and images. In double, where sums have no order."""
    torch.manual_seed(0)
    network = nn.Sequential(
        InputQuant(),
        QuantConv2d(2, 8, 3, padding=1, bias=False, weight_quantizer=Symmetric8()),
        nn.BatchNorm2d(8),
        Affine8(relu=True),
        GatedConv2d(8, 12, 3, density=0.5, padding=1),
        nn.MaxPool2d(2),
        GatedConv2d(12, 8, 3, density=0.5, experts=2),
        nn.Flatten(),
        QuantLinear(32, 4, weight_quantizer=Symmetric8()),
    ).double()
    for place in (4, 6):  # some gates are closed, and channels have values even there
        network[place].head.bias.data.normal_()
        network[place].beta.data.normal_()
    images = torch.rand(16, 2, 8, 8, dtype=torch.float64)
    for _ in range(8):
        network(images)
    return network.eval(), images


def _masks(seed: int) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    sizes = {"1": 8, "4.convolution": 12, "6.head": 8}
    return {name: torch.rand(size, generator=chance) < 0.7 for name, size in sizes.items()}


@pytest.mark.parametrize("seed", range(3))
def test_slim_is_masked(trained: tuple[nn.Sequential, Tensor], seed: int) -> None:
    network, images = trained
    masks = _masks(seed)
    small, full = slim(network, images, masks), masked(network, images, masks)
    assert torch.allclose(small(images), full(images), rtol=1e-9, atol=1e-9)
    for place, name in ((4, "4.convolution"), (6, "6.head")):
        left = masks[name].nonzero()[:, 0]
        assert torch.equal(left[small[place].live], full[place].live)
        assert small[place].k == min(network[place].k, len(left)) == small[place].live.shape[1]
        assert small[place].head.weight.shape == (len(left), int(masks["1" if place == 4 else "4.convolution"].sum()))
    assert not torch.equal(full(images), network(images))


def test_more_live_channels_than_are_left(trained: tuple[nn.Sequential, Tensor]) -> None:
    network, images = trained
    masks = {"4.convolution": torch.arange(12) % 6 == 1}
    small, full = slim(network, images, masks), masked(network, images, masks)
    assert small[4].k == 2 and small[4].density == 1
    assert torch.allclose(small(images), full(images), rtol=1e-9, atol=1e-9)


def test_what_is_left_is_exported(trained: tuple[nn.Sequential, Tensor]) -> None:
    network, images = trained
    small = slim(network, images, _masks(0)).float()
    graph = export(small, images[:1].float())
    codes = small[0].codes(images.float())[0].transpose(0, 2, 3, 1)
    answers = torch.stack([torch.from_numpy(evaluate(graph, [one[None]])[0][0]) for one in codes])
    assert torch.equal(answers.argmax(1), small(images.float()).argmax(1))


def test_criteria_take_the_filters_with_their_gates(trained: tuple[nn.Sequential, Tensor]) -> None:
    network, images = trained
    found = groups(network, images)
    assert ("4.convolution", "4.head") in [tuple(name for name, _ in one.members) for one in found]
    masks = filter_masks(weight_norm(network), 0.25, groups=found)
    assert torch.equal(masks["4.convolution"], masks["4.head"]) and int(masks["4.head"].sum()) == 9
    assert slim(network, images, masks)[6].convolution.weight.shape == (2, 6, 9, 3, 3)


def test_taylor_importance_is_that_of_gated_outputs(trained: tuple[nn.Sequential, Tensor]) -> None:
    network, images = trained
    scores = taylor_gate(network, images, [(images, torch.arange(16) % 4)])
    assert set(scores) == {"1", "4.convolution", "6.head", "8"}
    never = torch.ones(12, dtype=torch.bool)
    network(images)
    never[network[4].live.flatten().unique()] = False
    assert never.any() and not scores["4.convolution"][never].any() and scores["4.convolution"].any()


def test_mixed_filters_stay() -> None:
    """What experts make has no filter that a criterion knows; its inputs may go."""
    torch.manual_seed(1)
    first = QuantConv2d(1, 6, 1, bias=False, weight_quantizer=Symmetric8())
    network = nn.Sequential(InputQuant(), first, Affine8(relu=True), CondConv2d(6, 4, 1, experts=2), nn.Flatten())
    images = torch.rand(4, 1, 2, 2)
    network(images)
    masks = {"1": torch.arange(6) != 2, "3.router": torch.tensor([True, False])}
    small = slim(network.eval(), images, masks)
    assert small[3].weight.shape == (2, 4, 5, 1, 1) and small[3].router.weight.shape == (2, 5)
    assert torch.allclose(small(images), masked(network, images, masks)(images), atol=1e-6)
