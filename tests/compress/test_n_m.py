"""N:M patterns: at most N of M consecutive input channels, as they lie on the board."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tinygen.compress.masking import apply_masks, sparsity
from tinygen.compress.n_m import is_n_m, n_m_masks
from tinygen.errors import ModelError, UnsupportedError


def network(channels: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.Flatten(), nn.Linear(4 * 3 * 3, 6)
    )


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (1, 2), (3, 5)])
def test_patterns_hold_and_the_largest_stay(n: int, m: int) -> None:
    net = network()
    masks = n_m_masks(net, n, m)
    assert all(is_n_m(mask, n, m) for mask in masks.values())
    weights = net[0].weight.detach().abs().numpy()
    for o, row, column in np.ndindex(5, 3, 3):
        for first in range(0, 8, m):
            group = weights[o, first : first + m, row, column]
            largest = np.argsort(-group)[:n]
            assert set(np.flatnonzero(masks["0"][o, first : first + m, row, column])) == set(largest)
    apply_masks(net, masks)
    assert sparsity(net).layers["0"] == pytest.approx(1 - sum(min(n, 8 - f) for f in range(0, 8, m)) / 8)


def test_groups_are_of_the_board_behind_a_flattened_image() -> None:
    """Column c * 9 + p in torch is place p * 4 + c on the board."""
    net = network()
    masks = n_m_masks(net, 1, 4, channels={"4": 4})
    assert is_n_m(masks["4"], 1, 4, channels=4) and not is_n_m(masks["4"], 1, 4)
    board = masks["4"].numpy().reshape(6, 4, 9).transpose(0, 2, 1).reshape(6, 36)
    assert (board.reshape(6, 9, 4).sum(2) == 1).all()
    assert is_n_m(n_m_masks(net, 1, 4)["4"], 1, 4)


def test_other_scores() -> None:
    net = network()
    scores = {name: torch.zeros_like(net[int(name)].weight) for name in ("0", "2", "4")}
    scores["2"][:, 3] = 1.0
    masks = n_m_masks(net, 1, 5, scores=scores)
    assert masks["2"][:, :, 0, 0].tolist() == [[False, False, False, True, False]] * 4
    assert bool(masks["0"][:, 0].all()) and not masks["0"][:, 1:5].any()  # equal ones: the first


def test_bad_input() -> None:
    for n, m in ((0, 4), (4, 4), (5, 4)):
        with pytest.raises(UnsupportedError, match=rf"a pattern {n}:{m}\nUse 0 < N < M"):
            n_m_masks(network(), n, m)
    with pytest.raises(ModelError, match=r"4: an image of 5 channels in front of weights \[6, 36\]"):
        n_m_masks(network(), 2, 4, channels={"4": 5})
    with pytest.raises(ModelError, match="2: an image of 5 channels"):
        n_m_masks(network(), 2, 4, channels={"2": 5})
    with pytest.raises(ModelError, match=r"0: no scores for weights \[5, 8, 3, 3\]"):
        n_m_masks(network(), 2, 4, scores={})
