"""What a network costs: parameters and multiply-accumulates, per layer and in all.

Convolutions and dense layers only, padded taps included, as Ganesh 2022 counts: weights times the size of the layer's
output map. `cost` counts what masks keep. `multiply_accumulates` counts the total and the part with non-zero weights,
the most that could be saved. How much is saved depends on the kernel that runs: dense kernels skip nothing.
`gated_cost` counts what gates of a given density compute.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tinygen.compress.masks import check_masks, prunable, used_weights
from tinygen.compress.ranking import layers_of
from tinygen.compress.surgery.tracing import Example, evaluating, inputs_of
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.pruned import mask_of


@dataclass(frozen=True)
class LayerCost:
    """A convolution's or dense layer's cost.

    Attributes:
        macs: multiply-accumulates of one inference of one sample, over all calls.
        parameters: kept weights and biases.
    """

    macs: int
    parameters: int


@dataclass(frozen=True)
class Cost:
    """A network's cost.

    Attributes:
        layers: by the name of a convolution or dense layer.
        other_parameters: of batch norms and all else that is trained.
    """

    layers: Mapping[str, LayerCost]
    other_parameters: int

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers.values())

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers.values()) + self.other_parameters


def cost(network: nn.Module, example: Example, masks: Mapping[str, Tensor] | None = None) -> Cost:
    """Counts a network's multiply-accumulates and parameters.

    Args:
        example: the network's input, or inputs, with a batch in front.
        masks: kernel masks [O, I] or weight masks by layer: weights that they remove are not counted. Layers without
            one here are counted by the masks they carry themselves (`apply_masks`), or whole.

    Raises:
        ModelError: a mask does not fit its layer, or the network does not take the example.
    """
    layers = prunable(network)
    for name, mask in (masks or {}).items():
        check_masks(network, {name: mask}, 2 if mask.dim() == 2 else None)
    positions = _positions(network, example, layers)
    counted, within = {}, set()
    for name, layer in layers.items():
        mask = mask_of(layer) if masks is None or name not in masks else masks[name]
        weights = layer.weight.numel() if mask is None else int(mask.sum()) * (layer.weight.numel() // mask.numel())
        biases = 0 if layer.bias is None else layer.bias.numel()
        counted[name] = LayerCost(weights * positions.get(name, 0), weights + biases)
        within |= {id(parameter) for parameter in layer.parameters(recurse=False)}
    other = sum(parameter.numel() for parameter in network.parameters() if id(parameter) not in within)
    return Cost(counted, other)


def gated_cost(
    network: nn.Module, example: Example, density: float, *, experts: int = 0, exclude: Collection[str] = ()
) -> float:
    """Multiply-accumulates if gates keep a share of each layer's channels (Raju 2022, table 3.1).

    A layer costs q (weights x positions + experts x weights): q is d for the first one, whose input is whole, and d^2
    for all others; mixing n experts takes n multiplications for each weight of the kernels that are computed. Shares
    are not rounded up to whole channels, and predictors and routers not counted, as in the table.

    Args:
        density: d, above 0 and up to 1.
        experts: n, mixed in each layer.
        exclude: names of layers that are not gated and not counted; of the table the classifier.

    Raises:
        UnsupportedError: another density, or fewer experts than none.
        ModelError: `exclude` names no layer; no layer ran; the network does not take the example.
    """
    if not 0.0 < density <= 1.0 or experts < 0:
        what = f"{experts} experts" if experts < 0 else f"a density of {density}"
        raise UnsupportedError(what, where="gated_cost", fix="Use 0 < density <= 1, and 0 experts or more.")
    layers = layers_of(network, exclude)
    counted = {name: work for name, work in multiply_accumulates(network, example).items() if name in layers}
    sizes = {name: layers[name].weight.numel() for name in counted}
    shares = [density if place == 0 else density**2 for place in range(len(counted))]
    return sum(q * (counted[name].dense + experts * sizes[name]) for q, name in zip(shares, counted, strict=True))


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of one layer, or of several.

    Attributes:
        dense: of all its weights.
        live: of those that are not zero, as the layer computes with them (quantized, masked).
    """

    dense: int
    live: int

    @property
    def saved(self) -> float:
        """The share of multiply-accumulates with zero weights, 0 to 1."""
        return 1.0 - self.live / self.dense


def multiply_accumulates(network: nn.Module, example: Example) -> dict[str, Work]:
    """Of one sample, by layer in the order of execution; a layer that runs twice counts twice.

    Args:
        network: looked at in evaluation mode.
        example: the network's input, or inputs, with a batch in front.

    Raises:
        ModelError: no convolution or dense layer ran, or the network does not take the example.
    """
    layers = prunable(network)
    found = {}
    for name, uses in _positions(network, example, layers).items():
        weights = used_weights(layers[name])
        found[name] = Work(weights.numel() * uses, int((weights != 0).sum()) * uses)
    if not found:
        raise ModelError("no convolution or dense layer ran", where=type(network).__name__, fix="Nothing to count.")
    return found


def together(work: Mapping[str, Work]) -> Work:
    """The sum over layers."""
    return Work(sum(one.dense for one in work.values()), sum(one.live for one in work.values()))


def _positions(network: nn.Module, example: Example, layers: Mapping[str, nn.Module]) -> dict[str, int]:
    """How many times each weight is used in one inference of one sample, in the order of first use."""
    found: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
            shape = made.shape
            uses = math.prod(shape[2:]) if isinstance(module, nn.Conv2d) else math.prod(shape[1:-1])
            found[name] = found.get(name, 0) + uses

        return layers[name].register_forward_hook(hook)

    hooks = [watch(name) for name in layers]
    try:
        with evaluating(network):
            network(*inputs_of(example))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"it does not take the example ({str(error).splitlines()[0]})",
            where=type(network).__name__,
            fix="Give an example as the network takes it, with the batch first.",
        ) from error
    finally:
        for handle in hooks:
            handle.remove()
    return found
