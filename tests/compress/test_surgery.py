"""The slim network equals the masked one, bit by bit, and the masks are what fits together."""

from __future__ import annotations

import pytest

from tests.support.spread import spread
from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402

from tests.support.prunable_networks import (  # noqa: E402
    NETWORKS,
    ResidualBlock,
    exact_images,
    exact_network,
    grouped_masks,
    images,
    network,
    random_masks,
)
from tinygen.compress.surgery import consistent, groups, masked, slim  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402
from tinygen.nn import RECIPES, calibrate, convert  # noqa: E402
from tinygen.nn.switchable import SwitchSpec, switchable  # noqa: E402


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_slim_is_masked_bit_by_bit(name: str, share: float) -> None:
    net, x = exact_network(name), exact_images()
    for seed in range(4):
        masks = grouped_masks(net, x, share, seed)
        small, full = slim(net, x, masks), masked(net, x, masks)
        assert torch.equal(small(x), full(x))
        before, after = (sum(p.numel() for p in n.parameters()) for n in (net, small))
        assert after < before
        assert not torch.equal(full(x), net(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_is_zero_kernels_in_the_consumers_alone(name: str) -> None:
    """The definition: nothing but the kernels that read removed channels need be zero."""
    net, x = exact_network(name), exact_images()
    masks = grouped_masks(net, x, 0.5, 3)
    full = masked(net, x, masks)
    plainly = exact_network(name)
    for (_, part), (_, reference) in zip(plainly.named_modules(), full.named_modules(), strict=True):
        if isinstance(part, (nn.Conv2d, nn.Linear)) and getattr(part, "groups", 1) == 1:
            ignored = ~reference.weight.flatten(2).any(2).any(0) if part.weight.dim() > 2 else ~reference.weight.any(0)
            part.weight.data[:, ignored] = 0.0
    assert torch.equal(plainly(x), full(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_masks_are_made_consistent(name: str) -> None:
    net, x = exact_network(name), exact_images()
    masks = random_masks(net)
    result = consistent(net, x, masks)
    assert torch.equal(slim(net, x, masks)(x), masked(net, x, result.masks)(x))
    assert consistent(net, x, result.masks).widened == {}
    for layer, mask in masks.items():
        assert torch.equal(result.masks[layer], mask | result.widened.get(layer, torch.zeros_like(mask)))
        assert result.masks[layer].any()
    assert result.masks["head"].all()
    assert "gives it back" in result.reasons["head"]


def test_branches_of_an_addition_keep_the_union() -> None:
    net, x = exact_network("residual"), exact_images()
    stem, added = torch.arange(8) != 2, torch.arange(8) < 6
    result = consistent(net, x, {"stem.0": stem, "blocks.0.body.1": added})
    assert result.masks["stem.0"].all() and result.masks["blocks.0.body.1"].all()
    assert result.widened["stem.0"].tolist() == (~stem).tolist()
    assert "blocks.0.body.1" in result.reasons["stem.0"] or "stem.0" in result.reasons["blocks.0.body.1"]
    common = {"stem.0": torch.arange(8) != 2, "blocks.0.body.1": torch.tensor([True, False, False] + [True] * 5)}
    result = consistent(net, x, common)
    assert (
        result.masks["stem.0"].tolist() == result.masks["blocks.0.body.1"].tolist() == [True, True, False] + [True] * 5
    )
    assert list(result.widened) == ["blocks.0.body.1"]


def test_depthwise_layers_follow_what_they_read() -> None:
    net, x = exact_network("separable"), exact_images()
    result = consistent(net, x, {"pointwise.0": torch.arange(10) % 3 > 0})
    assert result.masks["doubling.0"].tolist() == [i // 2 % 3 > 0 for i in range(20)]
    small = slim(net, x, {"pointwise.0": torch.arange(10) % 3 > 0})
    layer = small.get_submodule("doubling.0")
    assert (layer.groups, layer.in_channels, layer.out_channels) == (6, 6, 12)
    # Alone it has no say: what it reads stays, so it stays.
    alone = consistent(net, x, {"doubling.0": torch.zeros(20, dtype=torch.bool)})
    assert alone.masks["doubling.0"].all()


def test_one_filter_stays() -> None:
    net, x = exact_network("plain"), exact_images()
    result = consistent(net, x, {"first": torch.zeros(8, dtype=torch.bool)})
    assert result.masks["first"].tolist() == [True] + [False] * 7
    assert result.reasons["first"] == "first would be empty"
    assert slim(net, x, {"first": torch.zeros(8, dtype=torch.bool)}).get_submodule("first").out_channels == 1


def test_groups_name_what_goes_together() -> None:
    found = groups(network("residual"), images())
    names = [tuple(name for name, _ in group.members) for group in found if group.prunable]
    assert ("stem.0", "blocks.0.body.1") in names
    assert ("blocks.1.body.1", "blocks.1.shortcut.0", "blocks.2.body.1") in names
    assert [group.members[0][0] for group in found if not group.prunable] == ["head"]
    pairs = [group for group in groups(network("separable"), images()) if group.members[0][0] == "pointwise.0"]
    (pair,) = pairs
    assert [name for name, _ in pair.members] == ["pointwise.0", "doubling.0", "doubling.0"]
    assert [index.tolist()[:2] for _, index in pair.members] == [[0, 1], [0, 2], [1, 3]]


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_of_torch_pruning(name: str) -> None:
    """An outside opinion, on networks whose every operator torch-pruning knows.

    Not so depthwise layers that make several channels of one: of those it names one channel only.
    """
    tp = need("torch_pruning")
    net, x = network(name), images()
    graph = tp.DependencyGraph().build_dependency(net, x)
    names = {module: path for path, module in net.named_modules()}
    for group in groups(net, x):
        if not group.prunable or "doubling.0" in dict(group.members):
            continue
        first, indices = group.members[0]
        theirs = graph.get_pruning_group(net.get_submodule(first), tp.prune_conv_out_channels, indices.tolist())
        makers = {
            (names[dep.target.module], int(i))
            for dep, places in theirs
            if isinstance(dep.target.module, (nn.Conv2d, nn.Linear)) and graph.is_out_channel_pruning_fn(dep.handler)
            for i in places
        }
        assert makers == {(member, int(i)) for member, places in group.members for i in places}


class Odd(nn.Module):
    """Operators that mix channels, sizes, and modules that are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3)
        self.again = nn.Conv2d(6, 6, 3, padding=1)
        self.groups = nn.Conv2d(6, 8, 3, groups=2)
        self.slopes = nn.PReLU(8)
        self.gate = nn.Linear(8, 8)
        self.mixed = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.again(self.again(self.first(x)))
        x = self.slopes(self.groups(x))
        x = x * torch.sigmoid(self.gate(x.mean((2, 3)))).view(x.size(0), 8, 1, 1)
        x = torch.softmax(self.mixed(x), 1)
        return self.head(torch.amax(x, (2, 3)))


def test_what_is_not_known_stays() -> None:
    torch.manual_seed(0)
    net, x = Odd().double(), exact_images()
    masks = random_masks(net, 0.5)
    result = consistent(net, x, masks)
    assert result.masks["mixed"].all() and "softmax" in result.reasons["mixed"]
    assert result.masks["gate"].all() and "view" in result.reasons["gate"]
    assert torch.allclose(slim(net, x, masks)(x), masked(net, x, masks)(x), rtol=1e-12, atol=0)


def test_layers_called_twice_and_groups_lose_alike() -> None:
    torch.manual_seed(0)
    net, x = Odd().double(), exact_images()
    masks = {"first": torch.arange(6) % 3 != 1, "again": torch.arange(6) % 3 != 1}
    small = slim(net, x, masks)
    assert small.again.weight.shape[:2] == (4, 4)
    assert (small.groups.in_channels, small.groups.out_channels, small.groups.groups) == (4, 8, 2)
    full = masked(net, x, masks)
    assert torch.allclose(small(x), full(x), rtol=1e-12, atol=0)
    # One of the two groups alone cannot lose a channel.
    assert consistent(net, x, {"first": torch.arange(6) != 1, "again": torch.arange(6) != 1}).masks["first"].all()


def test_filters_leave_every_group_or_none() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 1, groups=2), nn.ReLU(), nn.Conv2d(8, 2, 1)).double()
    x = exact_images()
    one, both = torch.arange(8) != 1, (torch.arange(8) % 4) != 1
    assert consistent(net, x, {"1": one}).masks["1"].all()
    assert torch.equal(consistent(net, x, {"1": both}).masks["1"], both)
    small, full = slim(net, x, {"1": both}), masked(net, x, {"1": both})
    assert small[1].weight.shape[:2] == (6, 2) and torch.allclose(small(x), full(x), rtol=1e-12, atol=0)


class Squeeze(nn.Module):
    """A gate on every channel, made by dense layers: multiplication unites them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3)
        self.slopes = nn.PReLU(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.spot = nn.Conv2d(6, 1, 1)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        x = self.slopes(self.first(x))
        x = x * torch.sigmoid(self.gate(self.pool(x)))
        return self.head(x * torch.tanh(self.spot(x)) + 1.5)


def test_gates_go_with_their_channels() -> None:
    torch.manual_seed(0)
    net, x = Squeeze().double(), exact_images()
    keep = torch.tensor([True, False, True, True, False, True])
    small = slim(net, x, {"first": keep, "gate": keep})
    assert small.gate.weight.shape[:2] == (4, 4) and small.slopes.weight.shape == (4,)
    full = masked(net, x, {"first": keep, "gate": keep})
    assert torch.allclose(small(x), full(x), rtol=1e-12, atol=0)
    assert consistent(net, x, {"first": keep}).masks["first"].all()


def calibrated(name: str, recipe: str) -> nn.Module:
    net = convert(network(name), recipe)
    calibrate(net, [images(16)])
    return net.eval().double()


@pytest.mark.parametrize(("name", "recipe"), spread(NETWORKS, RECIPES))
def test_quantized_networks(name: str, recipe: str) -> None:
    """Kept weights are quantized alone in both; a sum's rounding may move no code, for the sums are the same."""
    net, x = calibrated(name, recipe), images(4, seed=5).double()
    masks = grouped_masks(net, x, 0.5, 1)
    small, full = slim(net, x, masks), masked(net, x, masks)
    assert torch.allclose(small(x), full(x), rtol=1e-9, atol=1e-9)
    for layer, mask in consistent(net, x, masks).masks.items():
        assert len(small.get_submodule(layer).quantized_weight()) == mask.sum()
        assert full.get_submodule(layer).quantized_weight().flatten(1).any(1).sum() <= mask.sum()


def test_training_mode_gradients_and_the_given_network_are_left_alone() -> None:
    net, x = network("plain"), images()
    net.train()
    net.second[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small = slim(net, x, random_masks(net))
    assert net.training and small.training and not small.second[0].weight.requires_grad
    assert small.first.weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    small(x).sum().backward()
    assert small.first.weight.grad is not None


def test_bad_masks_and_networks_are_errors() -> None:
    net, x = network("plain"), images()
    with pytest.raises(ModelError, match="no convolution or dense layer"):
        slim(net, x, {"norm": torch.ones(8, dtype=torch.bool)})
    with pytest.raises(ModelError, match="for weights"):
        slim(net, x, {"first": torch.ones(7, dtype=torch.bool)})
    with pytest.raises(ModelError, match="for weights"):
        masked(net, x, {"first": torch.ones(8)})
    with pytest.raises(ModelError, match=r"does not take inputs of \[4, 3, 8, 8\]"):
        slim(net, torch.zeros(4, 3, 8, 8), {})
    parametrized = network("plain")
    nn.utils.parametrizations.weight_norm(parametrized.first)
    with pytest.raises(UnsupportedError, match="computed from other parameters"):
        slim(parametrized, x, {"first": torch.arange(8) > 2})

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(UnsupportedError, match="cannot be traced"):
        slim(Branches(), x, {})
    with pytest.raises(UnsupportedError, match="a network of several switches"):
        slim(switchable(net, [SwitchSpec(8, 8), SwitchSpec(4, 4)]), x, {})


def test_residual_block_shapes() -> None:
    block = ResidualBlock(4, 4).eval()
    x = torch.rand(2, 4, 5, 5)
    # A block alone reads and gives back what others see: only its inner filters go.
    small = slim(block, x, {"body.0.0": torch.arange(4) != 1, "body.1": torch.arange(4) != 1})
    assert small.body[0][0].out_channels == 3 and small.body[1].out_channels == 4
