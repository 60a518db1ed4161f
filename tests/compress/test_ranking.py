"""From scores to masks; and the limits that SNACS prints, which say how shares of blocks are rounded."""

from __future__ import annotations

import math

import pytest
import torch

from tests.compress.printed import BLOCKS, GAMMA, PRUNED, VGG16_WEIGHTS
from tinygen.compress.ranking import at_least, keep_highest
from tinygen.errors import ModelError, UnsupportedError

torch.set_num_threads(1)


def scores(*rows: list[float]) -> dict[str, torch.Tensor]:
    return {str(i): torch.tensor([row]) for i, row in enumerate(rows)}


def kept(masks: dict[str, torch.Tensor]) -> list[list[int]]:
    return [mask.int().flatten().tolist() for mask in masks.values()]


def test_the_lowest_of_each_layer_or_of_all() -> None:
    values = scores([1.0, 5.0, 3.0, 4.0], [0.1, 0.2, 9.0, 0.3])
    assert kept(keep_highest(values, 0.5)) == [[0, 1, 0, 1], [0, 0, 1, 1]]
    assert kept(keep_highest(values, 0.5, scope="global")) == [[0, 1, 1, 1], [0, 0, 1, 0]]
    assert kept(keep_highest(values, 0.0, scope="global")) == [[1] * 4, [1] * 4]
    assert kept(keep_highest(values, 1.0)) == [[0] * 4, [0] * 4]


def test_kernels_count_with_their_sizes() -> None:
    """A 3x3 kernel is 9 weights: half of 4 * 9 + 4 * 1 = 40 weights are 20, reached with the third kernel."""
    values = scores([1.0, 2.0, 3.0, 9.0], [2.5, 8.0, 8.0, 8.0])
    found = keep_highest(values, 0.5, scope="global", weights_each={"0": 9, "1": 1})
    assert kept(found) == [[0, 0, 0, 1], [0, 1, 1, 1]]


def test_shares_of_what_is_left() -> None:
    values = scores([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    first = keep_highest(values, 0.5, kept=None)
    second = keep_highest({"0": torch.flip(values["0"], (1,))}, 0.5, kept=first)
    assert kept(first) == [[0, 0, 0, 0, 1, 1, 1, 1]] and kept(second) == [[0, 0, 0, 0, 1, 1, 0, 0]]


def test_of_equal_scores_the_first_go_first() -> None:
    assert kept(keep_highest(scores([1.0] * 5), 0.4)) == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize(("share", "total", "count"), [(0.7, 10, 7), (0.21, 100, 21), (0.21, 4096, 861), (1.0, 3, 3)])
def test_counts_are_rounded_up_but_not_for_rounding(share: float, total: int, count: int) -> None:
    assert at_least(share, total) == count


def test_printed_limits_are_whole_blocks() -> None:
    """T4.4, T4.5: every limit is c = 1, 6, 11, ... percent of 64 x 64 blocks, rounded, and one block more.

    (As a threshold at place c of the sorted scores gives, with the block at that place removed too.) Ours is the
    smallest number that reaches c: the same, or one block less.
    """
    printed = {value for column in GAMMA.values() for value in column if value}
    assert len(printed) == 12
    for value in printed:
        level = math.floor(value)
        theirs = round(level / 100 * BLOCKS) + 1
        assert level % 5 == 1 and math.floor(1e4 * theirs / BLOCKS) / 100 == value
        assert theirs - at_least(level / 100, BLOCKS) in (0, 1)


def test_printed_limits_allow_the_printed_pruning() -> None:
    """(4.9) with VGG16's layer sizes: what the limits of each column remove at most, and what delta then did remove.

    By the weights' phi the limits are all but used up; by the activations' the threshold stops up to 10 % earlier.
    """
    total = sum(VGG16_WEIGHTS)
    tau = {phi: sum(g * w for g, w in zip(column, VGG16_WEIGHTS, strict=True)) / total for phi, column in GAMMA.items()}
    assert total == 14_715_584
    assert {phi: round(value, 2) for phi, value in tau.items()} == {
        "1": 85.98,
        "w": 85.98,
        "w2": 85.98,
        "exp(-w2/2)": 86.18,
        "act": 85.53,
        "w act": 85.74,
        "exp(-w2 act2/2)": 84.26,
    }
    assert all(PRUNED[phi] < tau[phi] for phi in GAMMA)
    assert all(tau[phi] - PRUNED[phi] < 2.0 for phi in GAMMA if "act" not in phi)


def test_bad_scores_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"share 1.5\nGive the part to remove, from 0 to 1"):
        keep_highest(scores([1.0]), 1.5)
    with pytest.raises(UnsupportedError, match=r"scope 'all'\nUse one of layer, global"):
        keep_highest(scores([1.0]), 0.5, scope="all")
    with pytest.raises(ModelError, match="0: a score is not a number"):
        keep_highest(scores([math.nan]), 0.5)
    with pytest.raises(ModelError, match=r"0: a mask \[2, 1\] for scores \[1, 2\]"):
        keep_highest(scores([1.0, 2.0]), 0.5, kept={"0": torch.ones(2, 1, dtype=torch.bool)})
