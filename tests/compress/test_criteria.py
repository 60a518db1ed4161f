"""Criteria for filters: their numbers by hand, and that what they choose is cut exactly, in float64 and in integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.spread import spread
from tests.support.torch_models import need, outputs_of

torch = need("torch")
torch.set_num_threads(1)

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.support.prunable_networks import NETWORKS, exact_images, exact_network, images, int8_graph, network  # noqa: E402
from tinygen.compress import criteria  # noqa: E402
from tinygen.compress.counting import cost, gated_cost  # noqa: E402
from tinygen.compress.criteria import JointMasks, filter_masks  # noqa: E402
from tinygen.compress.criteria.static_channels import narrowed  # noqa: E402
from tinygen.compress.iterative import prune_iteratively  # noqa: E402
from tinygen.compress.surgery import (  # noqa: E402
    consistent,
    groups,
    masked,
    masked_graph,
    slim,
    slim_graph,
)
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402

Masks = dict[str, Tensor]


def data(dtype: torch.dtype, batches: int = 2) -> list[tuple[Tensor, Tensor]]:
    labels = torch.arange(8) % 10
    return [(images(8, seed).to(dtype), (labels + seed) % 10) for seed in range(batches)]


def ranked(scores: Callable[[nn.Module, Tensor, list], Masks], scope: str) -> Callable[[nn.Module, Tensor], Masks]:
    def choose(net: nn.Module, example: Tensor) -> Masks:
        found = scores(net, example, data(example.dtype))
        return filter_masks(found, 0.4, scope, groups=groups(net, example))

    return choose


def joint(net: nn.Module, example: Tensor) -> Masks:
    trained = JointMasks(net, example)
    generator = torch.Generator().manual_seed(4)
    trained.real.data = torch.randn(trained.real.shape, generator=generator).to(trained.real)
    return trained.masks()


CHOICES: dict[str, Callable[[nn.Module, Tensor], Masks]] = {
    "l1": ranked(lambda net, x, d: criteria.weight_norm(net), "layer"),
    "l2": ranked(lambda net, x, d: criteria.weight_norm(net, 2), "global"),
    "taylor weight": ranked(lambda net, x, d: criteria.taylor_weight(net, d), "global"),
    "taylor gate": ranked(lambda net, x, d: criteria.taylor_gate(net, x, d), "global"),
    "taylor feature map": ranked(lambda net, x, d: criteria.taylor_feature_map(net, x, d), "layer"),
    "gradient": ranked(lambda net, x, d: criteria.gradient(net, d), "layer"),
    "bn scale": ranked(lambda net, x, d: criteria.bn_scale(net, x), "global"),
    "bn taylor": ranked(lambda net, x, d: criteria.bn_taylor(net, x, d), "layer"),
    "random": ranked(lambda net, x, d: criteria.random_scores(net, 3), "layer"),
    "joint masks": joint,
    "static channels": lambda net, x: criteria.static_channels(net, x, 0.6),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", NETWORKS)
def test_slim_equals_masked_in_float64(name: str, choice: str) -> None:
    net, x = exact_network(name), exact_images()
    masks = CHOICES[choice](net, x)
    assert sum(int((~mask).sum()) for mask in masks.values()) > 3
    # What is chosen fits together already.
    assert consistent(net, x, masks).widened == {}
    assert torch.equal(slim(net, x, masks)(x), masked(net, x, masks)(x))


@pytest.mark.parametrize(("name", "choice"), spread(NETWORKS, CHOICES))
def test_slim_equals_masked_in_integers(name: str, choice: str) -> None:
    masks = {layer: mask.numpy() for layer, mask in CHOICES[choice](network(name), images()).items()}
    x = images(3, seed=9).numpy()
    small, full = slim_graph(int8_graph(name), masks), masked_graph(int8_graph(name), masks)
    np.testing.assert_array_equal(outputs_of(small, x), outputs_of(full, x))
    assert sum(t.size for t in small.tensors.values()) < sum(t.size for t in full.tensors.values())


def test_norms_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, (1, 2)), nn.Flatten(), nn.Linear(4, 2))
    net[0].weight.data = torch.tensor([[[[3.0, -4.0]]], [[[0.5, 0.0]]]])
    assert criteria.weight_norm(net)["0"].tolist() == [7.0, 0.5]
    assert criteria.weight_norm(net, 2)["0"].tolist() == [5.0, 0.5]
    assert criteria.weight_norm(net)["2"].shape == (2,)
    with pytest.raises(UnsupportedError, match="a norm of order 3"):
        criteria.weight_norm(net, 3)


def test_gradients_and_taylor_weights_by_hand() -> None:
    """y = w2 relu(w1 x), loss = mean(y): dy/dw1 = w2 x, dy/dw2 = relu(w1 x)."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    net[0].weight.data = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]).double()
    net[2].weight.data = torch.tensor([[3.0, 5.0]]).double()
    batches = [
        (torch.tensor([[1.0, 1.0]]).double(), torch.zeros(1)),
        (torch.tensor([[0.0, 4.0]]).double(), torch.zeros(1)),
    ]

    def mean(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.mean()

    # First batch: hidden 3 and -0.5 (off); second: 8 and 2.
    found = criteria.gradient(net, batches, mean)
    assert found["0"].tolist() == [(6 + 12) / 2, (0 + 20) / 2]
    assert found["2"].tolist() == [(3 + 10) / 2]
    found = criteria.taylor_weight(net, batches, mean)
    assert found["0"].tolist() == [(9 + 36 + 24**2) / 2, 10.0**2 / 2]
    gates = criteria.taylor_gate(net, torch.ones(1, 2).double(), batches, mean)
    assert gates["0"].tolist() == [(9.0**2 + 24**2) / 2, 10.0**2 / 2]
    maps = criteria.taylor_feature_map(net, torch.ones(1, 2).double(), batches, mean, normalise=False)
    assert maps["0"].tolist() == [(9 + 24) / 2, 10 / 2]
    normal = criteria.taylor_feature_map(net, torch.ones(1, 2).double(), batches, mean)["0"]
    torch.testing.assert_close(normal, maps["0"] / maps["0"].norm())


def test_taylor_gates_are_the_slope_of_the_loss() -> None:
    """Against a difference quotient, with the gate put behind the activation of a real network."""
    net, (batch,) = network("residual").double(), data(torch.float64, 1)
    found = criteria.taylor_gate(net, batch[0], [batch])

    def loss_with(layer: nn.Module, channel: int, gate: float) -> float:
        def hook(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
            scale = torch.ones(made.shape[1]).to(made)
            scale[channel] = gate
            return made * scale[:, None, None]

        handle = layer.register_forward_hook(hook)
        with torch.no_grad():
            value = float(functional.cross_entropy(net(batch[0]), batch[1]))
        handle.remove()
        return value

    for layer, tap in (("stem.0", net.stem[2]), ("blocks.1.body.1", net.blocks[1].body[2])):
        for channel in (0, 3):
            slope = (loss_with(tap, channel, 1 + 1e-5) - loss_with(tap, channel, 1 - 1e-5)) / 2e-5
            assert float(found[layer][channel]) == pytest.approx(slope**2, rel=1e-5, abs=1e-12)


def test_feature_maps_do_not_depend_on_how_samples_are_batched() -> None:
    net = network("concat").double()
    x, labels = images(6, 3).double(), torch.arange(6)
    whole = criteria.taylor_feature_map(net, x, [(x, labels)])
    parts = criteria.taylor_feature_map(net, x, [(x[:2], labels[:2]), (x[2:], labels[2:])])
    for name, values in whole.items():
        torch.testing.assert_close(values, parts[name], rtol=1e-9, atol=1e-12)


def test_scales_are_those_of_the_batch_norm_behind() -> None:
    net, x = network("residual"), images()
    found = criteria.bn_scale(net, x)
    assert torch.equal(found["blocks.1.shortcut.0"], net.blocks[1].shortcut[1].weight.detach().abs())
    assert set(found) == set(criteria.weight_norm(net)) - {"head"}
    assert criteria.bn_penalty(net).item() == pytest.approx(float(sum(v.sum() for v in found.values())))
    batch = data(torch.float32, 1)
    functional.cross_entropy(net(batch[0][0]), batch[0][1]).backward()
    gamma = net.stem[1].weight
    torch.testing.assert_close(criteria.bn_taylor(net, x, batch)["stem.0"], (gamma * gamma.grad).square().detach())
    with pytest.raises(UnsupportedError, match="no batch norm"):
        criteria.bn_scale(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)), x)


def test_criteria_leave_the_network_as_it_was() -> None:
    net, x = network("plain"), images()
    net.train()
    net.first.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for scores in (
        criteria.taylor_weight(net, data(torch.float32)),
        criteria.taylor_gate(net, x, data(torch.float32)),
        criteria.gradient(net, data(torch.float32)),
    ):
        assert scores["first"].shape == (8,) and not scores["first"].requires_grad and float(scores["first"].sum()) > 0
    assert net.training and not net.first.weight.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for criterion in (lambda: criteria.gradient(net, []), lambda: criteria.taylor_gate(net, x, [])):
        with pytest.raises(ModelError, match="no batch of data"):
            criterion()


def test_lowest_scores_go() -> None:
    net, x = network("plain"), images()
    found = groups(net, x)
    scores = {"first": torch.arange(8.0), "second.0": 2.5 + torch.arange(12.0)}
    masks = filter_masks(scores, 0.5, groups=found)
    assert masks["first"].tolist() == [False] * 4 + [True] * 4
    assert masks["second.0"].tolist() == [False] * 6 + [True] * 6
    assert masks["dense"].all() and masks["head"].all()
    masks = filter_masks(scores, 0.5, "global", groups=found)
    # 10 of 20: 0 to 6 of the first layer, 2.5 to 4.5 of the second.
    assert (int((~masks["first"]).sum()), int((~masks["second.0"]).sum())) == (6, 4)
    masks = filter_masks(scores, 1.0, "global", groups=found)
    assert masks["first"].tolist() == [False] * 7 + [True] and masks["second.0"].sum() == 1
    assert all(mask.all() for mask in filter_masks(scores, 0.0, groups=found).values())


def test_coupled_filters_have_the_mean_of_their_scores() -> None:
    net, x = network("residual"), images()
    scores = {
        "stem.0": torch.tensor([0.0, 9, 9, 9, 9, 9, 9, 1]),
        "blocks.0.body.1": torch.tensor([9.0, 9, 9, 0, 9, 9, 9, 1]),
    }
    masks = filter_masks(scores, 0.25, groups=groups(net, x))
    for name in scores:
        assert masks[name].tolist() == [False, True, True, True, True, True, True, False]
    # Neither the first layer alone nor the second would choose these.
    for first, second in (("stem.0", "blocks.0.body.1"), ("blocks.0.body.1", "stem.0")):
        scores = {
            first: torch.tensor([0.0, 9, 9, 4, 9, 9, 9, 1]),
            second: torch.tensor([9.0, 9, 9, 0, 9, 9, 9, 1]),
        }
        masks = filter_masks(scores, 0.25, groups=groups(net, x))
        assert masks[first].tolist() == [True, True, True, False, True, True, True, False]
    separable = network("separable")
    masks = filter_masks({"pointwise.0": torch.arange(10.0)}, 0.2, groups=groups(separable, x))
    assert masks["doubling.0"].tolist() == [False] * 4 + [True] * 16


def test_shares_are_rounded_down_as_they_are_written() -> None:
    net = nn.Sequential(nn.Conv2d(1, 100, 1), nn.Conv2d(100, 1, 1))
    x = images()
    for ratio, count in ((0.55, 55), (0.29, 29), (0.999, 99), (0.005, 0)):
        assert int((~filter_masks(criteria.weight_norm(net), ratio, groups=groups(net, x))["0"]).sum()) == count
    for density, count in ((0.55, 55), (0.551, 56), (0.3, 30), (1.0, 100), (0.001, 1)):
        assert int(criteria.static_channels(net, x, density)["0"].sum()) == count


def test_bad_scores_are_errors() -> None:
    net, x = network("plain"), images()
    found = groups(net, x)
    with pytest.raises(UnsupportedError, match=r"a ratio of 1.5"):
        filter_masks({}, 1.5, groups=found)
    with pytest.raises(UnsupportedError, match="scope 'all'"):
        filter_masks({}, 0.5, "all", groups=found)
    with pytest.raises(ModelError, match="in no group"):
        filter_masks({"norm": torch.zeros(8)}, 0.5, groups=found)
    with pytest.raises(ModelError, match=r"scores \[7\] for 8 filters"):
        filter_masks({"first": torch.zeros(7)}, 0.5, groups=found)
    with pytest.raises(ModelError, match="not a number"):
        filter_masks({"first": torch.full((8,), torch.nan)}, 0.5, groups=found)
    with pytest.raises(UnsupportedError, match="a density of 0"):
        criteria.static_channels(net, x, 0.0)


def m_cifar_net() -> nn.Module:
    """The network of Raju's Table 3.1, as the method catalogue derives it from the printed counts."""
    widths, strides = (64, 64, 128, 128, 128, 192, 192, 192), (1, 1, 2, 1, 1, 2, 1, 1)
    layers: list[nn.Module] = []
    inputs = 3
    for place, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        layers += [nn.Conv2d(inputs, width, 3, stride, padding=min(place, 1), bias=False), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, 10))


TABLE_3_1 = {0.9: "145.5", 0.7: "88.3", 0.5: "45.3", 0.3: "16.5", 0.25: "11.5"}
"""Raju 2022: millions of multiply-accumulates by gate density, four experts in each convolution."""


def test_gated_networks_cost_what_table_3_1_says() -> None:
    """All five densities as printed, from the dense network's 174.3; without experts 2.94 % less at 0.5 (3.4.2)."""
    net, x = m_cifar_net(), torch.zeros(1, 3, 32, 32)
    head = "18"  # the table leaves the classifier out
    assert f"{gated_cost(net, x, 1.0, exclude=[head]) / 1e6:.1f}" == "174.3"
    found = {density: gated_cost(net, x, density, experts=4, exclude=[head]) for density in TABLE_3_1}
    assert {density: f"{macs / 1e6:.1f}" for density, macs in found.items()} == TABLE_3_1
    assert found[0.5] / gated_cost(net, x, 0.5, exclude=[head]) == pytest.approx(1.0294, abs=5e-5)
    with pytest.raises(UnsupportedError, match="a density of 0"):
        gated_cost(net, x, 0.0)
    with pytest.raises(UnsupportedError, match="-1 experts"):
        gated_cost(net, x, 0.5, experts=-1)
    with pytest.raises(ModelError, match="no layer 19 to exclude"):
        gated_cost(net, x, 0.5, exclude=["19"])


def test_static_channels_cost_what_gates_without_experts_do() -> None:
    """Where d C is whole: the first layer costs d of itself, all others d squared."""
    net, x = m_cifar_net(), torch.zeros(1, 3, 32, 32)
    for density in (0.5, 0.25):
        small = narrowed(net, x, density, seed=0)
        found = cost(small, x)
        convolutions = found.macs - found.layers["18"].macs
        assert convolutions == gated_cost(net, x, density, exclude=["18"])
    again = narrowed(net, x, 0.25, seed=0)
    assert torch.equal(again[2].weight, small[2].weight)
    assert not torch.equal(again[2].weight, net[2].weight[:16, :16])


def test_random_models() -> None:
    """A share of up to 0.9 of each layer, another one for each; masks that fit together; the same for a seed."""
    net, x = network("residual"), images()
    counts = []
    for seed in range(12):
        masks = criteria.random_filters(net, x, seed)
        assert consistent(net, x, masks).widened == {} and masks["head"].all()
        again = criteria.random_filters(net, x, seed)
        assert all(torch.equal(mask, again[name]) for name, mask in masks.items())
        counts.append([int(masks[name].sum()) for name in ("stem.0", "blocks.0.body.0.0")])
    assert len({tuple(each) for each in counts}) > 6 and min(map(min, counts)) >= 1 and max(map(max, counts)) == 8
    assert criteria.random_layers(["a", "b", "c", "d"], 2, 1) == criteria.random_layers(["a", "b", "c", "d"], 2, 1)
    assert {tuple(criteria.random_layers(["a", "b", "c"], 2, seed)) for seed in range(20)} == {
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    }
    with pytest.raises(ModelError, match="4 of 3 candidates"):
        criteria.random_layers(["a", "b", "c"], 4, 0)
    with pytest.raises(UnsupportedError, match=r"a share of 1.1"):
        criteria.random_filters(net, x, 0, 1.1)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_steps_take_away_what_one_does(scope: str) -> None:
    """Norms do not change between steps, so the same filters go; with training in between, as many."""
    net, x = exact_network("plain"), exact_images()
    seen: list[int] = []

    def recover(small: nn.Module) -> None:
        seen.append(sum(len(small.get_submodule(name).weight) for name in ("first", "second.0", "dense")))

    scored = criteria.weight_norm(net, 2)
    originals = {name: values.clone() for name, values in scored.items()}
    once = prune_iteratively(net, x, lambda n: criteria.weight_norm(n, 2), 0.5, 1, scope=scope)
    masks = filter_masks(originals, 0.5, scope, groups=groups(net, x))
    assert torch.equal(once(x), slim(net, x, masks)(x))
    prune_iteratively(net, x, lambda n: criteria.weight_norm(n, 2), 0.5, 5, scope=scope, recover=recover)
    assert len(seen) == 5 and seen[-1] == 18 and seen == sorted(seen, reverse=True)
    if scope == "global":
        # A tenth of 36 filters each time, rounded down: 3, 7, 10, 14, 18.
        assert seen == [33, 29, 26, 22, 18]


def test_bad_steps_are_errors() -> None:
    net, x = network("plain"), images()
    for ratio, steps, scope in ((1.2, 1, "layer"), (0.5, 0, "layer"), (0.5, 1, "all")):
        with pytest.raises(UnsupportedError, match=rf"a ratio of {ratio} in {steps} steps by '{scope}'"):
            prune_iteratively(net, x, criteria.weight_norm, ratio, steps, scope=scope)
