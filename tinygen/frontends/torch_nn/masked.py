"""Convolutions with predicted masks: maxima, a softmax, logits, a list, and a convolution with the live filters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import layers, operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Value, linear
from tinygen.ir.encodings import Affine, ChannelList, Levels
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.channel_statistic import ChannelStatistic, Statistic
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.positive_channels import PositiveChannels
from tinygen.ir.ops.softmax_numerator import LARGEST, SoftmaxNumerator
from tinygen.ir.tensor import Tensor
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.mask_predictors import MaskPredictor, RandomMask

_POWERS = Levels((1 / LARGEST,), bits=8, signed=False)
_SAME = Rescale((1,), (0,), (0,), -(2**31 - 1), 2**31 - 1)


def convolution(builder: Builder, module: MaskedConv2d, x: Value, where: str) -> Coded:
    """All channels, with zeros in the dead ones; for a fixed signature, the live channels only.

    Raises:
        UnsupportedError: its input is not an image of codes, or its weights have a scale for each kernel.
    """
    if not module.masking:
        fix = "Set masking to True; or train a QuantConv2d, a batch norm and a quantizer instead."
        raise UnsupportedError("a layer with a predictor that is not used", where=where, fix=fix)
    if isinstance(module.predictor, RandomMask):
        return _fixed(builder, module, x, where)
    if module.convolution.kernel_scales() is not None:
        fix = "Give it another weight quantizer."
        raise UnsupportedError("a mask over weights with a scale for each kernel", where=where, fix=fix)
    partial = module.k is not None and isinstance(x, Coded) and x.live is not None
    source = x if partial and isinstance(x, Coded) else operands.image(builder, x, where)
    scores = _logits(builder, module.predictor, source, where)
    sums = layers.convolution(builder, module.convolution, replace(source, live=None), where)
    if module.k is None:
        name, counted = f"{where}.live", ChannelList(scores.shape[-1], counted=True)
        live = builder.write(PositiveChannels, name, (scores.name,), counted, name)
        masked = _with(sums, MaskedConv2D, (source.zeros, live), sums.shape)
        return replace(_ended(builder, module, masked, where), zeros=live)
    _, live = builder.winners(scores, module.k, f"{where}.winners")
    gathered = _with(sums, GatherConv2D, (source.live, live), (*sums.shape[:3], module.k))
    return replace(_ended(builder, module, gathered, where), live=live)


def _fixed(builder: Builder, module: MaskedConv2d, x: Value, where: str) -> Coded:
    """A convolution whose filters that are not in a random list give zeros for every input."""
    assert isinstance(module.predictor, RandomMask) and module.k is not None
    kept = module.predictor.kept(module.k).double().numpy()
    sums = layers.convolution(builder, module.convolution, operands.image(builder, x, where), where)
    return _ended(builder, module, sums, where, kept)


def _logits(builder: Builder, predictor: MaskPredictor, x: Coded, where: str) -> Tensor:
    """Integers, int32 [1, filters], proportional to the logits with a positive factor."""
    inputs, listed = predictor.weight.shape[1], "" if x.live is None else x.live.name
    low, high = x.ends()
    reach = Reach(np.full(inputs, min(low, 0)), np.full(inputs, max(high, 0)))
    names = (x.tensor.name, listed) if listed else (x.tensor.name,)
    chain, fields = linear((x.gain,) * inputs), {"statistic": Statistic.MAXIMUM}
    peaks = Pending(ChannelStatistic, fields, names, (1, inputs), chain, reach, f"{where}.maxima")
    coded = layers.activation_quantizer(builder, predictor.quantizer, peaks, f"{where}.maxima")
    given = coded.tensor
    if predictor.softmax:
        given = builder.write(SoftmaxNumerator, f"{where}.powers", (given.name,), _POWERS, f"{where}.powers")
    codes, step = predictor.codes()
    scale = step / given.integer.scale[0]
    weights = builder.constant(f"{where}.predictor", codes, Affine("int8", (scale,), (0,)))
    name, encoding = f"{where}.logits", Affine("int32", (step,), (0,))
    ending = replace(_SAME, offset=predictor.biases())
    return builder.write(FullyConnected, name, (given.name, weights), encoding, name, epilogue=ending)


def _with(
    sums: Pending, op: type[MaskedConv2D | GatherConv2D], lists: tuple[Tensor | None, Tensor], shape: tuple[int, ...]
) -> Pending:
    """The convolution with lists of live inputs and outputs."""
    names = ("" if each is None else each.name for each in lists)
    return replace(sums, op=op, inputs=(*sums.inputs, *names), shape=shape)


def _ended(builder: Builder, module: MaskedConv2d, sums: Pending, where: str, kept: np.ndarray | float = 1.0) -> Coded:
    """The codes after batch norm and ReLU, times 1 or 0."""
    norm = module.norm
    assert norm.running_mean is not None and norm.running_var is not None
    values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, gamma, beta = (value.detach().double().numpy() for value in values)
    chain = sums.chain.batch_norm(mean, variance, norm.eps, gamma, beta).relu().affine(kept)
    return layers.activation_quantizer(builder, module.quantizer, sums.then(chain), where)
