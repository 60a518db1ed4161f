"""Plain training, for fine-tuning after pruning. Any other training loop works as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn, optim

from tinygen.compress.criteria.differentiate import Batches, Loss, cross_entropy
from tinygen.errors import ModelError, UnsupportedError


class Shuffled:
    """Batches of a data set, in a new order each time it is gone through; the same orders for the same seed.

    Args:
        inputs: [N, ...].
        labels: [N, ...].
        size: of a batch; the last may be smaller.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, size: int, seed: int) -> None:
        if len(inputs) != len(labels) or not len(inputs) or size < 1:
            raise ModelError(
                f"{len(inputs)} inputs and {len(labels)} labels in batches of {size}",
                where="Shuffled",
                fix="Give as many labels as inputs, and a size of at least 1.",
            )
        self.inputs, self.labels, self.size = inputs, labels, size
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.inputs), generator=self.generator).split(self.size):
            yield self.inputs[index], self.labels[index]


def finetune(
    network: nn.Module,
    data: Batches,
    epochs: int,
    lr: float,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str = "cosine",
    loss: Loss = cross_entropy,
    penalty: Callable[[], Tensor] | None = None,
    parameters: Iterable[Any] | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
) -> list[float]:
    """Trains in place by stochastic gradient descent; the network is left in evaluation mode.

    Args:
        network: masks put on by `apply_masks` hold by themselves.
        data: iterated once per epoch.
        epochs: at least 0.
        lr: the first learning rate.
        schedule: "cosine" falls to 0 after the last epoch, "step" to a tenth after half and after three quarters of
            the epochs (rounded up), "constant" stays.
        penalty: added to the loss of each batch (`JointMasks.sparsity`, a multiple of `bn_penalty`).
        parameters: those that the optimiser updates, or groups of them; all of the network's unless given.
        after_step: called with the network after each step, to restore what must not change.

    Returns:
        The mean loss, penalty included, of each epoch.

    Raises:
        UnsupportedError: no such schedule.
        ModelError: data that can be iterated only once, or is empty; or a loss that is not finite.
    """
    if iter(data) is data:
        raise ModelError(
            "data that can be gone through only once", where="finetune", fix="Give a list or a DataLoader."
        )
    optimiser = optim.SGD(
        list(network.parameters() if parameters is None else parameters), lr, momentum, weight_decay=weight_decay
    )
    scheduler = _scheduler(optimiser, schedule, epochs)
    history = []
    for _ in range(epochs):
        network.train()
        total, samples = 0.0, 0
        for x, labels in data:
            optimiser.zero_grad()
            value = loss(network(x), labels)
            if penalty is not None:
                value = value + penalty()
            if not bool(torch.isfinite(value)):
                raise ModelError("the loss is infinite or not a number", where="finetune", fix="Use a lower rate.")
            value.backward()
            optimiser.step()
            if after_step is not None:
                after_step(network)
            total, samples = total + float(value.detach()) * len(x), samples + len(x)
        if not samples:
            raise ModelError("no batch of data", where="finetune", fix="Give at least one batch.")
        scheduler.step()
        history.append(total / samples)
    network.eval()
    return history


def _scheduler(optimiser: optim.Optimizer, schedule: str, epochs: int) -> optim.lr_scheduler.LRScheduler:
    if schedule == "cosine":
        return optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs, 1))
    if schedule == "step":
        return optim.lr_scheduler.MultiStepLR(optimiser, [-(-epochs // 2), -(-epochs * 3 // 4)], 0.1)
    if schedule == "constant":
        return optim.lr_scheduler.ConstantLR(optimiser, 1.0)
    raise UnsupportedError(f"schedule {schedule!r}", where="finetune", fix="Use cosine, step or constant.")


@torch.no_grad()
def accuracy(network: nn.Module, data: Batches) -> float:
    """The share of samples whose largest output is their label's, 0 to 1; in evaluation mode.

    Raises:
        ModelError: there is no data.
    """
    training = network.training
    network.eval()
    right, seen = 0, 0
    for x, labels in data:
        right += int((network(x).argmax(1) == labels).sum())
        seen += len(labels)
    network.train(training)
    if not seen:
        raise ModelError("no batch of data", where="accuracy", fix="Give at least one batch.")
    return right / seen
