"""Less search for the order of operators, where any order that holds will do."""

from __future__ import annotations

from functools import partial

import pytest

from tinygen.lowering.order import best_order


def search_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes have so many orders that the search takes the two seconds it may take, each time."""
    monkeypatch.setattr("tinygen.lowering.lower.best_order", partial(best_order, work=4_000))
