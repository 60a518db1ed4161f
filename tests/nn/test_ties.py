"""Values on a boundary of a quantizer: what the sources say of them, and no other test meets by chance."""

from __future__ import annotations

import torch

from tinygen.nn.quantizers.base import base_quantize, round_half_up
from tinygen.nn.quantizers.int8 import Affine8
from tinygen.nn.quantizers.ternary import Ternary


def test_halves_are_rounded_up() -> None:
    """Not to the even one, as torch.round has it."""
    values = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])
    assert round_half_up(values).tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert base_quantize(torch.tensor([0.5]), 1).tolist() == [1.0]


def test_a_ternary_weight_on_the_threshold_is_zero() -> None:
    weights = torch.tensor([[0.7, -1.3], [-0.7, 1.3]], dtype=torch.float64)
    codes = Ternary("channel").parts(weights).codes
    assert codes.tolist() == [[0.0, -1.0], [0.0, 1.0]]


def test_a_range_includes_zero() -> None:
    for values, wanted in (([1.0, 3.0], [0.0, 3.0]), ([-3.0, -1.0], [-3.0, 0.0]), ([-1.0, 2.0], [-1.0, 2.0])):
        assert Affine8().batch_range(torch.tensor(values)).tolist() == wanted
    assert Affine8(relu=True, limit=6.0).batch_range(torch.tensor([-1.0, 9.0])).tolist() == [0.0, 6.0]
