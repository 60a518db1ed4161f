"""What a build's report says."""

from __future__ import annotations

import pytest

from tinygen.verbs.report import arena_text


@pytest.mark.parametrize(
    ("arena", "optimal", "text"),
    [
        (1000, True, "1000 B, the lower bound"),
        (1008, True, "1008 B, proved the smallest; 8 B above the lower bound 1000 B"),
        (1008, False, "1008 B, perhaps not the smallest; 8 B above the lower bound 1000 B"),
    ],
)
def test_arena_and_its_bound(arena: int, optimal: bool, text: str) -> None:
    assert arena_text({"arena_bytes": arena, "arena_lower_bound_bytes": 1000, "arena_optimal": optimal}) == text
