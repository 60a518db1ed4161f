"""Networks with predicted masks without some of their filters: equal to the masked ones, with predictors and export."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import Tensor, nn  # noqa: E402

from tinygen.compress.criteria import bn_scale, filter_masks, taylor_gate  # noqa: E402
from tinygen.compress.surgery import groups, masked, slim  # noqa: E402
from tinygen.frontends.torch import export  # noqa: E402
from tinygen.ir.interpreter import evaluate  # noqa: E402
from tinygen.nn import (  # noqa: E402
    Affine8,
    InputQuant,
    MaskedConv2d,
    QuantConv2d,
    QuantLinear,
    Symmetric8,
    masked_layers,
)

KINDS: dict[str, dict[str, Any]] = {
    "dynamic": {"mass": 0.9},
    "fixed": {"density": 0.5},
    "maxima": {"mass": 0.8, "prediction": "maxima"},
    "maxima-fixed": {"density": 0.5, "prediction": "maxima"},
    "random": {"density": 0.5, "prediction": "random"},
}
SIZES = {"1": 8, "4.convolution": 12, "6.convolution": 9}


def _trained(kind: str) -> tuple[nn.Sequential, Tensor]:
    """In double: the order of a sum is seen in the last digits alone."""
    torch.manual_seed(0)
    network = nn.Sequential(
        InputQuant(),
        QuantConv2d(2, 8, 3, padding=1, bias=False, weight_quantizer=Symmetric8()),
        nn.BatchNorm2d(8),
        Affine8(relu=True),
        MaskedConv2d(8, 12, 3, padding=1, **KINDS[kind]),
        nn.MaxPool2d(2),
        MaskedConv2d(12, 9, 3, **KINDS[kind]),
        nn.Flatten(),
        QuantLinear(36, 4, weight_quantizer=Symmetric8()),
    ).double()
    for layer in masked_layers(network).values():
        layer.norm.bias.data.normal_()
        if kind != "random":
            layer.predictor.weight.data.normal_(0.0, 2.0)
            layer.predictor.bias.data.normal_(0.5)
    images = torch.rand(16, 2, 8, 8, dtype=torch.float64) * torch.rand(16, 2, 1, 1, dtype=torch.float64)
    for _ in range(8):
        network(images)
    return network.eval(), images


def _masks(seed: int) -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return {name: torch.rand(size, generator=chance) < 0.7 for name, size in SIZES.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_slim_is_masked(kind: str) -> None:
    network, images = _trained(kind)
    masks = _masks(0)
    small, full = slim(network, images, masks), masked(network, images, masks)
    assert torch.allclose(small(images), full(images), rtol=1e-9, atol=1e-9)
    for place, before in ((4, "1"), (6, "4.convolution")):
        left = masks[f"{place}.convolution"]
        assert torch.equal(small[place].live, full[place].live[:, left]) and not full[place].live[:, ~left].any()
        # How many filters a convolution has decides on some machines in which order it adds.
        assert torch.allclose(small[place].peaks, full[place].peaks[:, left], rtol=1e-12, atol=0.0)
        assert bool(small[place].live.any())
        if kind != "random":
            given, kept = network[place].predictor, small[place].predictor
            assert torch.equal(kept.weight, given.weight[left][:, masks[before]])
            assert torch.equal(kept.bias, given.bias[left])
        if "density" in KINDS[kind]:
            assert small[place].k == min(network[place].k, int(left.sum()))
    assert "mass" not in KINDS[kind] or not bool(small[6].live.all())
    assert not torch.equal(full(images), network(images))


def test_fewer_filters_than_live_ones() -> None:
    network, images = _trained("fixed")
    masks = {"4.convolution": torch.arange(12) % 6 == 1}
    small, full = slim(network, images, masks), masked(network, images, masks)
    assert torch.allclose(small(images), full(images), rtol=1e-9, atol=1e-9)
    assert small[4].k == 2 and bool(small[4].live.all())


def test_what_is_left_trains_on() -> None:
    """Both ways: its predictor has parameters of its own."""
    network, images = _trained("dynamic")
    small = slim(network, images, _masks(0)).train()
    small(images)
    small[6].logits.sum().backward()
    assert small[6].predictor.weight.grad is not None and small[6].predictor.weight.grad.any()
    assert network[6].predictor.weight.shape == (9, 12)


@pytest.mark.parametrize("kind", ["maxima-fixed", "random"])
def test_what_is_left_is_exported(kind: str) -> None:
    network, images = _trained(kind)
    small = slim(network, images, _masks(0)).float()
    graph = export(small, images[:1].float())
    codes = small[0].codes(images.float())[0].transpose(0, 2, 3, 1)
    answers = torch.stack([torch.from_numpy(evaluate(graph, [one[None]])[0][0]) for one in codes])
    assert torch.equal(answers.argmax(1), small(images.float()).argmax(1))


def test_criteria_take_the_filters_with_their_predictors() -> None:
    network, images = _trained("dynamic")
    found = groups(network, images)
    assert ("4.convolution",) in [tuple(name for name, _ in one.members) for one in found]
    scores = bn_scale(network, images)
    assert torch.equal(scores["4.convolution"], network[4].norm.weight.detach().abs())
    masks = filter_masks(taylor_gate(network, images, [(images, torch.arange(16) % 4)]), 0.25, groups=found)
    small = slim(network, images, masks)
    assert small[4].predictor.weight.shape[0] == int(masks["4.convolution"].sum()) < 12
