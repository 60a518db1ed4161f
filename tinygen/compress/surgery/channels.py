"""Coupled channels: which layers read a filter's output, and which filters must be removed together.

Every filter and every channel of an input has a number. A tensor [N, C, ...] carries the numbers of its C channels;
what an operator does to them is a rule in `rules`. Coupled numbers (branches that are added, the inputs and outputs of
depthwise layers) are united into one set. A channel of a network output, or one that an operator without a rule reads,
is fixed: it stays.

torch-pruning's dependency graph, which does the same by gradients, takes every operator it does not know for one
that works element by element (a softmax over channels, a flip), and follows the weights of quantized layers as if
they were data. The resulting network would compute something else, so the rules here list the operators that they know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

MIN_FILTERS = 1
"""Filters that every layer keeps."""


class Numbers:
    """Channel numbers, the sets they are united in, and why some are fixed."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}

    def new(self, count: int, fixed: str = "") -> np.ndarray:
        """`count` new numbers, [count] int64; fixed when there is a reason."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        numbers = np.arange(start, start + count)
        if fixed:
            self.fix(numbers, fixed)
        return numbers

    def unite(self, first: Iterable[int], second: Iterable[int]) -> None:
        """Unites the numbers of two sequences of the same length, one by one."""
        for a, b in zip(first, second, strict=True):
            self._parents[self._root(int(a))] = self._root(int(b))

    def fix(self, numbers: Iterable[int], reason: str) -> None:
        for number in numbers:
            self._reasons.setdefault(int(number), reason)

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def resolve(self, numbers: np.ndarray) -> np.ndarray:
        """One representative number for each set: equal numbers mean coupled channels."""
        return np.array([self._root(int(number)) for number in numbers.flat], np.int64).reshape(numbers.shape)

    def reasons(self) -> dict[int, str]:
        """By the number of a set: why it is fixed."""
        return {self._root(number): reason for number, reason in reversed(self._reasons.items())}


@dataclass
class LayerChannels:
    """A convolution or dense layer's channels.

    Attributes:
        inputs: numbers of its input channels [I] (dense: of its features).
        outputs: numbers of its filters [O].
        groups: of a convolution.
        follows: its filters are those of another layer, which decides: the head of a gate.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    groups: int = 1
    follows: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether each filter reads one channel; the layer then follows its input's channels."""
        return self.groups > 1 and self.groups == len(self.inputs)


@dataclass
class ChannelMap:
    """The channels of a network.

    Attributes:
        layers: convolutions and dense layers by name, in the order of use.
        vectors: by the name of a module with parameters of one value per channel (batch norm, PReLU): their numbers.
        fixed: by number, why the channel stays.
        gates: by the name of a gated convolution: the numbers of its filters.
        mixed: by the name of a convolution whose weights are mixed.
        masked: by the name of a convolution with a predicted mask.
    """

    layers: dict[str, LayerChannels] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    fixed: dict[int, str] = field(default_factory=dict)
    gates: dict[str, np.ndarray] = field(default_factory=dict)
    mixed: dict[str, LayerChannels] = field(default_factory=dict)
    masked: dict[str, LayerChannels] = field(default_factory=dict)


def kept_channels(channels: ChannelMap, masks: Mapping[str, np.ndarray]) -> tuple[set[int], dict[int, str]]:
    """The channels that stay; for those of them that some mask removes, the reason.

    Args:
        masks: bool [O] by layer, True for what is kept. Layers without one keep all; masks of depthwise layers and of
            gate heads are ignored.
    """
    reasons = dict(channels.fixed)
    kept = set(channels.fixed)
    for name, layer in channels.layers.items():
        if name in masks:
            wanted = layer.outputs[masks[name]]
        elif layer.depthwise or layer.follows:
            continue
        else:
            wanted = layer.outputs
        kept.update(int(number) for number in wanted)
        for number in wanted:
            reasons.setdefault(int(number), f"{name} keeps filters that go with them")
    for name, layer in channels.layers.items():
        for numbers in (layer.outputs, layer.inputs):
            for number in numbers:
                if np.isin(numbers, list(kept)).sum() >= MIN_FILTERS:
                    break
                kept.add(int(number))
                reasons.setdefault(int(number), f"{name} would be empty")
    return kept, reasons
