"""Settings of a network's thresholds, and the paths that the inputs of a data set take with each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.builds.arrays import Samples
from tinygen.builds.compare import correct, decision_threshold
from tinygen.ir.gates import Gate, Knob, knobs_of
from tinygen.ir.graph import Graph
from tinygen.ir.paths import Path, trace
from tinygen.ir.thresholds import with_thresholds

SHARES = (0.0, 1.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the inputs reaching a gate that take its cheaper branch: the same at every gate, as in G. Huang et al.,
"Multi-Scale Dense Networks for Resource Efficient Image Classification", ICLR 2018. The ends come first: they hold for
all inputs.
"""


@dataclass(frozen=True)
class Setting:
    """Codes of thresholds.

    Attributes:
        counts: how many inputs of the data set take each path.
        accuracy: share of the inputs whose answer is the label's; None without labels.
    """

    thresholds: Mapping[str, int]
    counts: Mapping[Path, int]
    accuracy: float | None


def settings_of(graph: Graph, samples: Samples) -> tuple[Setting, ...]:
    """One setting for each of `SHARES`; settings with equal path counts appear once.

    Args:
        graph: of a model.
        samples: states are reset before each, as in `ir.paths.count_paths`.

    Returns:
        none where nothing can be set: no thresholds, or no two settings that differ.
    """
    knobs = knobs_of(graph)
    if not knobs:
        return ()
    inputs = [_Input(knobs, samples, index) for index in range(len(samples))]
    # With all branches running, every gate has a score.
    scored = [one.scores for one in _answers(graph, inputs, _codes(knobs, 0.0, []))]
    found: dict[frozenset[tuple[Path, int]], Setting] = {}
    for share in SHARES:
        codes = _codes(knobs, share, scored)
        answers = _answers(graph, inputs, codes)
        counts = Counter(one.path for one in answers)
        right = [one.is_right for one in answers if one.is_right is not None]
        setting = Setting(codes, counts, float(np.mean(right)) if right else None)
        found.setdefault(frozenset(counts.items()), setting)
    return tuple(found.values()) if len(found) > 1 else ()


Scored = Sequence[tuple[Gate, int]]
"""Gates that an input reached, each with its score."""


def _codes(knobs: Sequence[Knob], share: float, scored: Sequence[Scored]) -> dict[str, int]:
    """Codes of the thresholds, set one after the other: inputs that exit at one gate do not count at later gates."""
    codes: dict[str, int] = {}
    for knob in knobs:
        scores: dict[str, list[int]] = {}
        for one in scored:
            for gate, score in _reached(one, codes):
                scores.setdefault(gate.score, []).append(score)
        codes[knob.threshold.name] = knob.code(share, scores)
    return codes


def _reached(scored: Scored, codes: Mapping[str, int]) -> Scored:
    """The gates that an input still reaches with these codes; gates of other thresholds decide as before."""
    taken = {
        gate.branch: gate.result(score, codes[gate.threshold]) for gate, score in scored if gate.threshold in codes
    }
    return [
        (gate, score)
        for gate, score in scored
        if all(taken.get(branch, number) == number for branch, number in gate.within)
    ]


@dataclass(frozen=True)
class _Answer:
    """One inference.

    Attributes:
        scores: of the gates that it came to.
        codes: by which it ran.
    """

    path: Path
    scores: Scored
    codes: Mapping[str, int]
    is_right: bool | None

    def stands(self, codes: Mapping[str, int]) -> bool:
        """Whether all gates decide the same with other codes, and so the whole inference is the same."""
        return all(
            gate.result(score, codes[gate.threshold]) == gate.result(score, self.codes[gate.threshold])
            for gate, score in self.scores
        )


@dataclass
class _Input:
    """One of the data set, and the inferences with it so far."""

    knobs: Sequence[Knob]
    samples: Samples
    index: int
    answers: list[_Answer] = field(default_factory=list)

    def answer(self, graph: Graph, codes: Mapping[str, int]) -> _Answer:
        """By `graph`, whose thresholds have these codes."""
        known = next((one for one in self.answers if one.stands(codes)), None)
        if known is None:
            known = self._computed(graph, codes)
            self.answers.append(known)
        return known

    def _computed(self, graph: Graph, codes: Mapping[str, int]) -> _Answer:
        found = trace(graph, self.samples.sample(self.index))
        gates = [gate for knob in self.knobs for gate in knob.gates if gate.score in found.values]
        scores = [(gate, int(found.values[gate.score].reshape(()))) for gate in gates]
        right = None
        if self.samples.labels is not None:
            label = int(self.samples.labels[self.index])
            right = correct(found.values[graph.outputs[0]], label, decision_threshold(graph))
        return _Answer(found.path, scores, codes, right)


def _answers(graph: Graph, inputs: Sequence[_Input], codes: Mapping[str, int]) -> list[_Answer]:
    there = with_thresholds(graph, codes)
    return [one.answer(there, codes) for one in inputs]
