"""Multiply-accumulates of a network, and what is left of them behind its masks.

Counted as Ganesh 2022 does: weights that are not zero times the size of the layer's output map; convolutions and dense
layers only. It says what could be saved. What is saved depends on the kernel that runs: dense ones skip nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tinygen.compress.masks import prunable, used_weights
from tinygen.compress.surgery.tracing import evaluating
from tinygen.errors import ModelError


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of one layer, or of several.

    Attributes:
        dense: of all its weights.
        live: of those that are not zero.
    """

    dense: int
    live: int

    @property
    def saved(self) -> float:
        """The share that is not needed, 0 to 1."""
        return 1.0 - self.live / self.dense


def multiply_accumulates(network: nn.Module, example: Tensor) -> dict[str, Work]:
    """Of one sample, by layer in the order of execution; a layer that runs twice counts twice.

    Args:
        network: looked at in evaluation mode.
        example: [N, ...]; the first sample is run.

    Raises:
        ModelError: no convolution or dense layer ran.
    """
    found: dict[str, Work] = {}

    def count(name: str, layer: nn.Module, output: Tensor) -> None:
        # [1, O, ...] of a convolution, [1, ..., O] of a dense layer: O values at each place.
        places = output.numel() // layer.weight.shape[0]
        weights = used_weights(layer)
        before = found.get(name, Work(0, 0))
        found[name] = Work(before.dense + weights.numel() * places, before.live + int((weights != 0).sum()) * places)

    def hook(name: str) -> Any:
        return lambda layer, _, output: count(name, layer, output)

    hooks = [layer.register_forward_hook(hook(name)) for name, layer in prunable(network).items()]
    try:
        with evaluating(network):
            network(example[:1])
    finally:
        for handle in hooks:
            handle.remove()
    if not found:
        raise ModelError("no convolution or dense layer ran", where=type(network).__name__, fix="Nothing to count.")
    return found


def together(work: Mapping[str, Work]) -> Work:
    """The sum over layers."""
    return Work(sum(one.dense for one in work.values()), sum(one.live for one in work.values()))
