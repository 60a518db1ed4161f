"""Training of switchable networks: Algorithm 3 and self-distillation (thesis, 5.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from tinygen.errors import UnsupportedError
from tinygen.nn.calibration import calibrate
from tinygen.nn.quantizers.base import check_choice
from tinygen.nn.switchable.base import switched, switches_of
from tinygen.nn.switchable.layers import SharedWeights
from tinygen.nn.switchable.private import SwitchableBatchNorm
from tinygen.nn.switchable.runs import index_of
from tinygen.nn.switchable.spec import SwitchSpec

_COMPARED: Mapping[str, type] = {"filters": SharedWeights, "norms": SwitchableBatchNorm}


@dataclass(frozen=True)
class Distillation:
    """L_q = output KL(SG(p_r) || p_q) + features sum ||f_r - f_q||^2 (5.11 to 5.13).

    p are the outputs' probabilities, f the pre-activations. Both sums are means over the batch. For narrower switches
    only their channels are compared. The gradient does not pass through p_r, and does pass through f_r, so that teacher
    and student approach each other. ("We do not stop the gradients flowing to f_r and quantize f_r", below (5.12), may
    mean that f_r is quantized; here it is not, as in the equation.)

    Attributes:
        output, features: alpha_1 and alpha_2. The thesis' 1e-7 brings the second to the size of the first in ResNet-18;
            a network with a hundredth of its activations needs a larger one for that.
        compared: the choice of f. "filters": the outputs of every layer but the last (5.1). "norms": the same after
            batch norm. TanhQuant scales weights to a maximum of 1, which batch norm compensates; so filters' outputs
            differ by that factor, and with "filters" L_f makes the float weights grow.

    Raises:
        UnsupportedError: `compared` is something else.
    """

    output: float = 1.0
    features: float = 1e-7
    compared: str = "filters"

    def __post_init__(self) -> None:
        check_choice("Distillation", self.compared, tuple(_COMPARED))


@dataclass(frozen=True)
class _Seen:
    """The results of one switch.

    Attributes:
        logits: [N, classes].
        features: pre-activations, by the module that computes them.
    """

    logits: Tensor
    features: Mapping[Any, Tensor]


def teacher_of(switches: Sequence[SwitchSpec], where: str = "distillation") -> SwitchSpec:
    """The float switch of the largest width, from which all others learn.

    Raises:
        UnsupportedError: no switch is float.
    """
    floats = [spec for spec in switches if spec.is_float]
    if not floats:
        fix = "Add SwitchSpec(32, 32), or train without distillation."
        raise UnsupportedError("self-distillation without a float switch", where=where, fix=fix)
    return max(floats, key=lambda spec: spec.width)


def switchable_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: Optimizer,
    distillation: Distillation | None = None,
) -> dict[str, float]:
    """One iteration of Algorithm 3: the gradients of all switches summed, then one step.

    Without distillation every switch has the cross-entropy loss; with it only the float switch of the largest width
    has, and all others learn from this switch.

    Args:
        network: switchable, in training mode; its switch is restored.
        images, labels: a batch, and its classes [N].
        optimizer: of the network's parameters.

    Returns:
        The loss of every switch.

    Raises:
        UnsupportedError: the network is not switchable; there is no float switch to learn from.
    """
    optimizer.zero_grad()
    switches = switches_of(network)
    if distillation is None:
        losses = {spec.name: _cross_entropy(network, spec, images, labels) for spec in switches}
    else:
        losses = _distilled(network, switches, images, labels, distillation)
    optimizer.step()
    return losses


def _cross_entropy(network: nn.Module, spec: SwitchSpec, images: Tensor, labels: Tensor) -> float:
    with switched(network, spec):
        loss = functional.cross_entropy(network(images), labels)
    loss.backward()
    return float(loss.detach())


def _distilled(
    network: nn.Module, switches: Sequence[SwitchSpec], images: Tensor, labels: Tensor, distillation: Distillation
) -> dict[str, float]:
    teacher = teacher_of(switches, type(network).__name__)
    taught = _seen(network, teacher, images, distillation.compared)
    probabilities = taught.logits.detach().softmax(1)
    # Students' gradients accumulate at copies of f_r, and are propagated through the teacher once, at the end.
    copies = {module: value.detach().requires_grad_() for module, value in taught.features.items()}
    losses = {}
    for spec in switches:
        if spec is teacher:
            losses[spec.name] = 0.0  # in its place among the others
            continue
        student = _seen(network, spec, images, distillation.compared)
        loss = distillation.output * functional.kl_div(
            student.logits.log_softmax(1), probabilities, reduction="batchmean"
        )
        if distillation.features:
            loss = loss + distillation.features * _distance(copies, student.features, spec.width) / len(images)
        loss.backward()
        losses[spec.name] = float(loss.detach())
    loss = functional.cross_entropy(taught.logits, labels)
    moved = [(value, copies[module].grad) for module, value in taught.features.items()]
    moved = [(value, grad) for value, grad in moved if grad is not None]
    torch.autograd.backward([loss, *(value for value, _ in moved)], [None, *(grad for _, grad in moved)])
    losses[teacher.name] = float(loss.detach())
    return losses


def _distance(taught: Mapping[Any, Tensor], learnt: Mapping[Any, Tensor], width: float) -> Tensor:
    """sum ||f_r - f_q||^2 over modules, samples and elements."""
    parts = [(f[:, index_of(module.outputs, width)] - learnt[module]).pow(2).sum() for module, f in taught.items()]
    return torch.stack(parts).sum()


def _seen(network: nn.Module, spec: SwitchSpec, images: Tensor, compared: str) -> _Seen:
    """Runs one switch and keeps its pre-activations."""
    seen: dict[Any, Tensor] = {}
    with switched(network, spec), _recording(network, _COMPARED[compared], seen):
        logits = network(images)
    if compared == "filters":
        seen.popitem()  # the last layer's, whose probabilities are compared
    return _Seen(logits, seen)


@contextmanager
def _recording(network: nn.Module, kind: Any, seen: dict[Any, Tensor]) -> Iterator[None]:
    def keep(module: Any, _: Any, output: Tensor) -> None:
        seen[module] = output

    hooks = [part.register_forward_hook(keep) for part in network.modules() if isinstance(part, kind)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def train_switchable(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    *,
    distillation: Distillation | None = None,
    after_step: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Trains all switches together; call it once per epoch, or once with batches of several epochs.

    Args:
        network: switchable; it is in training mode afterwards.
        batches: of images and classes.
        optimizer: of the network's parameters. With many switches use a lower learning rate: their gradients are summed
            (the thesis lowers 0.1 to 0.03 for 16).
        distillation: see `switchable_step`.
        after_step: called after each step, for the schedule's step, say.

    Returns:
        The mean loss of every switch.

    Raises:
        UnsupportedError: as `switchable_step`; there is no batch.
    """
    network.train()
    totals = dict.fromkeys((spec.name for spec in switches_of(network)), 0.0)
    steps = 0
    for images, labels in batches:
        for name, loss in switchable_step(network, images, labels, optimizer, distillation).items():
            totals[name] += loss
        steps += 1
        if after_step is not None:
            after_step()
    if not steps:
        raise UnsupportedError("no batch to train with", where="train_switchable", fix="Give at least one batch.")
    return {name: total / steps for name, total in totals.items()}


def calibrate_switches(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Runs `tinygen.nn.calibrate` in every switch; the active switch is restored.

    Raises:
        UnsupportedError: there is no batch, or the network is not switchable.
    """
    kept = list(batches)
    for spec in switches_of(network):
        with switched(network, spec):
            calibrate(network, kept)
