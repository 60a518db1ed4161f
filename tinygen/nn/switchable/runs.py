"""Which channels a width leaves: the first of every layer's, also where layers' outputs lie side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import torch
from torch import Tensor

Index: TypeAlias = "slice | Tensor"


@dataclass(frozen=True)
class Run:
    """Channels next to each other that one layer has made.

    Attributes:
        count: of channels, at full width.
        slims: whether a width leaves out some; the model's inputs and outputs stay whole.
        size: elements of each channel: height * width where an image was flattened, channel by channel.
    """

    count: int
    slims: bool = True
    size: int = 1

    def kept(self, width: float) -> int:
        """Channels of a width: ceil(count width), of the width as it is written (0.55 is 55/100)."""
        return math.ceil(Fraction(str(width)) * self.count) if self.slims else self.count


def elements(runs: Sequence[Run], width: float = 1.0) -> int:
    """How many elements a width leaves."""
    return sum(run.kept(width) * run.size for run in runs)


def index_of(runs: Sequence[Run], width: float) -> Index:
    """What a width leaves of a dimension: a slice where it is the first elements, else their positions (int64)."""
    ranges: list[range] = []
    start = 0
    for run in runs:
        part = range(start, start + run.kept(width) * run.size)
        if ranges and ranges[-1].stop == part.start:
            ranges[-1] = range(ranges[-1].start, part.stop)
        else:
            ranges.append(part)
        start += run.count * run.size
    if len(ranges) == 1:
        return slice(0, ranges[0].stop)
    return torch.cat([torch.arange(part.start, part.stop) for part in ranges])
