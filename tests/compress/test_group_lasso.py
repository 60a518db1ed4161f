"""Group lasso's proximal step."""

from __future__ import annotations

import pytest
import torch
from torch import nn, optim

from tests.compress.test_masking import network
from tinygen.compress.group_lasso import GroupLasso
from tinygen.compress.masking import apply_masks
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn import convert

torch.set_num_threads(1)


def test_groups_are_shortened_or_removed() -> None:
    net = nn.Sequential(nn.Conv2d(2, 1, (1, 2), bias=False))
    net[0].weight.data = torch.tensor([[[[3.0, 4.0]], [[0.3, 0.4]]]])
    lasso = GroupLasso(net, 2.0)
    assert lasso.penalty().item() == pytest.approx(2.0 * (5.0 + 0.5))
    lasso.step(0.25)  # by 0.5
    torch.testing.assert_close(net[0].weight.data, torch.tensor([[[[2.7, 3.6]], [[0.0, 0.0]]]]))
    lasso.step(0.25)
    assert bool(torch.isfinite(net[0].weight).all())
    assert lasso.masks()["0"].tolist() == [[True, False]]


@pytest.mark.parametrize(("group", "dimensions"), [("kernel", (2, 3)), ("filter", (1, 2, 3)), ("channel", (0, 2, 3))])
def test_the_step_is_the_proximal_one(group: str, dimensions: tuple[int, ...]) -> None:
    """It minimises ||v - w||^2 / 2 + rate * strength * sum ||v_g||: no v nearby is better."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3).double())
    before = net[0].weight.detach().clone()
    GroupLasso(net, 0.5, (group,)).step(0.8)
    after = net[0].weight.detach().clone()

    def cost(v: torch.Tensor) -> float:
        return float(((v - before) ** 2).sum() / 2 + 0.4 * torch.linalg.vector_norm(v, dim=dimensions).sum())

    best = cost(after)
    assert best < cost(before)
    for scale in (1e-1, 1e-3, 1e-5):
        for _ in range(50):
            assert best <= cost(after + scale * torch.randn_like(after)) + 1e-15


def test_training_ends_with_exact_zeros_where_nothing_is_learnt() -> None:
    """Only channel 0 says anything: kernels of the others vanish, its own stay."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    lasso = GroupLasso(net, 0.05, exclude=["4"])
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        x = torch.randn(16, 4, 6, 6, generator=generator)
        y = torch.randint(0, 2, (16,), generator=generator)
        x[:, 0] += 2.0 * (2 * y - 1).float()[:, None, None]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        lasso.step(0.1)
    kept = lasso.masks()["0"]
    assert loss.item() < 0.1 and bool(kept[:, 0].any()) and not kept[:, 1:].any()


def test_bad_input() -> None:
    with pytest.raises(UnsupportedError, match="strength -1"):
        GroupLasso(network(), -1)
    with pytest.raises(UnsupportedError, match=r"group 'row'\nUse one of kernel, filter, channel"):
        GroupLasso(network(), 1, ("row",))
    with pytest.raises(UnsupportedError, match=r"0: group lasso on a quantized or masked layer\nTrain the float"):
        GroupLasso(convert(network(), "ternary"), 1)
    masked = network()
    apply_masks(masked, {"3": torch.eye(6, 2, dtype=torch.bool)})
    with pytest.raises(UnsupportedError, match="3: group lasso on"):
        GroupLasso(masked, 1)
    lasso = GroupLasso(network(), 1e9)
    lasso.step(1.0)
    with pytest.raises(ModelError, match=r"0: group lasso has removed all of it\nUse a lower strength"):
        lasso.masks()
