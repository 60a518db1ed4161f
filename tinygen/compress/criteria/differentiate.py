"""Gradients of a loss over data, for criteria that estimate how a removal changes the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.compress.masks import prunable
from tinygen.errors import ModelError

Batches: TypeAlias = Iterable[tuple[Tensor, Tensor]]
"""Inputs [N, ...] and labels [N]."""
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of outputs and labels: the mean over the batch."""

cross_entropy: Loss = functional.cross_entropy


@contextmanager
def differentiable(network: nn.Module, parameters: Iterable[Tensor] = ()) -> Iterator[None]:
    """Evaluation mode with gradients on, of frozen parameters too; modes and flags are restored."""
    training = [part for part in network.modules() if part.training]
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    network.eval()
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for part in training:
            part.training = True


def gradients(
    network: nn.Module, parameters: Mapping[str, Tensor], data: Batches, loss: Loss
) -> Iterator[dict[str, Tensor]]:
    """For each batch the gradients of the mean loss; in evaluation mode. Zeros where a parameter has no part in it.

    Raises:
        ModelError: there is no batch.
    """
    seen = 0
    names = list(parameters)
    for x, labels in data:
        with differentiable(network, parameters.values()):
            value = loss(network(x), labels)
            found = torch.autograd.grad(value, [parameters[name] for name in names], allow_unused=True)
        yield {
            name: torch.zeros_like(parameters[name]) if gradient is None else gradient
            for name, gradient in zip(names, found, strict=True)
        }
        seen += 1
    if not seen:
        raise no_batch()


def no_batch() -> ModelError:
    return ModelError("no batch of data", where="the criterion", fix="Give at least one batch of inputs and labels.")


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The trained weight parameters, by layer; masked layers included."""
    return {name: getattr(layer, "weight_orig", layer.weight) for name, layer in prunable(network).items()}


def mean_over(batches: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each entry over batches."""
    total: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        count += 1
        for name, values in batch.items():
            total[name] = total[name] + values if name in total else values.clone()
    return {name: values / count for name, values in total.items()}
