"""Layers with quantized weights, the model's input, and the XNOR-Net block."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.nn.quantizers import APSQ, ActivationQuantizer, Affine8, Sign, WeightQuantizer, XNORNet


class MaskedWeights(nn.Module):
    """A layer whose weights can be masked: masked weights are exactly zero.

    Attributes:
        weight: [O, I, ...].
        weight_mask: bool, shape of `weight`, True for the weights that are kept; None for all. Part of the state dict.
    """

    weight: Tensor
    weight_mask: Tensor | None

    def set_weight_mask(self, mask: Tensor | None) -> None:
        """Sets the mask: from now on the weights that it excludes are zero.

        Args:
            mask: bool, of the weights' shape, or [O, I] for whole kernels; copied. None takes the mask away.

        Raises:
            ModelError: it is not bool, or does not fit.
        """
        if mask is None:
            self.weight_mask = None
            return
        shape = self.weight.shape
        if mask.dtype != torch.bool or mask.shape not in (shape, shape[:2]):
            raise ModelError(
                f"a mask {mask.dtype} {list(mask.shape)} for weights {list(shape)}",
                where=type(self).__name__,
                fix=f"Give torch.bool {list(shape)} or {list(shape[:2])}, True for what is kept.",
            )
        inner = (1,) * (len(shape) - mask.dim())
        self.weight_mask = mask.reshape(*mask.shape, *inner).expand(shape).to(self.weight.device, copy=True)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any, **options: Any) -> None:
        # A buffer that is None cannot be loaded: without this, a layer without a mask would reject the state of a
        # pruned one.
        if self.weight_mask is None and (mask := state_dict.get(f"{prefix}weight_mask")) is not None:
            self.set_weight_mask(mask)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)


class _QuantizedWeights(MaskedWeights):
    """What quantized layers share.

    Attributes:
        weight: the real weights, which are trained.
        weight_quantizer: turns them into the weights that the layer computes with.
        input_quantizer: applied to the input first (the model's input, say), or None.
    """

    weight_quantizer: WeightQuantizer
    input_quantizer: ActivationQuantizer | None

    def _attach(self, weight_quantizer: WeightQuantizer, input_quantizer: ActivationQuantizer | None) -> None:
        self.weight_quantizer = weight_quantizer
        self.input_quantizer = input_quantizer
        self.register_buffer("weight_mask", None)
        weight_quantizer.prepare(self.weight.shape)

    def _input(self, x: Tensor) -> Tensor:
        return x if self.input_quantizer is None else self.input_quantizer(x)

    def quantized_weight(self) -> Tensor:
        """The weights that the layer computes with."""
        return self.weight_quantizer(self.weight, self.weight_mask)

    def weight_codes(self) -> tuple[np.ndarray, IntegerEncoding]:
        """Codes of the weights (shape of `weight`: OIHW or OI) and their encoding."""
        return self.weight_quantizer.codes(self.weight, self.weight_mask)

    def kernel_scales(self) -> np.ndarray | None:
        """APSQ's scalings per kernel, [O, I] uint16: weights = scale * kernel_scales * integers; else None."""
        return self.weight_quantizer.kernel_scales(self.weight, self.weight_mask)


class QuantConv2d(_QuantizedWeights, nn.Conv2d):
    """nn.Conv2d with quantized weights. Padding is with zeros: taps outside the input add nothing, with one-bit weights
    too.

    Args:
        weight_quantizer: of this layer alone.
        input_quantizer: applied to the input first.
        Others: as nn.Conv2d's.

    Raises:
        UnsupportedError: `padding_mode` is not "zeros".
    """

    def __init__(
        self,
        *args: Any,
        weight_quantizer: WeightQuantizer,
        input_quantizer: ActivationQuantizer | None = None,
        **kwargs: Any,
    ) -> None:
        nn.Conv2d.__init__(self, *args, **kwargs)
        if self.padding_mode != "zeros":
            raise UnsupportedError(
                f"padding mode {self.padding_mode!r}", where="QuantConv2d", fix='Use "zeros", or a padding layer.'
            )
        self._attach(weight_quantizer, input_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(self._input(x), self.quantized_weight(), self.bias)


class QuantLinear(_QuantizedWeights, nn.Linear):
    """nn.Linear with quantized weights.

    Args:
        weight_quantizer: of this layer alone.
        input_quantizer: applied to the input first.
        Others: as nn.Linear's.
    """

    def __init__(
        self,
        *args: Any,
        weight_quantizer: WeightQuantizer,
        input_quantizer: ActivationQuantizer | None = None,
        **kwargs: Any,
    ) -> None:
        nn.Linear.__init__(self, *args, **kwargs)
        self._attach(weight_quantizer, input_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self._input(x), self.quantized_weight(), self.bias)


class InputQuant(Affine8):
    """Quantizes the model's input to int8 (Affine8 with a running range), the board's input format."""


def xnor_block(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    activation: str | None = None,
    weight_quantizer: WeightQuantizer | None = None,
    **options: Any,
) -> nn.Sequential:
    """XNOR-Net's order: batch normalisation, sign, binary convolution without bias, and the given activation.

    M. Rastegari et al., "XNOR-Net", ECCV 2016, section 3.2; the thesis calls this re-ordered layers (5.2.1.1).

    Args:
        in_channels: C_in; `out_channels` and `kernel_size` as of nn.Conv2d, as others are: `stride`, `padding`.
        activation: None, "relu" or "prelu" (one slope per channel).
        weight_quantizer: XNORNet() unless given.
    """
    after: list[nn.Module] = []
    if activation == "relu":
        after.append(nn.ReLU())
    elif activation == "prelu":
        after.append(nn.PReLU(out_channels))
    elif activation is not None:
        raise UnsupportedError(f"activation {activation!r}", where="xnor_block", fix="Use relu, prelu or None.")
    convolution = QuantConv2d(
        in_channels,
        out_channels,
        kernel_size,
        bias=False,
        weight_quantizer=weight_quantizer or XNORNet(),
        **options,
    )
    return nn.Sequential(nn.BatchNorm2d(in_channels), Sign(), convolution, *after)


@torch.no_grad()
def clip_weights(network: nn.Module, limit: float = 1.0) -> None:
    """Clips the real weights of all quantized layers to [-limit, limit]; BinaryConnect does so after each step."""
    for layer in network.modules():
        if isinstance(layer, _QuantizedWeights):
            layer.weight.clamp_(-limit, limit)


def angle_regulariser(network: nn.Module) -> Tensor:
    """R_APSQ (6.7): the mean over all kernels of all APSQ layers of 1 - cos(v, Quant(v)); 0 without such layers.

    Add beta times it to the loss (6.6), with beta rising over the epochs.
    """
    total, kernels = torch.zeros(()), 0
    for layer in network.modules():
        if isinstance(layer, _QuantizedWeights) and isinstance(layer.weight_quantizer, APSQ):
            count = layer.weight_quantizer.vectors(layer.weight, layer.weight_mask)
            total = total + count * layer.weight_quantizer.penalty(layer.weight, layer.weight_mask)
            kernels += count
    return total / max(kernels, 1)


def freeze_weights(network: nn.Module) -> None:
    """Freezes the quantized weights of all APSQ layers, for the final fine-tuning of batch norm (6.4.5)."""
    for layer in network.modules():
        if isinstance(layer, _QuantizedWeights) and isinstance(layer.weight_quantizer, APSQ):
            layer.weight_quantizer.freeze()
            layer.weight.requires_grad_(False)
