"""Iterative pruning: filters are removed in steps, the network is trained and its filters scored again between them.

S. Elkerdawy, thesis, University of Alberta, 2022, sections 4.1 and 5.3.3: for filters several steps are better than one
(Table 5.3, 10 % a step), and more so at higher ratios; for layers one step is enough (Table 5.4).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.selection import (
    FilterScores,
    at_most,
    layer_sizes,
    remove_lowest,
    scored_groups,
)
from tinygen.compress.surgery import Group, groups, slim
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import UnsupportedError


def prune_iteratively(
    network: nn.Module,
    example: Example,
    scores: Callable[[nn.Module], FilterScores],
    ratio: float,
    steps: int,
    *,
    scope: str = "global",
    recover: Callable[[nn.Module], object] | None = None,
) -> nn.Module:
    """A copy of the network without `ratio` of the filters that `scores` knows, taken away in equal steps.

    Args:
        example: the network's input, or inputs, with a batch in front.
        scores: of the network as it is before each step.
        ratio: 0 to 1, of the filters there are at first, rounded down; coupled filters count once.
        steps: at least 1; 1 is one-shot pruning.
        scope: "layer", the same share of each group of layers, or "global", the lowest of all.
        recover: trains the smaller network a little, in place, after each step (`finetune`).

    Raises:
        UnsupportedError: the ratio, the number of steps or the scope is invalid; or the network cannot be traced.
        ModelError: the network does not take the example.
    """
    if not 0.0 <= ratio <= 1.0 or steps < 1 or scope not in ("layer", "global"):
        raise UnsupportedError(
            f"a ratio of {ratio} in {steps} steps by {scope!r}",
            where="prune_iteratively",
            fix='Use a ratio from 0 to 1, at least one step, and "layer" or "global".',
        )
    at_first: dict[tuple[str, ...], int] = {}
    for step in range(1, steps + 1):
        found = groups(network, example)
        scored = scored_groups(scores(network), found)
        if step == 1:
            at_first = _sizes(scored, scope)
        masks = {name: torch.ones(size, dtype=torch.bool) for name, size in layer_sizes(found).items()}
        for batch in [scored] if scope == "global" else [[each] for each in scored]:
            (key,) = _sizes(batch, scope)
            gone = at_first[key] - sum(len(values) for _, values in batch)
            remove_lowest(batch, at_most(ratio * step / steps, at_first[key]) - gone, masks)
        network = slim(network, example, masks)
        if recover is not None:
            recover(network)
    return network


def _sizes(scored: list[tuple[Group, Tensor]], scope: str) -> dict[tuple[str, ...], int]:
    """How many entries there are: of each group by the names of its layers, or of all together by no name."""
    sizes: dict[tuple[str, ...], int] = {} if scope == "layer" else {(): 0}
    for group, values in scored:
        key = tuple(name for name, _ in group.members) if scope == "layer" else ()
        sizes[key] = sizes.get(key, 0) + len(values)
    return sizes
