"""What a build's report says."""

from __future__ import annotations

import pytest

from tinygen.builds.manifest import ProgramEntry
from tinygen.builds.report import arena_text
from tinygen.lowering.program import Ordering

KEPT = Ordering(given_arena_bytes=1008, changed=False, optimal=True)
MOVED = Ordering(given_arena_bytes=2000, changed=True, optimal=True)


@pytest.mark.parametrize(
    ("arena", "optimal", "order", "text"),
    [
        (1000, True, KEPT, "1000 B, the lower bound"),
        (1008, True, KEPT, "1008 B, proved the smallest; 8 B above the lower bound 1000 B"),
        (1008, False, KEPT, "1008 B, perhaps not the smallest; 8 B above the lower bound 1000 B"),
        (1000, True, MOVED, "1000 B, the lower bound; 2,000 B (2.0 KiB) in the model's own order of operators"),
    ],
)
def test_arena_and_its_bound(arena: int, optimal: bool, order: Ordering, text: str) -> None:
    program = ProgramEntry(
        inputs=(),
        outputs=(),
        states=(),
        arena_bytes=arena,
        arena_lower_bound_bytes=1000,
        arena_optimal=optimal,
        order=order,
        stream=None,
        macs=0,
        layers=(),
        arena=(),
        steps=(),
    )
    assert arena_text(program) == text
