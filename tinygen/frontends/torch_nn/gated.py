"""Gated convolutions: a statistic, a head, winners, and a convolution that computes the live channels."""

from __future__ import annotations

import math

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.torch_nn import layers, mixed, operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Value
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.channel_lists import LARGEST_GAMMA
from tinygen.ir.ops.channel_statistic import Statistic
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.window import Padding
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.mixed import CondConv2d

_MOST_SHIFT = 46
_LARGEST_BIAS = 2**30


def convolution(builder: Builder, module: GatedConv2d, x: Value, where: str) -> Coded:
    """The live channels of a gated convolution.

    Raises:
        UnsupportedError: its input is not an image of codes, or its constants are out of range.
    """
    source = x if isinstance(x, Coded) and x.live is not None else operands.image(builder, x, where)
    listed = "" if source.live is None else source.live.name
    saliency = _saliency(builder, module, source, listed, where)
    head = layers.dense(builder, module.head, saliency, f"{where}.head")
    relu = head.then(head.chain.relu())
    scores = layers.activation_quantizer(builder, module.gamma_quantizer, relu, f"{where}.scores")
    gamma, live = builder.winners(scores.tensor, module.k, f"{where}.winners")
    made = _convolution(builder, module, source, (listed, live.name, gamma.name), where)
    return Coded(made.tensor, live=live)


def _saliency(builder: Builder, module: GatedConv2d, x: Coded, listed: str, where: str) -> Coded:
    """The mean magnitude of each channel, dead ones included."""
    name, channels = f"{where}.saliency", module.head.in_features
    means = mixed.means(x, listed, channels, Statistic.MAGNITUDE, name)
    return layers.activation_quantizer(builder, module.saliency_quantizer, means, name)


def _convolution(builder: Builder, module: GatedConv2d, x: Coded, names: tuple[str, str, str], where: str) -> Coded:
    """
    Args:
        names: of the list of live inputs ("" for all), of the list of live outputs, of the gammas.
    """
    listed, live, gamma = names
    inner = module.convolution
    if isinstance(inner, CondConv2d):
        weights, scales = mixed.weights(builder, inner, x, (listed, live), f"{where}.convolution")
        listed = ""
    else:
        codes, encoding = inner.weight_codes()
        weights = builder.constant(f"{where}.weight", np.moveaxis(codes, 1, -1), encoding)
        scales = np.array(encoding.scale)
    rows, columns = layers.paddings(inner)
    epilogue, bias = _epilogue(module, float(x.gain), scales, where)
    made = builder.write(
        GatherConv2D,
        where,
        (x.tensor.name, weights, listed, live, gamma),
        module.quantizer.encoding(),
        where,
        padding=Padding.VALID,
        stride=tuple(inner.stride),
        row_padding=rows,
        column_padding=columns,
        epilogue=epilogue,
        bias=bias,
    )
    return Coded(made)


def _epilogue(module: GatedConv2d, x: float, weights: np.ndarray, where: str) -> tuple[Rescale, tuple[int, ...]]:
    """The rescale from accumulators and gammas to codes, and the biases (docs/gated.md, "Gamma").

    Multipliers have as many bits as keep the product with a gamma within 32 bits; the mean of the batch norm is rounded
    to a whole accumulator.

    Args:
        x: real value of an integer of 1 in the input.
        weights: scale of each filter.
    """
    norm, made = module.norm, module.quantizer.encoding()
    assert norm.running_mean is not None and norm.running_var is not None and isinstance(made, Affine)
    mean, variance = (values.detach().double().numpy() for values in (norm.running_mean, norm.running_var))
    step, gamma = made.scale[0], module.gamma_quantizer.encoding().scale[0]
    products = x * weights
    slopes = gamma * products / np.sqrt(variance + norm.eps) / step
    shifts = [min(_MOST_SHIFT, math.floor(math.log2((2**31 - 1) / LARGEST_GAMMA / slope))) for slope in slopes]
    bias = np.floor(-mean / products + 0.5)
    if min(shifts) < 0 or np.abs(bias).max() > _LARGEST_BIAS:
        raise UnsupportedError(
            "channels of a batch norm whose variance is far too small", where=where, fix="Train it longer."
        )
    middle = module.beta.detach().double().numpy() / step + made.zero_point[0] + 0.5
    epilogue = Rescale(
        tuple(math.floor(slope * 2.0**shift) for slope, shift in zip(slopes, shifts, strict=True)),
        tuple(math.floor(value * 2.0**shift) for value, shift in zip(middle, shifts, strict=True)),
        tuple(shifts),
        made.zero_point[0],
        made.code_range[1],
    )
    return epilogue, tuple(int(value) for value in bias)
