"""From scores to masks: the filters with the lowest scores are removed, those of coupled layers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from tinygen.compress.surgery import MIN_FILTERS, Group
from tinygen.errors import ModelError, UnsupportedError

FilterScores: TypeAlias = Mapping[str, Tensor]
"""By the name of a layer: one number for each filter, [O]; low is unimportant."""


def filter_masks(
    scores: FilterScores, ratio: float, scope: str = "layer", *, groups: Sequence[Group]
) -> dict[str, Tensor]:
    """Masks, bool [O] by layer, that take away the filters with the lowest scores.

    Coupled filters have the mean of their scores. Among equal scores the first are removed first. Layers without scores
    keep their filters, unless they are coupled with others that have some. At least one filter of each layer stays.

    Args:
        scores: of as many layers as the criterion knows.
        ratio: share of the filters to remove, 0 to 1, rounded down: of each group of layers, or of all together.
            Filters that are coupled count once.
        scope: "layer" or "global".
        groups: `tinygen.compress.surgery.groups(network, example)`.

    Raises:
        UnsupportedError: the ratio is outside 0 to 1, or the scope is unknown.
        ModelError: scores do not fit the layers, or are not numbers.
    """
    if not 0.0 <= ratio <= 1.0:
        raise UnsupportedError(f"a ratio of {ratio}", where="filter_masks", fix="Use 0 to 1.")
    if scope not in ("layer", "global"):
        raise UnsupportedError(f"scope {scope!r}", where="filter_masks", fix='Use "layer" or "global".')
    sizes = layer_sizes(groups)
    _check(scores, sizes)
    masks = {name: torch.ones(size, dtype=torch.bool) for name, size in sizes.items()}
    scored = scored_groups(scores, groups)
    for batch in [[each] for each in scored] if scope == "layer" else [scored]:
        entries = sum(len(combined) for _, combined in batch)
        remove_lowest(batch, at_most(ratio, entries), masks)
    return masks


def at_most(ratio: float, total: int) -> int:
    """ratio * total, rounded down; 0.55 of 100 is 55, whatever the nearest float of 0.55 makes of it."""
    return int(ratio * total + 1e-9)


def layer_sizes(groups: Sequence[Group]) -> dict[str, int]:
    """How many filters each layer has."""
    sizes: dict[str, int] = {}
    for group in groups:
        for name, index in group.members:
            sizes[name] = max(sizes.get(name, 0), int(index.max()) + 1)
    return sizes


def _check(scores: FilterScores, sizes: Mapping[str, int]) -> None:
    for name, values in scores.items():
        if name not in sizes:
            raise ModelError("scores for a layer that is in no group", where=name, fix=f"Layers: {', '.join(sizes)}.")
        if values.shape != (sizes[name],):
            raise ModelError(
                f"scores {list(values.shape)} for {sizes[name]} filters", where=name, fix=f"Give [{sizes[name]}]."
            )
        if not bool(torch.isfinite(values).all()):
            raise ModelError("a score is infinite or not a number", where=name, fix="Look at the loss and the data.")


def scored_groups(scores: FilterScores, groups: Sequence[Group]) -> list[tuple[Group, Tensor]]:
    """The removable groups that have scores, each with one score per entry, float64."""
    found = []
    for group in groups:
        known = [scores[name].detach().cpu().double()[index] for name, index in group.members if name in scores]
        if group.prunable and known:
            found.append((group, torch.stack(known).mean(0)))
    return found


def remove_lowest(scored: Sequence[tuple[Group, Tensor]], count: int, masks: dict[str, Tensor]) -> int:
    """Removes up to `count` entries with the lowest scores, as far as every layer keeps a filter; returns how many."""
    entries = [
        (float(score), place, entry) for place, (_, scores) in enumerate(scored) for entry, score in enumerate(scores)
    ]
    removed = 0
    for _, place, entry in sorted(entries):
        if removed == count:
            break
        members = scored[place][0].members
        if _can_spare(members, entry, masks):
            for name, index in members:
                masks[name][index[entry]] = False
            removed += 1
    return removed


def _can_spare(members: Sequence[tuple[str, Tensor]], entry: int, masks: Mapping[str, Tensor]) -> bool:
    """Whether every layer keeps a filter without this entry."""
    gone: dict[str, set[int]] = {}
    for name, index in members:
        gone.setdefault(name, set()).add(int(index[entry]))
    return all(int(masks[name].sum()) - len(filters) >= MIN_FILTERS for name, filters in gone.items())
