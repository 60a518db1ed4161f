"""Which channels a width keeps: the first ones of every layer, also where layers' outputs are concatenated."""

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
    """Consecutive channels that one layer computes.

    Attributes:
        count: of channels, at full width.
        slims: whether a width removes some; the model's inputs and outputs stay whole.
        size: elements of each channel: height * width where an image was flattened, channel by channel.
    """

    count: int
    slims: bool = True
    size: int = 1

    def kept(self, width: float) -> int:
        """Channels at a width: ceil(count width), with the width as an exact decimal (0.55 is 55/100)."""
        return math.ceil(Fraction(str(width)) * self.count) if self.slims else self.count


def elements(runs: Sequence[Run], width: float = 1.0) -> int:
    """How many elements a width keeps."""
    return sum(run.kept(width) * run.size for run in runs)


def index_of(runs: Sequence[Run], width: float) -> Index:
    """What a width keeps of a dimension: a slice if these are the first elements, else their positions (int64)."""
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
