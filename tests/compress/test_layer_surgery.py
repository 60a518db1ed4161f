"""Layers and blocks leave; what is left computes what it did with an identity in their place."""

from __future__ import annotations

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402

from tests.support.prunable_networks import exact_images, exact_network, images, network  # noqa: E402
from tinygen.compress.surgery import (  # noqa: E402
    removable_layers,
    remove_layers,
    residual_blocks,
    slim,
    unread_filters,
)
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402


def test_a_block_becomes_an_identity() -> None:
    net, x = exact_network("residual"), exact_images()
    small = remove_layers(net, x, ["blocks.0", "blocks.2"])
    y = net.blocks[1](net.stem(x))
    assert torch.equal(small(x), net.head(net.pool(y).flatten(1)))
    assert [type(part) for part in small.blocks] == [nn.Identity, type(net.blocks[1]), nn.Identity]
    assert len(list(net.blocks[0].parameters())) > 0


def test_a_block_that_changes_the_shape_becomes_its_shortcut() -> None:
    net, x = exact_network("residual"), exact_images()
    small = remove_layers(net, x, ["blocks.1"])
    y = net.blocks[0](net.stem(x))
    y = net.blocks[2](torch.relu(net.blocks[1].shortcut(y)))
    assert torch.equal(small(x), net.head(net.pool(y).flatten(1)))
    assert not any(name.startswith("blocks.1.body") for name, _ in small.named_parameters())
    # What is left can be cut further.
    assert slim(small, x, {"blocks.1.shortcut.0": torch.arange(12) > 3, "blocks.2.body.1": torch.arange(12) > 3})(x)[
        0
    ].shape == (10,)


def test_a_layer_goes_with_its_batch_norm_and_activation() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)]
    net = nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 36), nn.Sigmoid()).eval()
    x = images()
    assert removable_layers(net, x) == ["3", "8"]
    small = remove_layers(net, x, ["3", "8"])
    assert [type(part).__name__ for part in small[3:]] == ["Identity"] * 3 + ["MaxPool2d", "Flatten"] + ["Identity"] * 2
    assert torch.equal(small(x), net[7](net[6](net[:3](x))))
    assert net.training is False and small.training is False


def test_activations_that_others_use_stay() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.act(self.b(self.act(self.a(x))))

    net, x = Shared(), images()
    assert torch.equal(remove_layers(net, x, ["b"])(x), torch.relu(net.a(x)))


def test_blocks_and_layers_are_found() -> None:
    net, x = network("residual"), images()
    assert residual_blocks(net, x) == ["blocks.0", "blocks.2"]
    assert removable_layers(net, x) == [
        "blocks.0.body.0.0",
        "blocks.0.body.1",
        "blocks.1.body.1",
        "blocks.2.body.0.0",
        "blocks.2.body.1",
    ]
    assert residual_blocks(network("plain"), x) == []


def test_filters_that_no_kernel_reads() -> None:
    net, x = exact_network("plain"), exact_images()
    kernels = torch.ones(12, 8, dtype=torch.bool)
    kernels[:, [1, 6]] = False
    features = torch.ones(16, 12 * 16, dtype=torch.bool)
    features[:, 16 * 5 : 16 * 6] = False
    features[:, 3] = False
    kernels[5, 2] = False
    kernels[torch.arange(12) != 5, 4] = False
    masks = {"second.0": kernels, "dense": features}
    found = unread_filters(net, x, masks)
    # Channel 4 is read by filter 5 alone, which nobody reads.
    assert (~found["first"]).nonzero().flatten().tolist() == [1, 4, 6]
    assert (~found["second.0"]).nonzero().flatten().tolist() == [5]
    with torch.no_grad():
        net.second[0].weight[~kernels] = 0.0
        net.dense.weight[~features] = 0.0
    assert torch.equal(slim(net, x, found)(x), net(x))


def test_what_cannot_go_is_an_error() -> None:
    net, x = network("residual"), images()
    with pytest.raises(ModelError, match="no such module"):
        remove_layers(net, x, ["blocks.9"])
    with pytest.raises(ModelError, match="no such module"):
        remove_layers(net, x, [""])
    with pytest.raises(ModelError, match=r"it lies inside blocks.0, which goes too"):
        remove_layers(net, x, ["blocks.0", "blocks.0.body"])
    with pytest.raises(ModelError, match="named twice"):
        remove_layers(net, x, ["blocks.0", "blocks.0"])
    with pytest.raises(UnsupportedError, match="nothing can take its place"):
        remove_layers(net, x, ["stem"])
    with pytest.raises(UnsupportedError, match="nothing can take its place"):
        remove_layers(net, x, ["head"])
    with pytest.raises(ModelError, match="does not take inputs"):
        remove_layers(net, torch.zeros(1, 2, 8, 8), ["blocks.0"])

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.layer(torch.max_pool2d(self.layer(x), 2))

    with pytest.raises(UnsupportedError, match="different shapes"):
        remove_layers(Twice(), x, ["layer"])
    net.spare = nn.Conv2d(1, 1, 1)
    with pytest.raises(ModelError, match="does not call it"):
        remove_layers(net, x, ["spare"])
