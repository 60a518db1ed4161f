"""Convolutions with mixed weights: a mean, a router, shares, experts, and a convolution with their weighted sum."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import layers, operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Value, linear
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.channel_statistic import ChannelStatistic, Statistic
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.window import Padding, axis
from tinygen.nn.mixed import ROUTING, SHARES, CondConv2d

_CODES = Affine("int8", (1.0,), (0,))
"""Of mixed weights: what they stand for depends on the channel, which lists choose."""


def convolution(builder: Builder, module: CondConv2d, x: Value, where: str) -> Pending:
    """Accumulators of a convolution with mixed weights.

    Raises:
        UnsupportedError: its input is not an image of codes.
    """
    source = operands.image(builder, x, where)
    made, scales = weights(builder, module, source, ("", ""), where)
    rows, columns = layers.paddings(module)
    fields = {"padding": Padding.VALID, "stride": module.stride, "row_padding": rows, "column_padding": columns}
    geometry = zip(source.tensor.shape[1:3], module.kernel_size, module.stride, (rows, columns), strict=True)
    sizes = [axis(n, kernel, stride, 1, Padding.VALID, pad).output for n, kernel, stride, pad in geometry]
    taps = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
    largest = np.full(module.out_channels, 127 * taps * max(map(abs, source.ends())))
    chain = linear((source.gain,) * module.out_channels).affine(scales, 0.0)
    inputs, shape = (source.tensor.name, made), (1, *sizes, module.out_channels)
    return Pending(GatherConv2D, fields, inputs, shape, chain, Reach(-largest, largest), where)


def means(x: Coded, listed: str, channels: int, statistic: Statistic, where: str) -> Pending:
    """The mean of each channel, or of its magnitudes; dead ones are 0.

    Args:
        x: an image of codes, with all channels or those in the list.
        listed: the list's name, "" for all.
        channels: number of live and dead channels.
    """
    _, height, width, _ = x.tensor.shape
    pixels = height * width
    low, high = (pixels * end for end in x.ends())
    ends = (0, max(-low, high)) if statistic is Statistic.MAGNITUDE else (min(low, 0), max(high, 0))
    reach = Reach(*(np.full(channels, end) for end in ends))
    inputs = (x.tensor.name, listed) if listed else (x.tensor.name,)
    chain = linear((x.gain / pixels,) * channels)
    return Pending(ChannelStatistic, {"statistic": statistic}, inputs, (1, channels), chain, reach, where)


def weights(
    builder: Builder, module: CondConv2d, x: Coded, lists: tuple[str, str], where: str
) -> tuple[str, np.ndarray]:
    """The name of the mixed weights, and the real value of an integer of 1 in each output channel.

    Args:
        x: the input, with all channels or those in the first list.
        lists: of live inputs and of live outputs, "" for all.
    """
    mean = means(x, lists[0], module.in_channels, Statistic.SUM, f"{where}.mean")
    known = layers.activation_quantizer(builder, module.mean_quantizer, mean, f"{where}.mean")
    logits = layers.dense(builder, module.router, known, f"{where}.router")
    coded = layers.activation_quantizer(builder, module.logit_quantizer, logits, f"{where}.logits")
    shares = builder.write(ROUTING[module.routing], f"{where}.shares", (coded.tensor.name,), SHARES, f"{where}.shares")
    codes, scale = module.expert_codes()
    scales = scale.double().numpy()
    encoding = Affine("int8", tuple(scales.tolist()), (0,) * len(scales), 1)
    experts = builder.constant(f"{where}.experts", np.moveaxis(codes.numpy(), 2, -1), encoding)
    name = f"{where}.mixed"
    made = builder.write(MixWeights, name, (shares.name, experts, *lists), _CODES, name, epilogue=module.rounding())
    return made.name, scales * module.mixed_step()
