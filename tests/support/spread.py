"""Every pair of two lists in the long run; in the default run as few as show every value of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def spread(first: Collection[str], second: Collection[str], without: Iterable[tuple[str, str]] = ()) -> list[object]:
    """Parameters of a test: pairs of a value of `first` and one of `second`, named as pytest names them."""
    period, missing = min(len(first), len(second)), set(without)
    return [
        pytest.param(a, b, id=f"{a}-{b}", marks=() if i % period == j % period else pytest.mark.long)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if (a, b) not in missing
    ]


def some(values: Iterable[object], count: int) -> list[object]:
    """The first so many in the default run, all of them in the long one."""
    return [v if i < count else pytest.param(v, marks=pytest.mark.long) for i, v in enumerate(values)]
