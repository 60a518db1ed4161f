"""Self-distillation among exits: the last one teaches those before it.

S. Elkerdawy, thesis, University of Alberta, 2022, section 7.2.2. A network of depth D has a classifier behind each of C
parts (four in all experiments). Classifier c < C has the loss

    L_c = (1 - alpha) CrossEntropy(q^c, final) + alpha CrossEntropy(q^c, y)     (7.2), q^c = softmax(z^c / T) (7.1)

and alpha falls from 1 to 0: labels first, for speed, the last classifier's predictions later, so that exits cooperate.
L = sum over c < C of L_c, + L_qe, + CrossEntropy(final, y) (7.4); the last classifier has the task's loss alone,
`TaskLoss`.

What the thesis leaves open, and what is done here: the course of alpha (a line over the epochs), whether the last
classifier's prediction is a class or probabilities (probabilities, at the same T; `hard=True` takes the class), and
whether gradients reach the last classifier through it (they do not, else it would learn to be easy to copy). With the
labels q^c is at T as well, as (7.2) has it; at the thesis' T = 1 that makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tinygen.compress.distill.objective import Batch, Objective, checked_temperature, soft_cross_entropy
from tinygen.errors import UnsupportedError


@dataclass(frozen=True)
class Alpha:
    """The weight of the labels; it changes linearly from the first epoch to the last.

    Attributes:
        first, last: 1 and 0 in the thesis. Both 1: auxiliary classifiers without distillation.

    Raises:
        UnsupportedError: one of them is not in 0..1.
    """

    first: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        for value in (self.first, self.last):
            if not 0.0 <= value <= 1.0:
                raise UnsupportedError(f"alpha {value}", where="Alpha", fix="Use 0 (the last exit) to 1 (the labels).")

    def at(self, progress: float) -> float:
        """
        Args:
            progress: 0 in the first epoch, 1 in the last.
        """
        return self.first + (self.last - self.first) * progress


class SelfDistillation(Objective):
    """Sum over all exits but the last of L_c (7.2).

    Args:
        temperature: T of (7.1), "normally set to 1".
        hard: the exits learn the last one's class, not its probabilities.

    Raises:
        UnsupportedError: a temperature that is not above 0; when called, a network of one exit.
    """

    def __init__(self, alpha: Alpha = Alpha(), temperature: float = 1.0, *, hard: bool = False) -> None:
        self.alpha, self.hard = alpha, hard
        self.temperature = checked_temperature(temperature, "SelfDistillation")

    def __call__(self, batch: Batch) -> Tensor:
        if len(batch.exits) < 2:
            fix = "Give the logits of every exit, the last exit's last."
            raise UnsupportedError("self-distillation among one exit", where="SelfDistillation", fix=fix)
        alpha = self.alpha.at(batch.progress)
        losses = [
            (1 - alpha) * self._to_last(logits, batch.final)
            + alpha * functional.cross_entropy(logits / self.temperature, batch.labels)
            for logits in batch.exits[:-1]
        ]
        return torch.stack(losses).sum()

    def _to_last(self, logits: Tensor, final: Tensor) -> Tensor:
        if self.hard:
            return functional.cross_entropy(logits / self.temperature, final.detach().argmax(1))
        return soft_cross_entropy(logits, final, self.temperature)
