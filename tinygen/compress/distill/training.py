"""Training by a sum of objectives, with counts of the samples given to teachers.

S. Elkerdawy, thesis, University of Alberta, 2022, section 7.3: AdamW and a learning rate that falls along a cosine,
over 300 epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.differentiate import Batches
from tinygen.compress.distill.objective import Answers, Batch, Objective, outputs_of
from tinygen.errors import ModelError, UnsupportedError


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        epochs: 300 in the thesis.
        lr: the first rate; it falls towards 0 along a cosine, epoch by epoch.
        weight_decay: of AdamW; DeiT, whose settings the thesis follows, has 0.05.

    Raises:
        UnsupportedError: no epochs, or a rate that is not above 0.
    """

    epochs: int = 300
    lr: float = 5e-4
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.lr > 0:
            what = f"{self.epochs} epochs at a rate of {self.lr}"
            raise UnsupportedError(what, where="Schedule", fix="Use at least one epoch, and a rate above 0.")


@dataclass(frozen=True)
class Epoch:
    """What happened in one epoch.

    Attributes:
        loss: mean over the samples.
        samples: that the network saw.
        asked: samples that went through teachers.
    """

    loss: float
    samples: int
    asked: int

    @property
    def saved(self) -> float:
        """The share of samples that were not given to a teacher; it can be below 0 with several teachers."""
        return 1 - self.asked / self.samples


def _call(network: nn.Module, images: Tensor) -> Answers:
    return network(images)


def train_distilled(
    network: nn.Module,
    data: Batches,
    objectives: Sequence[Objective],
    schedule: Schedule = Schedule(),
    *,
    forward: Callable[[nn.Module, Tensor], Answers] = _call,
) -> list[Epoch]:
    """Trains in place by the sum of the objectives; the network is left in evaluation mode.

    Args:
        data: gone through once in each epoch.
        objectives: their `Batch.progress` is 0 in the first epoch and 1 in the last.
        forward: how to get the logits of every exit, for networks that give something else when they are called.

    Raises:
        ModelError: data that can be gone through only once, or is empty; or a loss that is not finite.
        UnsupportedError: no objectives.
    """
    if iter(data) is data:
        fix = "Give a list or a DataLoader."
        raise ModelError("data that can be gone through only once", where="train_distilled", fix=fix)
    if not objectives:
        raise UnsupportedError("no objectives", where="train_distilled", fix="Give at least TaskLoss().")
    optimiser = torch.optim.AdamW(network.parameters(), schedule.lr, weight_decay=schedule.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.epochs)
    history = []
    for epoch in range(schedule.epochs):
        network.train()
        progress = epoch / max(schedule.epochs - 1, 1)
        before = _asked(objectives)
        total, samples = 0.0, 0
        for images, labels in data:
            outputs = outputs_of(forward(network, images))
            batch = Batch(images, labels, outputs.exits, outputs.token, progress)
            value = torch.stack([objective(batch) for objective in objectives]).sum()
            _step(optimiser, value)
            total, samples = total + float(value.detach()) * len(labels), samples + len(labels)
        if not samples:
            raise ModelError("no batch of data", where="train_distilled", fix="Give at least one batch.")
        scheduler.step()
        history.append(Epoch(total / samples, samples, _asked(objectives) - before))
    network.eval()
    return history


def _step(optimiser: torch.optim.Optimizer, value: Tensor) -> None:
    if not bool(torch.isfinite(value)):
        raise ModelError("the loss is infinite or not a number", where="train_distilled", fix="Use a lower rate.")
    optimiser.zero_grad()
    value.backward()
    optimiser.step()


def _asked(objectives: Sequence[Objective]) -> int:
    """Samples given to all teachers together; a teacher that several objectives share counts once."""
    return sum(teacher.asked for teacher in {one.teacher for one in objectives if one.teacher is not None})
