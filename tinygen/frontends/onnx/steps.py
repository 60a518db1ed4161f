"""What happens to floats between an operator and its quantizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.elementwise import CodesSource, as_int8
from tinygen.frontends.onnx.sources.pools import apply_pools
from tinygen.frontends.onnx.targets import Target
from tinygen.frontends.onnx.values import Coded, GraphInput, Pending, Value, in_order
from tinygen.ir.encodings import Affine, Float32, Plain
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.tensor import Tensor


def pending_of(builder: Builder, value: Value) -> Pending | None:
    """A value as floats before their quantizer; None if its codes are not known."""
    if isinstance(value, Pending):
        return value
    if isinstance(value, Coded) and not value.raw and not value.tensor.is_float:
        source = CodesSource(builder, value.tensor)
        return Pending(source, source.chain(), value.layout)
    return None


_INTEGERS = {"int64": "int32"}
"""Types of inputs, and ours: what 64 bits hold are positions."""


def real_of(builder: Builder, value: Value) -> Value:
    """The value as a float tensor, or integers that are no codes; constants as they are.

    Raises:
        UnsupportedError: it has no form in float.
    """
    if isinstance(value, GraphInput):
        encoding = Float32() if value.dtype.kind == "f" else Plain(_INTEGERS.get(value.dtype.name, value.dtype.name))
        return Coded(builder.encode_input(value, encoding), value.layout, raw=isinstance(encoding, Plain))
    if isinstance(value, Coded) and not value.raw and not value.tensor.is_float:
        return replace(value, tensor=_dequantized(builder, value.tensor), raw_shift=0)
    if isinstance(value, Pending):
        if value not in builder.reals:
            builder.reals[value] = _computed(builder, value)
        return builder.reals[value]
    return value


def _dequantized(builder: Builder, tensor: Tensor) -> Tensor:
    known = builder.reals.get(tensor.name)
    if known is None:
        plain = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
        codes = tensor if plain else as_int8(builder, tensor, "a conversion to float")
        name = builder.add(Dequantize, [codes.name], "real")
        known = in_order(builder.tensors[name])
        builder.reals[tensor.name] = known
    return known.tensor


def _computed(builder: Builder, value: Pending) -> Coded:
    """The floats of an operator: its exact sums times their scale, or the operator in float."""
    undo = builder.mark()
    try:
        if value.source.SUMS:
            tensor = apply_pools(builder, value, value.source.real(value.chain))
            return Coded(_dequantized(builder, tensor), value.layout)
    except UnsupportedError:
        undo()
    if value.in_float is None:
        raise UnsupportedError("a float that nothing quantizes", fix="Quantize it.")
    return value.in_float()


def stepped(pending: Pending, step: Callable[[Chain], Chain]) -> Pending:
    return replace(pending, chain=step(pending.chain))


def quantize(builder: Builder, pending: Pending, target: Target) -> Coded:
    """Pending floats as codes, by the target's quantizer; of an operator that only computes in float, its floats."""
    undo = builder.mark()
    try:
        return _folded(builder, pending, target)
    except UnsupportedError:
        if pending.in_float is None or not target.whole or pending.source.SUMS:
            raise
        undo()
    return quantize_real(builder, pending.in_float(), target)


def quantize_real(builder: Builder, value: Coded, target: Target) -> Coded:
    """Floats as codes.

    Raises:
        UnsupportedError: to fewer than 8 bits.
    """
    if not target.whole:
        raise UnsupportedError(
            f"floats cannot be quantized to {target.encoding}", fix="Quantize in front of the operator, too."
        )
    return replace(value, tensor=builder.emit(Quantize, [value.tensor], target.encoding), raw_shift=target.raw_shift)


def _folded(builder: Builder, pending: Pending, target: Target) -> Coded:
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
