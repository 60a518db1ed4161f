"""Building blocks of distillation losses: a batch as the network sees it, a teacher, and the task's own loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.errors import ModelError, UnsupportedError


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs of a network with a distillation token.

    Attributes:
        exits: logits [N, classes] of each exit, the last exit's last.
        token: logits [N, classes] of the head that learns from a teacher; None without one.
    """

    exits: Sequence[Tensor]
    token: Tensor | None = None


Answers: TypeAlias = "Tensor | Sequence[Tensor] | Outputs"
"""Logits of one exit, of several, or with those of a token."""


def outputs_of(answers: Answers) -> Outputs:
    """A network's outputs in one common form.

    Raises:
        ModelError: the network's output holds no logits.
    """
    if isinstance(answers, Outputs):
        outputs = answers
    else:
        outputs = Outputs((answers,) if isinstance(answers, Tensor) else tuple(answers))
    if not outputs.exits:
        raise ModelError("the network gives no logits", where="distillation", fix="Give those of one exit at least.")
    return outputs


@dataclass(frozen=True, eq=False)
class Batch:
    """The data that an objective may use.

    Attributes:
        images: [N, ...], as the network got them: a teacher gets the same augmented images.
        labels: classes [N].
        exits: logits [N, classes] of each exit, the last exit's last.
        token: logits [N, classes] of a distillation token, or None.
        progress: of the training, 0 in its first epoch and 1 in its last.
    """

    images: Tensor
    labels: Tensor
    exits: Sequence[Tensor]
    token: Tensor | None = None
    progress: float = 0.0

    @property
    def final(self) -> Tensor:
        """Logits of the last exit."""
        return self.exits[-1]


class Teacher:
    """A trained network that runs in evaluation mode, without gradients, and counts its samples.

    Not a module: a student that holds one does not train it.

    Attributes:
        asked: samples that went through the network.
        passes: of the network, each with one sample or more.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.asked = self.passes = 0

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of the last exit.

        Raises:
            ModelError: the batch is empty; callers without samples must not run the teacher.
        """
        if not len(images):
            raise ModelError("a teacher was asked about no images", where="Teacher")
        self.asked += len(images)
        self.passes += 1
        self.network.eval()
        return outputs_of(self.network(images)).exits[-1]


class Objective(ABC):
    """A part of the loss.

    Attributes:
        teacher: the teacher of objectives that have one.
    """

    teacher: Teacher | None = None

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """The loss of a batch, one element."""


class TaskLoss(Objective):
    """weight * CrossEntropy(final, y): the last exit and the labels.

    Args:
        weight: 1 in (7.4). Hinton et al. found "considerably lower" weights than the soft targets' best (section 2).
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = checked_weight(weight, "TaskLoss")

    def __call__(self, batch: Batch) -> Tensor:
        return self.weight * functional.cross_entropy(batch.final, batch.labels)


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """-sum_i p_i log q_i, mean over the batch, with p and q the softmax of targets / T and of logits / T.

    Args:
        logits, targets: [N, classes]; no gradient passes to targets.
    """
    probabilities = (targets.detach() / temperature).softmax(1)
    return functional.cross_entropy(logits / temperature, probabilities)


def checked_weight(weight: float, where: str) -> float:
    if not 0.0 <= weight < float("inf"):
        raise UnsupportedError(f"weight {weight}", where=where, fix="Use 0 or more.")
    return weight


def checked_temperature(temperature: float, where: str) -> float:
    if not 0.0 < temperature < float("inf"):
        raise UnsupportedError(f"temperature {temperature}", where=where, fix="Use one above 0; 1 changes nothing.")
    return temperature
