"""Training one-bit weights on a sphere (thesis, chapter 7): an optimiser's wrapper, and the MHE regulariser.

The real weights behind the binary ones keep norm 1, each filter's or each layer's (a whole network's harms accuracy,
7.3.1). The gradient is the one at sign(w), carried over to w by the straight-through estimator of the layer's
quantizer (BinaryConnect, BWN). Algorithm 4 as printed subtracts the step and then retracts with the step again; here
it is applied once, inside the retraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.quantizers.base import check_choice


def project(point: Tensor, vector: Tensor) -> Tensor:
    """Projects each row of `vector` [N, n] on the tangent space at `point` (7.2): v - x x^T v; rows of `point` have
    norm 1.
    """
    return vector - point * (point * vector).sum(1, keepdim=True)


def retract_by_normalising(point: Tensor, step: Tensor) -> Tensor:
    """(x + d) / ||x + d|| of each row (7.3); a tangent d keeps the norm above 0."""
    return torch.nn.functional.normalize(point + step, dim=1, eps=0.0)


def retract_by_exponential_map(point: Tensor, step: Tensor) -> Tensor:
    """x cos||d|| + d / ||d|| sin||d|| of each row (7.4), for tangent d; x where d is 0. Rounding does not add up."""
    length = torch.linalg.vector_norm(step, dim=1, keepdim=True)
    # sin t / t, which is 1 at 0.
    moved = point * torch.cos(length) + step * torch.sinc(length / torch.pi)
    return torch.nn.functional.normalize(moved, dim=1, eps=0.0)


_RETRACTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "normalise": retract_by_normalising,
    "exponential": retract_by_exponential_map,
}


class OnSphere:
    """Wraps an optimiser: the given parameters keep norm 1; all others are updated as usual.

    The step that the optimiser would make (momentum, and with Adam the normalisation, included) is projected on the
    tangent space (7.2) and made by a retraction: Algorithm 4. Put the weights of binary layers here, not those of
    batch norm, first and last layers. The constructor normalises the parameters, so pretrained weights can be used.

    Args:
        optimizer: torch.optim.SGD or Adam, say, of all parameters; its weight decay must be 0 for those on the sphere.
        parameters: [O, ...] tensors, parameters of the optimiser, to be kept on spheres.
        granularity: "filter" (norm 1 along dimension 0's rows) or "layer" (the whole tensor).
        retraction: "normalise" (7.3) or "exponential" (7.4).

    Raises:
        UnsupportedError: unknown granularity or retraction, a parameter that is not the optimiser's, weight decay.
        ModelError: a filter (or layer) of zeros, which has no direction.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Iterable[Tensor],
        *,
        granularity: str = "filter",
        retraction: str = "normalise",
    ) -> None:
        self.optimizer = optimizer
        self.granularity = check_choice("OnSphere granularity", granularity, ("filter", "layer"))
        self._retract = _RETRACTIONS[check_choice("OnSphere retraction", retraction, tuple(_RETRACTIONS))]
        self.parameters = list(parameters)
        self._check()
        with torch.no_grad():
            for parameter in self.parameters:
                rows = self._rows(parameter)
                if bool((torch.linalg.vector_norm(rows, dim=1) == 0).any()):
                    fix = "Initialise it with values that are not all zero."
                    raise ModelError(f"a {granularity} of zeros has no direction", where="OnSphere", fix=fix)
                parameter.copy_(torch.nn.functional.normalize(rows, dim=1, eps=0.0).reshape(parameter.shape))

    def _check(self) -> None:
        decay = {id(p): group.get("weight_decay", 0) for group in self.param_groups for p in group["params"]}
        for parameter in self.parameters:
            if id(parameter) not in decay:
                what = f"a parameter of shape {list(parameter.shape)} is not the optimiser's"
                raise UnsupportedError(what, where="OnSphere", fix="Give the optimiser all parameters.")
            if decay[id(parameter)]:
                fix = "Put the parameters on the sphere into a group with weight_decay=0."
                raise UnsupportedError("weight decay pulls weights off the sphere", where="OnSphere", fix=fix)

    def _rows(self, tensor: Tensor) -> Tensor:
        return tensor.flatten(1) if self.granularity == "filter" and tensor.dim() > 1 else tensor.reshape(1, -1)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns the closure's loss, as the optimiser's own `step` does."""
        before = [parameter.detach().clone() for parameter in self.parameters]
        loss = self.optimizer.step() if closure is None else self.optimizer.step(closure)
        with torch.no_grad():
            for parameter, old in zip(self.parameters, before, strict=True):
                point = self._rows(old)
                tangent = project(point, self._rows(parameter) - point)
                parameter.copy_(self._retract(point, tangent).reshape(parameter.shape))
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimiser's, for schedules of the learning rate (a torch scheduler takes `optimizer` itself)."""
        return self.optimizer.param_groups

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def hyperspherical_energy(weights: Tensor, margin: float = 1e-4) -> Tensor:
    """R_MHE (7.7): the mean over pairs of filters of 1 / arccos(f_i . f_j), filters normalised; 0 for one filter.

    W. Liu et al., "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018. Add eta times it to the loss (7.8).
    Equal and opposite filters would divide by zero or have an infinite slope: cosines are clipped to 1 - margin, and
    filters closer than that get no gradient from each other. A filter of zeros counts as orthogonal to all.

    Args:
        weights: [O, ...], the real weights.
        margin: larger than the float32 rounding error of a cosine.
    """
    count = weights.shape[0]
    if count < 2:
        return weights.sum() * 0.0
    filters = torch.nn.functional.normalize(weights.flatten(1), dim=1)
    first, second = torch.triu_indices(count, count, 1, device=weights.device)
    cosines = (filters @ filters.T)[first, second].clamp(-1.0 + margin, 1.0 - margin)
    return (1.0 / torch.arccos(cosines)).mean()
