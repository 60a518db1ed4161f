"""MINT: real connections score higher than cut ones, thresholds and caps, groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.torch_models import need

need("sklearn")

from tinygen.compress.blocks import Grid, grid_of  # noqa: E402
from tinygen.compress.mint import Connectivity, mint_masks, mint_scores, reach, threshold_for  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402

torch.set_num_threads(1)


def wired(channels: int = 8) -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """A second layer in which each filter reads two channels, and independent channels; which are connected."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU())
    connected = torch.zeros(channels, channels, dtype=torch.bool)
    for i in range(channels):
        connected[i, [i, (i + 3) % channels]] = True
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(channels)[..., None, None])
        net[2].weight.copy_((connected * (2 * (torch.rand(channels, channels) < 0.5) - 1))[..., None, None])
        net[0].bias.fill_(3.0)
        net[2].bias.fill_(12.0)  # no filter is dead
    images = torch.randn(300, channels, 1, 1).expand(-1, -1, 2, 2).contiguous()
    return net, images, torch.arange(300) % 3, connected


def test_real_connections_score_highest() -> None:
    """With 7 other channels to condition on: the dimension that this layer really has."""
    net, images, labels, connected = wired()
    found = mint_scores(net, images, labels, per_label=100)
    assert list(found) == ["2"], "the first layer reads no filters"
    scores = found["2"].scores
    real, cut = scores[connected.numpy()], scores[~connected.numpy()]
    # 0.5 would be by chance.
    assert real.mean() > cut.mean() + 0.1 and (real[:, None] > cut).mean() > 0.9
    masks = reach(found, 1 - 16 / 64)
    # By chance 4 of the 16 would be real.
    assert int(masks["2"].sum()) == 16 and int((masks["2"] & connected).sum()) >= 11


def test_scaling_makes_units_of_activations_not_matter() -> None:
    """One channel a hundred times as large is all that plain distances see."""
    net, images, labels, connected = wired()
    with torch.no_grad():
        net[0].weight[0] *= 100
        net[0].bias[0] *= 100
        net[2].weight[:, 0] /= 100
    contrast = []
    for scaled in (True, False):
        scores = mint_scores(net, images, labels, per_label=100, scaled=scaled)["2"].scores
        kept = connected.numpy()
        contrast.append((scores[kept][:, None] > scores[~kept]).mean())
    assert contrast[0] > 0.9 > contrast[1] + 0.1, contrast


def test_groups_score_as_blocks() -> None:
    net, images, labels, _ = wired()
    found = mint_scores(net, images, labels, per_label=60, groups={"2": (4, 2)})["2"]
    assert found.scores.shape == (4, 2)
    mask = found.mask(np.array([[True, False], [False, True], [True, True], [False, False]]))
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[0:2, 0:4] = expected[2:4, 4:8] = expected[4:6] = True
    assert torch.equal(mask, expected)
    assert mint_scores(net, images, labels, per_label=20, groups=64)["2"].scores.shape == (8, 8)


def test_scores_are_reproducible() -> None:
    net, images, labels, _ = wired()
    first, second = (mint_scores(net, images, labels, per_label=20, seed=5)["2"].scores for _ in range(2))
    assert np.array_equal(first, second)


def _found(*layers: list[list[float]]) -> dict[str, Connectivity]:
    arrays = [np.array(layer) for layer in layers]
    return {str(i): Connectivity(a, Grid(*a.shape), (a.shape[0], a.shape[1])) for i, a in enumerate(arrays)}


def test_one_threshold_and_caps() -> None:
    scores = _found([[0.1, 0.5], [0.2, 0.9]], [[0.1, 0.2], [0.15, 0.3]])
    masks = mint_masks(scores, 0.5)
    assert masks["0"].tolist() == [[False, True], [False, True]], "a score at the threshold stays"
    assert not masks["1"].any()
    masks = mint_masks(scores, 0.5, {"1": 0.5})
    assert masks["0"].tolist() == [[False, True], [False, True]], "below its cap"
    assert masks["1"].tolist() == [[False, True], [False, True]], "its own lowest half"
    assert bool(mint_masks(scores, np.inf, 0.0)["1"].all())


def test_the_threshold_for_a_share() -> None:
    scores = _found([[0.1, 0.5], [0.2, 0.9]], [[0.1, 0.2], [0.15, 0.3]])
    sizes = {"0": 36, "1": 4}
    threshold = threshold_for(scores, sizes, 0.5)
    # At 0.3: 18 + 3 of 40 go. (At 0.2 it is 9 + 2, and at 0.2 itself two scores tie.)
    assert threshold == 0.3 and [int(mask.sum()) for mask in mint_masks(scores, threshold).values()] == [2, 1]
    everything = threshold_for(scores, sizes, 1.0)
    assert not any(mask.any() for mask in mint_masks(scores, everything).values())
    assert threshold_for(scores, sizes, 0.0) == 0.1
    assert mint_masks(scores, threshold_for(scores, sizes, 1.0, 0.5), 0.5)["0"].sum() == 2


def test_bad_input() -> None:
    net, images, labels, _ = wired()
    with pytest.raises(UnsupportedError, match=r"2: 3 x 8 groups of 8 filters and 8 input channels\nGive numbers"):
        mint_scores(net, images, labels, groups={"2": (3, 8)})
    with pytest.raises(ModelError, match="no layer 9 to exclude"):
        mint_scores(net, images, labels, exclude=["9"])
    with pytest.raises(ModelError, match="no layer with connections to rank"):
        mint_scores(net, images, labels, exclude=["2"])
    with pytest.raises(ModelError, match="6 at least"):
        mint_scores(net, images[:4], labels[:4])
    with pytest.raises(UnsupportedError, match=r"cap 1.5"):
        mint_masks(_found([[0.1]]), 0.5, 1.5)
    assert grid_of("x", nn.Linear(10, 100), 64 // 2 * 5 // 16) == Grid(10, 10)
