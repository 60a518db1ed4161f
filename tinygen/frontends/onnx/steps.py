"""What happens to floats between an operator and its quantizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.elementwise import CodesSource
from tinygen.frontends.onnx.sources.pools import apply_pools
from tinygen.frontends.onnx.targets import Target
from tinygen.frontends.onnx.values import Coded, Pending, Value
from tinygen.ir.encodings import Affine


def pending_of(builder: Builder, value: Value) -> Pending | None:
    """A value as floats before their quantizer; None if its codes are not known."""
    if isinstance(value, Pending):
        return value
    if isinstance(value, Coded) and not value.raw:
        source = CodesSource(builder, value.tensor)
        return Pending(source, source.chain(), value.layout)
    return None


def stepped(pending: Pending, step: Callable[[Chain], Chain]) -> Pending:
    return replace(pending, chain=step(pending.chain))


def quantize(builder: Builder, pending: Pending, target: Target) -> Coded:
    """Pending floats as codes, by the target's quantizer."""
    tensor = apply_pools(builder, pending, pending.source.quantized(pending.chain, target))
    shift = target.raw_shift
    if isinstance(target.encoding, Affine) and isinstance(tensor.encoding, Affine):
        shift += target.encoding.zero_point[0] - tensor.encoding.zero_point[0]
    return Coded(tensor, pending.layout, raw_shift=shift)


def per_channel(array: np.ndarray, pending: Pending, what: str) -> np.ndarray:
    """A constant operand as one value, or one per channel.

    Raises:
        UnsupportedError: the operand varies along other dimensions.
    """
    flat = np.asarray(array, np.float64)
    if flat.size == 1:
        return flat.reshape(-1)
    axis, shape = pending.channel_dim(), pending.shape
    aligned = flat.reshape((1,) * max(len(shape) - flat.ndim, 0) + flat.shape)
    fits = axis is not None and aligned.ndim == len(shape) and aligned.size == aligned.shape[axis]
    if not fits:
        raise UnsupportedError(
            f"its {what} of shape {list(array.shape)} differs along more than the channels of {list(shape)}",
            fix="Only one value per channel, or one for all, folds into a layer.",
        )
    return aligned.reshape(-1)


def may_be_negative(pending: Pending) -> bool:
    """Whether the chain can give a real value below 0."""
    reach = pending.source.reach()
    chain = pending.chain
    for channel in range(chain.channels):
        ends = [chain.gain[channel] * int(end[channel]) + chain.offset[channel] for end in (reach.low, reach.high)]
        if min(max(min(ends), chain.low[channel]), chain.high[channel]) < 0:
            return True
    return False
