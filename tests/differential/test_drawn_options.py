"""Options in random combinations: a build keeps its limits and computes what the semantics says, or is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.differential.drawn_options import draw_combination, judge_all, table
from tests.targets.tools import requires_tool

COUNT, PARTS, SEED = 200, 4, 0


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@requires_tool("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize("part", range(PARTS))
def test_combinations(part: int) -> None:
    """On failure, the table has commands that show what is wrong."""
    verdicts = judge_all(SEED, range(part, COUNT, PARTS))
    print(table(verdicts, SEED))
    counts = Counter(one.outcome for one in verdicts)
    assert not counts["WRONG"], table(verdicts, SEED)
    assert counts["built"] >= len(verdicts) // 3 and counts["refused"] >= len(verdicts) // 10


def test_draws_are_the_same_at_every_run() -> None:
    combinations = [draw_combination(SEED, number) for number in (1, 3, 11, 1)]
    assert combinations[0] == combinations[3]
    assert len({str(one.options) for one in combinations}) == 3
