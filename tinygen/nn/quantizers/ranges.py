"""Ranges that depend on data: followed in training, observed by `tinygen.nn.calibrate`, frozen in evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinygen.errors import ModelError
from tinygen.nn.quantizers.base import ActivationQuantizer

MOMENTUM = 0.1
_STILL = 0.5 / 255
"""Of the width of a range: half a step of 8 bits."""


class FollowedRange(nn.Module):
    """The base of all modules with a range that is known only once data has been seen.

    In training the range is an exponential moving average of those of batches: the first batch initialises it, then
    each has the weight `momentum`. Calibration takes the smallest and the largest end of the whole set. Evaluation uses
    what is stored. The range and `batches` are part of the state dict; a trained range that is loaded without `batches`
    is known.

    Attributes:
        stored: name of the buffer that holds the range: [2], its ends, or a scalar, the upper end alone; float64.
        unknown: what the buffer holds while the range is not known.
        ranged: what has the range, for messages.
        batches: how many batches have been observed, int64, a calibration set being one; 0: the range is not known.
    """

    stored: ClassVar[str] = "running_range"
    unknown: ClassVar[Tensor] = torch.zeros(2, dtype=torch.float64)
    ranged: ClassVar[str] = "the activations"
    batches: Tensor
    _observed: _Observed | None = None

    def _keep_range(self, momentum: float = MOMENTUM) -> None:
        """Called once by the constructor."""
        self.momentum = momentum
        self.register_buffer(self.stored, self.unknown.clone())
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def calibrating(self) -> bool:
        """Whether calibration observes the range."""
        return self._observed is not None

    def follow(self, batch: Tensor, counts: Tensor | None = None) -> Tensor:
        """The stored range, moved towards that of a batch in training; in calibration the batch widens the observed
        one.

        Args:
            batch: range of one batch, of the stored one's shape; not finite if it has none (all zeros, say).
            counts: how many values of the batch lie in each of some bins, int64: for `trimmed`.
        """
        if self._observed is not None:
            self._observed.add(batch.double(), counts)
            return self._observed.range(self._held())
        held = self._held()
        known = torch.isfinite(batch).all()
        rate = torch.where(self.batches == 0, 1.0, self.momentum).to(held.dtype)
        held.copy_(torch.where(known, held + rate * (batch.to(held.dtype) - held), held))
        self.batches += known.long()
        return held.double()

    def known_range(self) -> Tensor:
        """The range of evaluation, float64.

        Raises:
            ModelError: no data has been observed.
        """
        if self._observed is not None:
            return self._observed.range(self._held())
        # While a graph is captured, the buffer has no value that could be read.
        if not torch.compiler.is_compiling() and int(self.batches) == 0:
            raise ModelError(
                f"the range of {self.ranged} is not known",
                where=type(self).__name__,
                fix="Train the network, or run tinygen.nn.calibrate(network, batches), before it is evaluated. "
                "Powers of two have no range where all values are zero.",
            )
        return self._held().double()

    def start_calibration(self) -> None:
        """From now on ranges are observed afresh; the stored one is not used."""
        self._observed = _Observed(self.unknown)

    def settle(self) -> bool:
        """Ends a pass over the calibration set: the next one computes with the range that this one has seen.

        Returns:
            Whether it has moved by more than half a step of 8 bits.
        """
        return self._observed is not None and self._observed.settle(self.trimmed)

    def trimmed(self, seen: Tensor, counts: Tensor | None) -> Tensor:
        """The range that calibration finds: what it has seen, unless overridden.

        Args:
            seen: the smallest and the largest end of the whole set.
            counts: the sum of all that `follow` was given.
        """
        return seen

    def end_calibration(self) -> None:
        """Stores the range of the last pass; of a module that no pass has reached, all stays as it was."""
        seen, self._observed = self._observed, None
        if seen is not None and seen.reached:
            self._held().copy_(seen.range(self._held()))
            self.batches.fill_(int(seen.settled is not None))

    def drop_calibration(self) -> None:
        """Ends calibration; the stored range stays."""
        self._observed = None

    def _held(self) -> Tensor:
        held: Tensor = getattr(self, self.stored)
        return held

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any, **options: Any) -> None:
        given = state_dict.get(prefix + self.stored)
        if given is not None and f"{prefix}batches" not in state_dict:
            trained = not torch.equal(given.cpu().double(), self.unknown)
            state_dict[f"{prefix}batches"] = torch.tensor(int(trained))
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)


class _Observed:
    """The ranges that calibration sees at one module.

    In the first pass over the set, the range to compute with is all that was seen so far; from the second one on, what
    the pass before has seen. So the last pass computes with ranges that depend on no order.

    Attributes:
        reached: whether any batch has come by, with a range or without.
        settled: the range of the last finished pass; None if it had none.
    """

    def __init__(self, unknown: Tensor) -> None:
        self.unknown = unknown
        self.reached = False
        self.settled: Tensor | None = None
        self._seen: Tensor | None = None
        self._counts: Tensor | None = None

    def add(self, batch: Tensor, counts: Tensor | None) -> None:
        self.reached = True
        if not bool(torch.isfinite(batch).all()):
            return
        if counts is not None:
            self._counts = counts if self._counts is None else self._counts + counts
        if self._seen is None:
            self._seen = batch
        elif batch.dim():
            self._seen = torch.stack((torch.minimum(self._seen[0], batch[0]), torch.maximum(self._seen[1], batch[1])))
        else:
            self._seen = torch.maximum(self._seen, batch)

    def range(self, like: Tensor) -> Tensor:
        for found in (self.settled, self._seen):
            if found is not None:
                return found
        return self.unknown.to(like.device)

    def settle(self, trimmed: Callable[[Tensor, Tensor | None], Tensor]) -> bool:
        before, self.settled = self.settled, None if self._seen is None else trimmed(self._seen, self._counts)
        self._seen = self._counts = None
        if before is None or self.settled is None:
            return before is not self.settled
        width = (before[1] - before[0]) if before.dim() else before
        return bool(((self.settled - before).abs() > _STILL * width).any())


class RangedQuantizer(FollowedRange, ActivationQuantizer):
    """An activation quantizer whose grid depends on the data.

    The thesis takes the range of the very tensor that is quantized (5.4, 5.8), which integer firmware cannot know.
    Training does so, and also follows the ranges (`FollowedRange`); evaluation uses the range that it has found.

    Attributes:
        follows_batch: in training the grid spans the batch's own range, not the average.
    """

    follows_batch = True
    running_range: Tensor

    def __init__(self, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self._keep_range(momentum)

    @abstractmethod
    def batch_range(self, x: Tensor) -> Tensor:
        """[2] float64: the range of one batch; not finite if the batch has no range (all zeros, say)."""

    def counts(self, x: Tensor) -> Tensor | None:
        """What `trimmed` needs of a batch in calibration; None for nothing."""
        return None

    def range(self, x: Tensor | None = None) -> Tensor:
        if x is None:
            return self.known_range()
        batch = self.batch_range(x)
        followed = self.follow(batch, self.counts(x) if self.calibrating else None)
        if self.calibrating or not self.follows_batch:
            return followed
        return torch.where(torch.isfinite(batch).all(), batch, followed)
