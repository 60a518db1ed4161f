"""Modules with a separate instance for each switch: batch norm, and the replacements of activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinygen.nn.switchable.base import Switchable
from tinygen.nn.switchable.runs import Index, Run, elements, index_of
from tinygen.nn.switchable.spec import SwitchSpec


class Private(Switchable):
    """One module per switch.

    Args:
        switches: in order.
        make: the module of a switch.
    """

    def __init__(self, switches: Sequence[SwitchSpec], make: Callable[[SwitchSpec], nn.Module]) -> None:
        super().__init__()
        self._switched_by(switches)
        self.per_switch = nn.ModuleDict({spec.name: make(spec) for spec in self.switches})

    def forward(self, x: Tensor) -> Tensor:
        return self.per_switch[self.switch.name](x)

    def at(self, spec: SwitchSpec) -> nn.Module:
        return self.per_switch[spec.name]


class SwitchableActivation(Private):
    """A quantizer (or, in float, an activation) per switch, each with a range of its own."""


class SwitchableBatchNorm(Private):
    """S-BN (thesis, 5.3.1): separate mu, sigma^2, gamma and beta for every switch, that is, for every precision and
    width.

    Batch statistics of quantized activations differ from switch to switch; with shared running statistics evaluation
    fails (Fig. 5.3). On a board they cost nothing: they become part of each switch's thresholds.

    Args:
        norm: initialises all switches, narrow ones with its first channels.
        switches: in order.
        channels: which of the channels slim; all unless given.

    Attributes:
        outputs: the channels, and which of them slim.
    """

    kind: ClassVar[type]
    outputs: tuple[Run, ...]

    def __init__(self, norm: nn.Module, switches: Sequence[SwitchSpec], channels: Sequence[Run] | None = None) -> None:
        runs = (Run(norm.num_features),) if channels is None else tuple(channels)
        super().__init__(switches, lambda spec: _narrowed(self.kind, norm, runs, spec.width))
        self.outputs = runs


class SwitchableBatchNorm2d(SwitchableBatchNorm):
    """S-BN behind convolutions."""

    kind = nn.BatchNorm2d


class SwitchableBatchNorm1d(SwitchableBatchNorm):
    """S-BN behind dense layers."""

    kind = nn.BatchNorm1d


def _narrowed(kind: Callable[..., Any], norm: nn.Module, runs: Sequence[Run], width: float) -> nn.Module:
    """A copy of a batch norm for the channels of a width."""
    index: Index = index_of(runs, width)
    result = kind(
        elements(runs, width), norm.eps, norm.momentum, affine=norm.affine, track_running_stats=norm.track_running_stats
    )
    kept = {
        name: value if value.dim() == 0 else value[index] for name, value in norm.state_dict(keep_vars=False).items()
    }
    result.load_state_dict(kept)
    device = next(iter(kept.values())).device if kept else torch.device("cpu")
    return result.to(device).train(norm.training)
