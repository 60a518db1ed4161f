"""Criteria for layers: imprinting and LayerPrune, with the numbers and rules of their source."""

from __future__ import annotations

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.support.prunable_networks import ResidualBlock, exact_images, exact_network, images, network  # noqa: E402
from tinygen.compress.counting import cost  # noqa: E402
from tinygen.compress.criteria import (  # noqa: E402
    ensemble_ranks,
    imprint_gains,
    imprint_lengths,
    layer_importance,
    layer_prune,
    proxy_accuracies,
    ranks,
)
from tinygen.compress.criteria.layer_prune import CRITERIA  # noqa: E402
from tinygen.compress.surgery import masked, removable_layers, residual_blocks, slim  # noqa: E402
from tinygen.compress.training import Shuffled, accuracy, finetune  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402

DATA = [(images(8, seed), (torch.arange(8) + seed) % 10) for seed in range(2)]


def test_embedding_sizes() -> None:
    """d = round(sqrt(N / f)); the catalogue's example: 512 and 64 give 3, so 576 numbers. Never less than one."""
    found = imprint_lengths({"a": 64, "b": 128, "c": 256, "d": 512, "e": 2048, "f": 4096}, 512)
    assert found == {"a": 3, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1}
    assert imprint_lengths({"half": 16}, 100) == {"half": 3}  # 2.5 is rounded up


def test_imprinting_by_hand() -> None:
    """Two features, embedding the input itself: class means, plain products, accuracy on other data."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    net[0].weight.data = torch.eye(2)
    net[2].weight.data = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    train = [
        (torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 0])),
        (torch.tensor([[0.0, 1.0]]), torch.tensor([1])),
    ]
    # Means (2, 0) and (0, 1): (1, 1.5) is nearer the second by angle, but the plain product takes the first.
    test = [(torch.tensor([[1.0, 1.5], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 1, 0]))]
    x = torch.ones(1, 2)
    plain = proxy_accuracies(net, x, ["0", "2"], train, test)
    assert plain == {"0": pytest.approx(2 / 3), "2": pytest.approx(2 / 3)}
    assert proxy_accuracies(net, x, ["2", "0"], train, test, normalise=True) == {"0": 1.0, "2": 1.0}
    assert imprint_gains({"a": 0.5, "b": 0.75, "c": 0.5}, 0.25) == {"a": 0.25, "b": 0.25, "c": -0.25}


def test_taps_lie_behind_norm_and_activation() -> None:
    """The proxy sees what the next layer sees; blocks are seen at their output."""
    net, x = network("residual"), images(8)
    labels = torch.arange(8) % 2
    found = proxy_accuracies(net, x, ["blocks.2", "stem.0"], [(x, labels)], [(x, labels)], length=8)
    assert list(found) == ["stem.0", "blocks.2"]
    for name, features in (("stem.0", net.stem(x)), ("blocks.2", net.blocks(net.stem(x)))):
        embedding = functional.adaptive_avg_pool2d(features, 1).flatten(1)
        means = torch.stack([embedding[labels == c].mean(0) for c in (0, 1)])
        assert found[name] == pytest.approx(float(((embedding @ means.T).argmax(1) == labels).float().mean()))


def test_layer_importances_by_hand() -> None:
    net, x = network("residual"), images(1)
    blocks = residual_blocks(net, x)
    assert blocks == ["blocks.0", "blocks.2"]
    found = layer_importance(net, x, blocks, "weight norm")
    by_layer = [
        layer.weight.flatten(1).norm(dim=1).mean() for layer in (net.blocks[0].body[0][0], net.blocks[0].body[1])
    ]
    assert found["blocks.0"] == pytest.approx(sum(by_layer).item() / 2)
    found = layer_importance(net, x, ["stem.0"], "bn scale")
    assert found["stem.0"] == pytest.approx(float(net.stem[1].weight.square().mean()))
    (batch,) = DATA[:1]
    functional.cross_entropy(net(batch[0]), batch[1]).backward()
    weight = net.stem[0].weight
    found = layer_importance(net, x, ["stem"], "taylor weight", [batch])
    assert found["stem"] == pytest.approx(float((weight * weight.grad).flatten(1).norm(dim=1).mean()), rel=1e-5)
    gamma = net.stem[1].weight
    found = layer_importance(net, x, ["stem"], "bn taylor", [batch])
    assert found["stem"] == pytest.approx(float((gamma * gamma.grad).square().mean()), rel=1e-4)


def test_the_mean_does_not_favour_wide_layers() -> None:
    """Twice the filters of the same size are worth the same: a mean over filters, not a sum."""
    narrow, wide = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 8, 3)
    wide.weight.data = narrow.weight.data.repeat(2, 1, 1, 1)
    net = nn.ModuleDict({"narrow": narrow, "wide": wide})
    found = layer_importance(net, images(), ["narrow", "wide"], "weight norm")
    assert found["narrow"] == pytest.approx(found["wide"])


def test_ensembles_sum_ranks() -> None:
    weight = {"a": 3.0, "b": 1.0, "c": 2.0}
    taylor = {"a": 0.1, "b": 0.1, "c": 9.0}
    assert ranks(weight) == {"a": 3, "b": 1, "c": 2}
    assert ranks(taylor) == {"a": 1, "b": 2, "c": 3}
    assert ensemble_ranks([weight, taylor]) == {"a": 4, "b": 3, "c": 5}
    with pytest.raises(ModelError, match="criteria of different candidates"):
        ensemble_ranks([weight, {"a": 1.0}])


class Deep(nn.Module):
    """Nine blocks in three groups, as ResNet-56 has 27: the first of a group may change the shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        shapes = [
            (4, 4, 1),
            (4, 4, 1),
            (4, 4, 1),
            (4, 8, 2),
            (8, 8, 1),
            (8, 8, 1),
            (8, 12, 2),
            (12, 12, 1),
            (12, 12, 1),
        ]
        self.blocks = nn.Sequential(*(ResidualBlock(*shape) for shape in shapes))
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def test_every_criterion_prunes_blocks_in_one_shot() -> None:
    torch.manual_seed(0)
    net, x = Deep().eval(), images()
    candidates = residual_blocks(net, x)
    assert candidates == [f"blocks.{i}" for i in (0, 1, 2, 4, 5, 7, 8)]
    importances = [layer_importance(net, x, candidates, criterion, DATA) for criterion in CRITERIA]
    accuracies = proxy_accuracies(net, x, candidates, DATA, DATA)
    importances.append(imprint_gains(accuracies, 0.1))
    importances.append({name: float(rank) for name, rank in ensemble_ranks(importances).items()})
    for importance in importances:
        small = layer_prune(net, x, importance, 3)
        gone = {f"blocks.{i}" for i, block in enumerate(small.blocks) if isinstance(block, nn.Identity)}
        assert gone == {name for name, rank in ranks(importance).items() if rank <= 3}
        # An identity in the place of the block, and nothing else changed.
        y = net.stem(x)
        for i, block in enumerate(net.blocks):
            y = y if f"blocks.{i}" in gone else block(y)
        assert torch.equal(small(x), net.head(y.mean((2, 3))))


def vgg19(scale: int) -> nn.Sequential:
    """VGG19-BN for 32x32, as Table 5.5 lists it, of widths / scale."""
    layers: list[nn.Module] = []
    inputs = 3
    for width in [64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0]:
        if width:
            layers += [nn.Conv2d(inputs, width // scale, 3, padding=1), nn.BatchNorm2d(width // scale), nn.ReLU()]
            inputs = width // scale
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, 100))


def test_vgg19_of_the_thesis() -> None:
    """Table 4.1 prints 20.09 M parameters for VGG19-BN on CIFAR-100; Table 5.5 what LayerPrune_5 leaves."""
    net = vgg19(1)
    assert f"{cost(net, torch.zeros(1, 3, 32, 32)).parameters / 1e6:.2f}" == "20.09"
    small, x = vgg19(32).eval(), torch.rand(2, 3, 32, 32)
    convolutions = [name for name, part in small.named_modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) == 16
    gone = [convolutions[place] for place in (10, 11, 12, 13, 14)]
    assert set(gone) < set(removable_layers(small, x))
    importance = {name: float(name not in gone) for name in removable_layers(small, x)}
    pruned = layer_prune(small, x, importance, 5)
    left: list[int | str] = []
    for part in pruned:
        if isinstance(part, nn.Conv2d):
            left.append(part.out_channels * 32)
        elif isinstance(part, nn.MaxPool2d):
            left.append("M")
    expected = [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, "M", 512, "M"]
    assert left == expected
    assert pruned(x).shape == (2, 100)


def test_imprinting_agrees_with_the_classifier_on_digits() -> None:
    """Fig. 4.4: behind the last layer the proxy is as good as the trained classifier, or nearly."""
    datasets = need("sklearn.datasets")
    digits = datasets.load_digits()
    x, labels = torch.from_numpy(digits.images).float()[:, None] / 16, torch.from_numpy(digits.target)
    net = network("plain").train()
    finetune(net, Shuffled(x[:1000], labels[:1000], 50, seed=0), 4, 0.05)
    names = ["first", "second.0", "dense"]
    found = proxy_accuracies(
        net, x[:1], names, [(x[:1000], labels[:1000])], [(x[1000:1400], labels[1000:1400])], normalise=True
    )
    assert found["dense"] > accuracy(net, [(x[1000:1400], labels[1000:1400])]) - 0.1
    assert found["dense"] > found["first"]


def test_bad_requests_are_errors() -> None:
    net, x = network("residual"), images()
    with pytest.raises(UnsupportedError, match="criterion 'magic'"):
        layer_importance(net, x, ["stem"], "magic")
    with pytest.raises(ModelError, match="no layer with a score by bn scale"):
        layer_importance(net, x, ["head"], "bn scale")
    with pytest.raises(ModelError, match="no batch of data"):
        layer_importance(net, x, ["stem"], "taylor weight")
    with pytest.raises(ModelError, match="3 of 2 candidates"):
        layer_prune(net, x, {"blocks.0": 1.0, "blocks.2": 2.0}, 3)
    with pytest.raises(ModelError, match="no such module"):
        proxy_accuracies(net, x, ["nothing"], DATA, DATA)
    with pytest.raises(ModelError, match="no batch of data"):
        proxy_accuracies(net, x, ["stem.0"], [], DATA)
    with pytest.raises(ModelError, match="no batch of data"):
        proxy_accuracies(net, x, ["stem.0"], DATA, [])


def test_exact_slim_after_layer_prune() -> None:
    """Blocks first, filters then: what is left of a pruned network is cut as exactly."""
    net, x = exact_network("residual"), exact_images()
    small = layer_prune(net, x, {"blocks.0": 0.0, "blocks.2": 1.0}, 1)
    masks = {"stem.0": torch.arange(8) > 2, "blocks.2.body.0.0": torch.arange(12) % 2 == 0}
    assert torch.equal(slim(small, x, masks)(x), masked(small, x, masks)(x))
