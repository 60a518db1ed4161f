"""Multiply-accumulates; and ResNet56's, which tie SNACS's printed tables 4.7, 4.8 and 4.9 together."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.compress.printed import RESNET56
from tests.compress.test_masking import network
from tests.compress.test_observe import Twice
from tinygen.compress.counting import Work, multiply_accumulates, together
from tinygen.compress.masking import apply_masks, sparsity
from tinygen.compress.ranking import keep_highest
from tinygen.errors import ModelError
from tinygen.nn import convert

torch.set_num_threads(1)


def test_by_hand() -> None:
    net = network()
    net.train()
    work = multiply_accumulates(net, torch.zeros(3, 2, 6, 6))
    assert net.training
    # 6x6 maps; 18 weights for each of 6 filters, and in groups of two channels as many; 54 inputs of 4 outputs.
    assert {name: one.dense for name, one in work.items()} == {"0": 36 * 108, "3": 36 * 108, "8": 216}
    assert together(work) == Work(7992, 7992) and together(work).saved == 0.0
    apply_masks(net, {"3": torch.eye(6, 2, dtype=torch.bool)})
    work = multiply_accumulates(net, torch.zeros(1, 2, 6, 6))
    assert work["3"] == Work(3888, 36 * 18) and work["3"].saved == pytest.approx(5 / 6)
    assert together(work).live == 7992 - 30 * 108


def test_other_layers() -> None:
    quantized = convert(network(), "w2a2")
    quantized.train()(torch.randn(4, 2, 6, 6))
    apply_masks(quantized, {"3": torch.eye(6, 2, dtype=torch.bool)})
    assert multiply_accumulates(quantized, torch.zeros(1, 2, 6, 6))["3"].live == 36 * 18
    assert multiply_accumulates(Twice(), torch.ones(1, 5, 3))["layer"].dense == 2 * 5 * 9
    with pytest.raises(ModelError, match="ReLU: no convolution or dense layer ran"):
        multiply_accumulates(nn.ReLU(), torch.ones(1))
    with pytest.raises(ModelError, match="does not take the example"):
        multiply_accumulates(network(), torch.ones(1, 5, 6, 6))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=outputs // inputs, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.relu(self.first(x)))
        short = x if y.shape == x.shape else nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))
        return torch.relu(y + short)


def resnet56() -> nn.Sequential:
    widths = [16] * 10 + [32] * 9 + [64] * 9
    torch.manual_seed(0)
    blocks = [Block(*pair) for pair in pairwise(widths)]
    first = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    return nn.Sequential(first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10, bias=False))


@pytest.mark.parametrize(("column", "removed", "saved"), [(0, 68.59, 36.89), (1, 68.96, None)])
def test_printed_tables_agree(column: int, removed: float, saved: float | None) -> None:
    """T4.9's layers, and nothing of the others, give the weights removed in T4.7 and T4.8 and T4.7's "FLOPs"."""
    net = resnet56()
    x = torch.zeros(1, 3, 32, 32)
    dense = multiply_accumulates(net, x)
    assert together(dense).dense == 125_485_696 and len(dense) == 56
    shares = {name: RESNET56[i][column] for i, name in enumerate(dense) if i in RESNET56}
    layers = dict(net.named_modules())
    generator = torch.Generator().manual_seed(0)
    for name, share in shares.items():
        scores = {name: torch.rand(layers[name].weight.shape[:2], generator=generator)}
        apply_masks(net, keep_highest(scores, share))
    assert 100 * sparsity(net).total == pytest.approx(removed, abs=0.03)
    work = together(multiply_accumulates(net, x))
    assert saved is None or 100 * work.saved == pytest.approx(saved, abs=0.1)
