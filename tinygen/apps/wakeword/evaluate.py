"""Runs networks on scenes, step by step as on a board, and computes their error rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.apps.wakeword.dataset import Scenes
from tinygen.apps.wakeword.det import CODES, Point, Rate, Scored, best_at, share, sliding_sums
from tinygen.apps.wakeword.host_stream import build_stream, run_stream
from tinygen.apps.wakeword.network import FRAME_SECONDS, HOP
from tinygen.apps.wakeword.scenes import Kind
from tinygen.ir.graph import Graph

SLIDING_WINDOW = 5
"""Outputs that are averaged: microWakeWord's usual number."""
LATE_SECONDS, SAME_WORD_SECONDS = 0.75, 1.0
"""A detection up to so long after the phrase's end is one of it; those less apart than that are the same one."""
EARLY_SECONDS = 0.2
"""Before the phrase's end: earlier detections are not of it, but of what was said before."""
ALLOWED_PER_HOUR = (0.5, 1.0, 2.0)
MOST_PER_HOUR = 1.0
"""What the cutoff is chosen for, on validation voices: once in their hour and a half. Were none allowed, the one sound
that comes nearest would set it.
"""
LOWEST_CUTOFF = 0.5


class Network:
    """A streaming graph compiled for this computer.

    Args:
        graph: with states.
        folder: for its C and program.
    """

    def __init__(self, graph: Graph, folder: Path) -> None:
        self.graph = graph
        self._program = build_stream(graph, folder)

    def outputs(self, scenes: Scenes) -> np.ndarray:
        """Output codes int8 [scenes, steps]; the scenes run in sequence, as one stream."""
        count, frames, channels = scenes.codes.shape
        steps = frames // HOP
        inputs = scenes.codes[:, : steps * HOP].reshape(count * steps, HOP, 1, channels)
        return run_stream(self._program, self.graph, inputs).reshape(count, steps)


def best_sums(sums: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The largest sum from the beginning of each utterance to LATE_SECONDS after its end.

    Args:
        sums: int64 [scenes, steps].
        said: int64 [n, 3]: scene, frames of begin and end.
    """
    late = round(LATE_SECONDS / FRAME_SECONDS)
    return np.array([sums[scene, first // HOP : (end + late) // HOP + 1].max() for scene, first, end in said], np.int64)


def best_of_phrases(sums: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The largest sum from EARLY_SECONDS before each phrase's end to LATE_SECONDS after it, or to the next phrase's.

    No step counts for two phrases: phrases in quick succession have to be detected one by one.

    Args:
        sums: int64 [scenes, steps].
        said: int64 [n, 3]: scene, frames of begin and end; in order within a scene.
    """
    early, late = (round(seconds / FRAME_SECONDS / HOP) for seconds in (EARLY_SECONDS, LATE_SECONDS))
    ends = said[:, 2] // HOP
    found = np.zeros(len(said), np.int64)
    for index, (scene, end) in enumerate(zip(said[:, 0], ends, strict=True)):
        last = end + late + 1
        if index + 1 < len(said) and said[index + 1, 0] == scene:
            last = min(last, ends[index + 1] - early)
        found[index] = sums[scene, max(end - early, 0) : last].max(initial=0)
    return found


def scored(network: Network, phrases: Scenes, air: Scenes, size: int = SLIDING_WINDOW) -> Scored:
    """The network's sums on scenes with the phrase and on those without, from which near misses are left out."""
    counts = without_near_misses(air)
    return Scored(
        size=size,
        best=best_of_phrases(_sums(network.outputs(phrases), size), phrases.of_kind(Kind.PHRASE)),
        sums=np.where(counts, _sums(network.outputs(air), size), 0).ravel(),
        hours=air.hours * float(counts.mean()),
        pause=round(SAME_WORD_SECONDS / (HOP * FRAME_SECONDS)),
    )


def without_near_misses(air: Scenes) -> np.ndarray:
    """bool [scenes, steps]: steps outside near misses, and not so soon after one that a detection would be due to it.

    The data set has dozens of near misses an hour. They have a rate of their own, and would otherwise dominate the
    false accepts of ordinary speech.
    """
    counts = np.ones((len(air.codes), air.codes.shape[1] // HOP), bool)
    late = round(LATE_SECONDS / FRAME_SECONDS)
    for scene, first, end in air.of_kind(Kind.NEAR_MISS):
        counts[scene, first // HOP : (end + late) // HOP + 1] = False
    return counts


def _sums(codes: np.ndarray, size: int) -> np.ndarray:
    return sliding_sums(codes.ravel(), size).reshape(codes.shape)


def choose(validation: Scored) -> Point:
    """The threshold with the fewest false rejects among those with at most MOST_PER_HOUR false accepts.

    It is at least LOWEST_CUTOFF. If every threshold has more false accepts, it is the one with the fewest. The highest
    possible threshold is not considered, since no sum is above it.
    """
    curve = validation.curve()
    lowest, highest = round(LOWEST_CUTOFF * CODES * validation.size), (CODES - 1) * validation.size - 1
    points = [point for point in curve if lowest <= point.threshold <= highest]
    found = best_at(points, MOST_PER_HOUR)
    if found is not None:
        return found
    if points:
        return min(points, key=lambda point: (point.accepted, point.missed))
    return validation.at(min(max(curve[-1].threshold, lowest), highest))


@dataclass(frozen=True)
class Evaluation:
    """Error rates of one precision on voices that are not in the training data.

    Attributes:
        name: "int8", or a switch's.
        chosen: rates on held-out voices at the threshold chosen on validation voices.
        curve: rates at all thresholds.
        confused, near_misses: number of near misses detected at the chosen threshold, and of all.
    """

    name: str
    chosen: Point
    curve: tuple[Point, ...]
    confused: int
    near_misses: int

    @property
    def confusions(self) -> Rate:
        return share(self.confused, self.near_misses)

    def at(self, accepts_per_hour: float) -> Point | None:
        """The point with the fewest false rejects with at most this many false accepts per hour."""
        return best_at(self.curve, accepts_per_hour)

    def as_json(self) -> dict[str, Any]:
        at = {f"{allowed:g}": self.at(allowed) for allowed in ALLOWED_PER_HOUR}
        return {
            "name": self.name,
            "chosen": self.chosen.as_json(),
            "false_accepts_per_hour": {name: point and point.as_json() for name, point in at.items()},
            "near_misses": {"accepted": self.confused, "said": self.near_misses, "share": self.confusions.as_json()},
            "det": [point.as_json() for point in self.curve],
        }


@dataclass(frozen=True, eq=False)
class Sound:
    """Scenes for evaluation, by mix."""

    validation: Mapping[str, Scenes]
    held_out: Mapping[str, Scenes]


def evaluate(name: str, graph: Graph, sound: Sound, folder: Path, size: int = SLIDING_WINDOW) -> Evaluation:
    """The error rates of a network.

    Args:
        name: of the precision.
        graph: with states.
        sound: the threshold is chosen on validation scenes, rates are measured on held-out ones.
        folder: for its C.
        size: of the sliding window, in steps.
    """
    network = Network(graph, folder)
    chosen = choose(scored(network, sound.validation["phrases"], sound.validation["air"], size))
    result = scored(network, sound.held_out["phrases"], sound.held_out["air"], size)
    near = sound.held_out["near misses"]
    confused = best_sums(_sums(network.outputs(near), size), near.of_kind(Kind.NEAR_MISS)) > chosen.threshold
    return Evaluation(name, result.at(chosen.threshold), tuple(result.curve()), int(confused.sum()), int(confused.size))
