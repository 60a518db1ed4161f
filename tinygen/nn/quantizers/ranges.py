"""The range of an activation: observed in training, frozen in evaluation."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from tinygen.errors import ModelError
from tinygen.nn.quantizers.base import ActivationQuantizer

MOMENTUM = 0.1


class RangedQuantizer(ActivationQuantizer):
    """An activation quantizer whose grid depends on the data.

    The thesis takes the range of the very tensor that is quantized (5.4, 5.8), which integer firmware cannot know.
    Training does so, and also keeps an exponential moving average of the ranges (the first batch initialises it, then
    each new range has the weight `momentum`); evaluation uses this frozen average. It is part of the state dict.

    Attributes:
        follows_batch: in training the grid spans the batch's own range, not the average.
    """

    follows_batch = True
    running_range: Tensor
    batches: Tensor

    def __init__(self, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("running_range", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def batch_range(self, x: Tensor) -> Tensor:
        """[2] float64: the range of one batch; not finite if the batch has no range (all zeros, say)."""

    def range(self, x: Tensor | None = None) -> Tensor:
        if x is None:
            return self._frozen()
        batch = self.batch_range(x)
        known = torch.isfinite(batch).all()
        rate = torch.where(self.batches == 0, 1.0, self.momentum).to(self.running_range.dtype)
        moved = self.running_range + rate * (batch.to(self.running_range.dtype) - self.running_range)
        self.running_range.copy_(torch.where(known, moved, self.running_range))
        self.batches += known.long()
        running = self.running_range.double()
        return torch.where(known, batch, running) if self.follows_batch else running

    def _frozen(self) -> Tensor:
        # While a graph is captured, the buffer has no value that could be read.
        if not torch.compiler.is_compiling() and int(self.batches) == 0:
            raise ModelError(
                "the range of the activations is not known",
                where=type(self).__name__,
                fix="Train the network, or run tinygen.nn.calibrate(network, batches), before it is evaluated.",
            )
        return self.running_range.double()
