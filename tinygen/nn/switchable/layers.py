"""Layers whose weights all switches share: each switch quantizes them in its own way and uses its first rows and
columns.

A narrower switch takes its rows and columns of the quantized tensor, not of the real one: all statistics that a
quantizer takes over the tensor (TanhQuant's maximum, LogQuant's exponents, a mean) are those of the full width, so that
the codes of a narrower switch are exactly those of the wider one, the first rows and columns of them. One array in
flash serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tinygen.errors import UnsupportedError
from tinygen.nn.layers import MaskedWeights, QuantConv2d, QuantLinear
from tinygen.nn.quantizers import ActivationQuantizer, WeightQuantizer
from tinygen.nn.quantizers.zeros import only
from tinygen.nn.switchable.base import Switchable
from tinygen.nn.switchable.part import PartOf
from tinygen.nn.switchable.runs import Index, Run, elements, index_of
from tinygen.nn.switchable.spec import FLOAT_BITS, SwitchSpec


class SharedWeights(Switchable, MaskedWeights):
    """The base of switchable layers.

    Attributes:
        weight, bias: real, of the full width; so is `weight_mask`.
        weight_quantizers: one per number of weight bits, by that number.
        input_quantizer: applied to the input first, in all switches of quantized activations; or None.
        inputs, outputs: the channels, and which of them slim.
    """

    bias: Tensor | None
    input_quantizer: ActivationQuantizer | None
    inputs: tuple[Run, ...]
    outputs: tuple[Run, ...]

    def _attach(
        self,
        switches: Sequence[SwitchSpec],
        quantizer: Callable[[int], WeightQuantizer],
        input_quantizer: ActivationQuantizer | None,
        inputs: Sequence[Run],
        outputs: Sequence[Run],
    ) -> None:
        self._switched_by(switches)
        self.register_buffer("weight_mask", None)
        bits = dict.fromkeys(spec.weight_bits for spec in switches if spec.weight_bits != FLOAT_BITS)
        self.weight_quantizers = nn.ModuleDict({str(count): quantizer(count) for count in bits})
        for made in self.weight_quantizers.values():
            made.prepare(self.weight.shape)
        self.input_quantizer = input_quantizer
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._kept = {spec.width: (index_of(self.outputs, spec.width), self._columns(spec.width)) for spec in switches}

    def _columns(self, width: float) -> Index:
        return index_of(self.inputs, width)

    def _quantizer(self, spec: SwitchSpec) -> WeightQuantizer | None:
        """The quantizer of a switch's weights; None if they stay real."""
        return None if spec.weight_bits == FLOAT_BITS else self.weight_quantizers[str(spec.weight_bits)]

    def _entry(self, spec: SwitchSpec) -> ActivationQuantizer | None:
        return None if spec.activation_bits == FLOAT_BITS else self.input_quantizer

    def _operands(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Input, weights and bias as the switch has them."""
        entry, quantizer = self._entry(self.switch), self._quantizer(self.switch)
        kept = self.weight_mask
        whole = only(self.weight, kept) if quantizer is None else quantizer(self.weight, kept)
        rows, columns = self._kept[self.switch.width]
        bias = None if self.bias is None else self.bias[rows]
        return x if entry is None else entry(x), whole[rows][:, columns], bias

    def _fill(self, plain: nn.Module, spec: SwitchSpec) -> nn.Module:
        """Copies the weights and the bias of a switch into a plain layer of its size."""
        rows, columns = self._kept[spec.width]
        plain.weight.data = only(self.weight, self.weight_mask).detach()[rows][:, columns].clone()
        if isinstance(plain, MaskedWeights) and self.weight_mask is not None:
            plain.set_weight_mask(self.weight_mask[rows][:, columns])
        if self.bias is not None:
            plain.bias.data = self.bias.detach()[rows].clone()
        entry = self._entry(spec)
        if self._quantizer(spec) is not None:
            plain.requires_grad_(False)  # of part of the weights, quantized as the whole was
        elif entry is not None:
            plain = nn.Sequential(entry, plain)
        return plain.train(self.training)

    def _options(self, spec: SwitchSpec) -> dict[str, Any]:
        """The options of the plain layer of a switch."""
        made: dict[str, Any] = {"bias": self.bias is not None, "device": self.weight.device, "dtype": self.weight.dtype}
        quantizer = self._quantizer(spec)
        if quantizer is not None:
            made["weight_quantizer"] = PartOf(quantizer, self.weight, *self._kept[spec.width], self.weight_mask)
            made["input_quantizer"] = self._entry(spec)
        return made


class SwitchableConv2d(SharedWeights, nn.Conv2d):
    """nn.Conv2d, switchable; depthwise ones slim with their input, other groups do not slim.

    Args:
        switches: in order.
        weight_quantizer: makes a quantizer of a number of bits; one is made for each.
        input_quantizer: applied to the input first where activations are quantized.
        inputs, outputs: which channels slim; all unless given.
        Others: as nn.Conv2d's.

    Raises:
        UnsupportedError: `padding_mode` is not "zeros", or channels in groups slim.
    """

    def __init__(
        self,
        *args: Any,
        switches: Sequence[SwitchSpec],
        weight_quantizer: Callable[[int], WeightQuantizer],
        input_quantizer: ActivationQuantizer | None = None,
        inputs: Sequence[Run] | None = None,
        outputs: Sequence[Run] | None = None,
        **kwargs: Any,
    ) -> None:
        nn.Conv2d.__init__(self, *args, **kwargs)
        if self.padding_mode != "zeros":
            raise UnsupportedError(
                f"padding mode {self.padding_mode!r}", where="SwitchableConv2d", fix='Use "zeros", or a padding layer.'
            )
        given = (Run(self.in_channels),) if inputs is None else inputs
        made = (Run(self.out_channels),) if outputs is None else outputs
        slims = any(run.slims for run in (*given, *made)) and any(spec.width < 1 for spec in switches)
        if slims and self.groups > 1 and not (self.depthwise and tuple(given) == tuple(made)):
            raise UnsupportedError(
                f"{self.groups} groups of channels do not slim",
                where="SwitchableConv2d",
                fix="Use depthwise convolutions (as many outputs as inputs), one group, or only width 1.",
            )
        self._attach(switches, weight_quantizer, input_quantizer, given, made)

    @property
    def depthwise(self) -> bool:
        """Whether every channel is filtered by itself."""
        return self.groups == self.in_channels == self.out_channels and self.groups > 1

    def _columns(self, width: float) -> Index:
        return slice(None) if self.groups > 1 else index_of(self.inputs, width)

    def _groups(self, width: float) -> int:
        return elements(self.inputs, width) if self.depthwise else self.groups

    def forward(self, x: Tensor) -> Tensor:
        x, weight, bias = self._operands(x)
        groups = self._groups(self.switch.width)
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)

    def at(self, spec: SwitchSpec) -> nn.Module:
        options = self._options(spec)
        kind = QuantConv2d if "weight_quantizer" in options else nn.Conv2d
        plain = kind(
            elements(self.inputs, spec.width),
            elements(self.outputs, spec.width),
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self._groups(spec.width),
            **options,
        )
        return self._fill(plain, spec)


class SwitchableLinear(SharedWeights, nn.Linear):
    """nn.Linear, switchable.

    Args:
        switches: in order.
        weight_quantizer: makes a quantizer of a number of bits; one is made for each.
        input_quantizer: applied to the input first where activations are quantized.
        inputs, outputs: which features slim; all unless given.
        Others: as nn.Linear's.
    """

    def __init__(
        self,
        *args: Any,
        switches: Sequence[SwitchSpec],
        weight_quantizer: Callable[[int], WeightQuantizer],
        input_quantizer: ActivationQuantizer | None = None,
        inputs: Sequence[Run] | None = None,
        outputs: Sequence[Run] | None = None,
        **kwargs: Any,
    ) -> None:
        nn.Linear.__init__(self, *args, **kwargs)
        given = (Run(self.in_features),) if inputs is None else inputs
        made = (Run(self.out_features),) if outputs is None else outputs
        self._attach(switches, weight_quantizer, input_quantizer, given, made)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(*self._operands(x))

    def at(self, spec: SwitchSpec) -> nn.Module:
        options = self._options(spec)
        kind = QuantLinear if "weight_quantizer" in options else nn.Linear
        return self._fill(kind(elements(self.inputs, spec.width), elements(self.outputs, spec.width), **options), spec)
