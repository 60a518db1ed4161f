"""Fire together, wire together: how many MAC masks save, estimated before predictors are trained.

S. Elkerdawy, "Static and Dynamic Deep Neural Network Pruning", PhD thesis, University of Alberta 2022, section 6.3.3.
Labels and the modules that learn them are in `tinygen.nn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tinygen.errors import ModelError
from tinygen.frontends.torch_nn.read import Tracer
from tinygen.nn.fire_together import (
    MaskedConv2d,
    firing_labels,
    masked_layers,
    maxima,
    prediction_loss,
    winning_labels,
)

__all__ = [
    "FiringProfile",
    "MaskedLayer",
    "firing_labels",
    "firing_profile",
    "maxima",
    "prediction_loss",
    "winning_labels",
]

_Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]
_KEEP = (nn.MaxPool2d, nn.Identity, nn.Dropout, nn.Dropout2d)
"""Zeros of a channel stay zeros behind these."""


@dataclass(frozen=True)
class MaskedLayer:
    """A convolution with a mask on its outputs.

    Attributes:
        pixels: of its output.
        taps: of its window.
        inputs, outputs: channels.
        source: the layer whose mask its inputs have; "" where all of them are read.
    """

    pixels: int
    taps: int
    inputs: int
    outputs: int
    source: str = ""

    @property
    def macs(self) -> int:
        """With all channels."""
        return self.pixels * self.taps * self.inputs * self.outputs

    @property
    def predictor_macs(self) -> int:
        """Of the dense layer from inputs to masks."""
        return self.inputs * self.outputs


@dataclass(frozen=True, eq=False)
class FiringProfile:
    """MAC of a trained dense network at each mass r, before any predictor is trained (section 6.3.3).

    Attributes:
        layers: by name.
        peaks: `maxima` of their outputs over a data set, [N, C] by name, of the same inputs in the same order.
    """

    layers: Mapping[str, MaskedLayer]
    peaks: Mapping[str, Tensor]

    def macs(self, mass: float, *, skip_inputs: bool = True) -> float:
        """Mean MAC of an input, predictors included.

        Args:
            mass: r.
            skip_inputs: dead inputs are not read, as the C does; else only dead outputs are skipped.
        """
        live = {name: firing_labels(peaks, mass).sum(dim=1).double() for name, peaks in self.peaks.items()}
        total = 0.0
        for name, layer in self.layers.items():
            reads = skip_inputs and layer.source
            inputs = live[layer.source] if reads else torch.full_like(live[name], layer.inputs)
            total += float((live[name] * inputs).mean()) * layer.pixels * layer.taps + layer.predictor_macs
        return total

    def reduction(self, mass: float, *, skip_inputs: bool = True) -> float:
        """Share of the dense MAC that is saved, net of the predictors' MAC; negative if these cost more."""
        return 1 - self.macs(mass, skip_inputs=skip_inputs) / sum(layer.macs for layer in self.layers.values())

    def mass_for(self, reduction: float, *, skip_inputs: bool = True, steps: int = 30) -> float:
        """The largest r, with a resolution of 2**-steps, that saves at least this share.

        Raises:
            ModelError: none does.
        """
        low, high = 0.0, 1.0
        if self.reduction(high, skip_inputs=skip_inputs) >= reduction:
            return high
        for _ in range(steps):
            middle = (low + high) / 2
            if self.reduction(middle, skip_inputs=skip_inputs) >= reduction:
                low = middle
            else:
                high = middle
        if low == 0.0:
            raise ModelError(f"no mass spares {100 * reduction:.1f} % of the MAC", where="FiringProfile")
        return low


@torch.no_grad()
def firing_profile(network: nn.Module, batches: Iterable[Tensor]) -> FiringProfile:
    """The profile of a network with `MaskedConv2d` layers that computes all filters: the dense network, trained before.

    Args:
        network: evaluated without masks; modes are put back afterwards.
        batches: inputs of the network.

    Raises:
        ModelError: there are no such layers, or no batches.
    """
    layers = masked_layers(network)
    masking = {name: layer.masking for name, layer in layers.items()}
    training = [part for part in network.modules() if part.training]
    peaks: dict[str, list[Tensor]] = {name: [] for name in layers}
    pixels: dict[str, int] = {}
    hooks = [layer.register_forward_hook(_counting(name, pixels)) for name, layer in layers.items()]
    network.eval()
    try:
        for layer in layers.values():
            layer.masking = False
        for batch in batches:
            network(batch)
            for name, layer in layers.items():
                assert layer.peaks is not None
                peaks[name].append(layer.peaks)
    finally:
        for hook in hooks:
            hook.remove()
        for name, layer in layers.items():
            layer.masking = masking[name]
        for part in training:
            part.training = True
    if not pixels:
        raise ModelError("no layer with masks, or no inputs", where="firing_profile")
    sources = _sources(network)
    shapes = {name: _shape(layer, pixels[name], sources.get(name, "")) for name, layer in layers.items()}
    return FiringProfile(shapes, {name: torch.cat(rows) for name, rows in peaks.items()})


def _counting(name: str, pixels: dict[str, int]) -> _Hook:
    def count(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        pixels[name] = made.shape[2] * made.shape[3]

    return count


def _shape(layer: MaskedConv2d, pixels: int, source: str) -> MaskedLayer:
    inner = layer.convolution
    return MaskedLayer(
        pixels, inner.kernel_size[0] * inner.kernel_size[1], inner.in_channels, inner.out_channels, source
    )


def _sources(network: nn.Module) -> dict[str, str]:
    """For each layer whose inputs another layer masks, with at most pools between: the name of that layer."""
    parts = dict(network.named_modules())
    found = {}
    for node in Tracer().trace(network).nodes:
        if node.op != "call_module" or not isinstance(parts[str(node.target)], MaskedConv2d):
            continue
        before = node.args[0]
        while (
            isinstance(before, fx.Node) and before.op == "call_module" and isinstance(parts[str(before.target)], _KEEP)
        ):
            before = before.args[0]
        if isinstance(before, fx.Node) and isinstance(parts.get(str(before.target)), MaskedConv2d):
            found[str(node.target)] = str(before.target)
    return found
