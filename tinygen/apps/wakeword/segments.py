"""Training segments of scenes: features, and for each step whether the phrase has just ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tinygen.apps.wakeword.dataset import Scenes
from tinygen.apps.wakeword.features import real_features
from tinygen.apps.wakeword.network import HOP
from tinygen.apps.wakeword.scenes import Kind

Place = tuple[int, int]
"""A segment: its scene, and the first frame."""
STEPS = 32
"""Outputs of one segment."""
BATCH = 32
PHRASES = 16
"""Segments of a batch with the phrase."""
HARD = 0.5
"""Of the other ones, so many hold what was taken for the phrase."""
IGNORED = -100
"""The class that cross-entropy leaves out."""
AT_ONCE = (-1, 20)
"""The output is to be 1 when the window ends so many frames behind the phrase's end."""
MAY_BE = (-20, 60)
"""Near those, it may be anything."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Draws segments from scenes.

    Attributes:
        scenes: of the training part.
        frames: of the network's window.
    """

    scenes: Scenes
    frames: int

    @cached_property
    def phrases(self) -> np.ndarray:
        """int64 [n, 3]: scene, first and last frame."""
        return self.scenes.of_kind(Kind.PHRASE)

    @cached_property
    def ends(self) -> list[np.ndarray]:
        """Frames in which the phrase ends, by scene."""
        return [self.phrases[self.phrases[:, 0] == scene][:, 2] for scene in range(len(self.scenes.codes))]

    @property
    def length(self) -> int:
        """Frames of a segment."""
        return self.frames + HOP * (STEPS - 1)

    def labels(self, scene: int, start: int) -> np.ndarray:
        """int64 [STEPS]: 1, 0 or IGNORED for the windows of a segment."""
        ends = start + self.frames - 1 + HOP * np.arange(STEPS)
        labels = np.zeros(STEPS, np.int64)
        for end in self.ends[scene]:
            behind = ends - end
            labels[(behind >= MAY_BE[0]) & (behind <= MAY_BE[1])] = IGNORED
            labels[(behind >= AT_ONCE[0]) & (behind <= AT_ONCE[1])] = 1
        return labels

    def of_phrase(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Segments with a window at whose end the phrase has just ended."""
        chosen = self.phrases[rng.integers(len(self.phrases), size=count)]
        return [self.with_window(int(scene), int(end), rng) for scene, _, end in chosen]

    def with_window(self, scene: int, end: int, rng: np.random.Generator) -> Place:
        """A segment with one of its first windows ending in that frame."""
        start = end - self.frames + 1 - int(rng.integers(0, HOP * (STEPS - 8)))
        return scene, int(np.clip(start, 0, self.scenes.codes.shape[1] - self.length))

    def behind_phrase(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Windows at whose end the phrase has just ended."""
        chosen = self.phrases[rng.integers(len(self.phrases), size=count)]
        late = rng.integers(0, AT_ONCE[1], size=count)
        starts = (chosen[:, 2] + late - self.frames + 1).clip(0, self.scenes.codes.shape[1] - self.frames)
        return list(zip(chosen[:, 0].tolist(), starts.tolist(), strict=True))

    def anywhere(self, count: int, rng: np.random.Generator) -> list[Place]:
        """Segments that begin in any frame of any scene."""
        scenes, frames, _ = self.scenes.codes.shape
        starts = rng.integers(frames - self.length + 1, size=count)
        return list(zip(rng.integers(scenes, size=count).tolist(), starts.tolist(), strict=True))

    def batch(self, places: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """Features [N, channels, length, 1] and labels [N, STEPS]."""
        codes = np.stack([self.scenes.codes[scene, start : start + self.length] for scene, start in places])
        labels = np.stack([self.labels(scene, start) for scene, start in places])
        return torch.from_numpy(real_features(codes)).permute(0, 2, 1)[..., None].contiguous(), torch.from_numpy(labels)

    def batches(
        self, count: int, rng: np.random.Generator, hard: Sequence[Place] = ()
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches with PHRASES segments that have the phrase; the others are hard ones, if given, or from anywhere.

        Args:
            count: of batches.
            rng: draws.
            hard: segments with sound that the network mistook for the phrase.
        """
        others = BATCH - PHRASES
        most = round(HARD * others)
        for _ in range(count):
            chosen = [hard[i] for i in rng.integers(len(hard), size=most)] if hard else []
            places = [*self.of_phrase(PHRASES, rng), *chosen, *self.anywhere(others - len(chosen), rng)]
            yield self.batch(places)
