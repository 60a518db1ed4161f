"""Mutated models: what LiteRT refuses, tinygen refuses; what both run, both compute alike. Nothing ends in a defect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.differential.mutated_models import BAD, Outcome, Verdict, check_c, judge_all, of_models, of_operators, table
from tests.support.models import needs_models


def _settled(verdicts: Sequence[Verdict]) -> Counter[Outcome]:
    """Outcomes, none of them bad."""
    print(table(verdicts))
    counts = Counter(verdict.outcome for verdict in verdicts)
    assert not any(counts[outcome] for outcome in BAD), table(verdicts)
    return counts


def test_mutants() -> None:
    counts = _settled(judge_all(of_models(), 0, 200))
    assert counts[Outcome.BOTH_REFUSE] > 80
    assert counts[Outcome.AGREE] > 30


def test_mutants_of_single_operators() -> None:
    counts = _settled(judge_all(of_operators(), 0, 300))
    assert counts[Outcome.BOTH_REFUSE] > 100
    assert counts[Outcome.AGREE] > 50


@pytest.mark.long
@needs_models
def test_many_mutants() -> None:
    """The C of a few of them, too."""
    verdicts = judge_all(of_models(), 100_000, 3000)
    counts = _settled(verdicts)
    assert counts[Outcome.BOTH_REFUSE] > 1500
    assert counts[Outcome.AGREE] > 500
    lowered = [verdict for verdict in verdicts if verdict.outcome is Outcome.AGREE and verdict.graph is not None]
    assert check_c(lowered[:12]) == []
