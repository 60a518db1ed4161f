"""Masks that are trained with the task: one training finds which filters of each layer to remove, and how many.

S. Elkerdawy, "Neural Networks Model Compression: The Static, the Dynamic and the Shallow", thesis, University of
Alberta, 2022, chapter 3 (ICIP 2019). The thesis leaves some details open; chosen here: masks start at `start`, all
filters kept; the mask is applied to the input of each reader (behind batch norm, activation and pooling), so that a
zero is a zero for it whatever the activation; coupled filters share one mask; a layer whose masks would all be zero
keeps the filter of the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.compress.masks import prunable
from tinygen.compress.surgery.channels import ChannelMap
from tinygen.compress.surgery.rules import channel_map
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import UnsupportedError
from tinygen.nn import straight_through
from tinygen.nn.layers import QuantConv2d, QuantLinear


class JointMasks(nn.Module):
    """A network and masks on its filters, to be trained together.

        masked = JointMasks(network, example)
        rates = masked.parameter_groups(lr=0.02, mask_lr=2.0)
        finetune(masked, data, epochs, 0.02, penalty=masked.sparsity, parameters=rates)
        small = slim(network, example, masked.masks())

    The gradient of the sparsity loss is at most 1 / (4 filters) for each mask, so masks need a learning rate of their
    own.

    Forward (Eq. 3.4): F^m = F m^b, m^b = 1 where sigmoid(m^r) >= 0.5. Backward (Eq. 3.5): the gradient passes the
    threshold unchanged (straight-through) and the sigmoid with its derivative: dL/dm^r = dL/dm^b sigmoid(m^r) (1 -
    sigmoid(m^r)).

    Args:
        network: trained further in place, in the mode that this module is set to.
        example: its input, or inputs, with a batch in front.
        start: of all m^r; above 0, so that all filters are kept at first.

    Attributes:
        real: m^r, one for each filter or for each set of filters that go together.

    Raises:
        UnsupportedError: the network cannot be traced, nothing in it can go, or a layer quantizes what it is given.
        ModelError: the network does not take the example.
    """

    filters: Tensor

    def __init__(self, network: nn.Module, example: Example, start: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self._channels = channel_map(network, example)
        self._places = _places(self._channels)
        if not self._places:
            raise UnsupportedError(
                "no filter can go", where=type(network).__name__, fix="Give a network of more than one layer."
            )
        layer = next(iter(prunable(network).values()))
        self.real = nn.Parameter(torch.full((len(self._places),), float(start)).to(layer.weight))
        counts = np.zeros(len(self._places))
        for each in self._channels.layers.values():
            for number in each.outputs:
                if int(number) in self._places:
                    counts[self._places[int(number)]] += 1
        self.register_buffer("filters", torch.from_numpy(counts).to(layer.weight))
        self._readers = dict(self._reading())

    def _reading(self) -> Iterator[tuple[str, Tensor]]:
        """For each layer that reads removable filters, the indices of its inputs' masks; inputs that stay have one
        index past the last.
        """
        for name, layer in self._channels.layers.items():
            index = self._index(layer.inputs)
            if layer.depthwise or bool((index == len(self._places)).all()):
                continue
            module = self.network.get_submodule(name)
            if isinstance(module, (QuantConv2d, QuantLinear)) and module.input_quantizer is not None:
                raise UnsupportedError(
                    "its input is masked and then quantized, perhaps to something that is not zero",
                    where=name,
                    fix="Put the quantizer in front of the layer as a module of its own.",
                )
            yield name, index

    def _index(self, numbers: np.ndarray) -> Tensor:
        return torch.tensor([self._places.get(int(number), len(self._places)) for number in numbers])

    def forward(self, *inputs: Tensor) -> Any:
        """The network's output with the masks applied."""
        with self._masking(self.binary()):
            return self.network(*inputs)

    def binary(self) -> Tensor:
        """m^b, 0 or 1, with the gradient of sigmoid(m^r)."""
        return straight_through(torch.sigmoid(self.real), self._kept().to(self.real))

    def sparsity(self) -> Tensor:
        """L_mask (Eq. 3.2): kept filters over all filters, of all layers that have masks; add it to the task's loss.

        It is the sum of m^b rather than of |m^b|, which is the same but has a gradient at 0: every mask is pushed,
        those of removed filters too.
        """
        return (self.binary() * self.filters).sum() / self.filters.sum()

    def masks(self) -> dict[str, Tensor]:
        """Filter masks, bool [O] by layer."""
        kept = torch.cat([self._kept(), torch.ones(1, dtype=torch.bool, device=self.real.device)]).cpu()
        return {name: kept[self._index(layer.outputs)] for name, layer in self._channels.layers.items()}

    def parameter_groups(self, lr: float, mask_lr: float) -> list[dict[str, Any]]:
        """For an optimiser: the network at one rate, the masks at another, without weight decay."""
        return [
            {"params": list(self.network.parameters()), "lr": lr},
            {"params": [self.real], "lr": mask_lr, "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def _kept(self) -> Tensor:
        # sigmoid(m) >= 0.5 is m >= 0, without its rounding.
        kept = self.real >= 0
        for layer in self._channels.layers.values():
            index = self._index(layer.outputs)
            if bool((index < len(self._places)).all()) and not bool(kept[index].any()):
                kept[index[self.real[index].argmax()]] = True
        return kept

    @contextmanager
    def _masking(self, binary: Tensor) -> Iterator[None]:
        factors = torch.cat([binary, binary.new_ones(1)])
        hooks = [
            self.network.get_submodule(name).register_forward_pre_hook(_times(factors[index]))
            for name, index in self._readers.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _times(mask: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (given[0] * mask.reshape(1, -1, *(1,) * (given[0].dim() - 2)),)

    return hook


def _places(channels: ChannelMap) -> dict[int, int]:
    """The mask index of each removable channel, by channel number."""
    numbers = dict.fromkeys(
        int(number)
        for layer in channels.layers.values()
        for number in layer.outputs
        if int(number) not in channels.fixed
    )
    return {number: place for place, number in enumerate(numbers)}
