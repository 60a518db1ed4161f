"""Constants to codes."""

from __future__ import annotations

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.ptq.encodings import affine
from tinygen.ir.encodings import Affine
from tinygen.ir.tensor import Tensor

_LARGEST = 127
_BIAS_LIMIT = 2.0**30
"""Half of int32: the accumulator wants room too, and bias correction comes later."""
_INPUT_CODES = 255
_NOTHING = 2.0**-12
"""What all inputs together can add to a bias, as a part of it: a sixteenth of a code at most."""
_NOTHING_OF_ALL = 2.0**-20
"""The same as a part of the channel whose inputs can add most."""
_GRID = 1e-2
"""Codes that a value on the grid may be off by, from the rounding of scale times code to single precision."""


def quantize_weights(tensor: Tensor, axis: int, input_scale: float, bias: np.ndarray) -> Tensor:
    """Symmetric int8, one scale per channel of `axis`.

    A channel whose bias is large compared with its weights gets a larger scale, so that the bias fits into 32 bits. A
    channel with zero weights gets the largest scale of the others: a scale chosen for its bias alone would make its
    accumulator so large that the kernels' fast multiplication could not be used for any channel.
    """
    data = _data(tensor)
    others = tuple(i for i in range(data.ndim) if i != axis)
    largest = np.abs(data).max(axis=others).astype(np.float64)
    reach = largest * input_scale * _INPUT_CODES * (data.size / data.shape[axis])
    constant = (reach <= np.abs(bias) * _NOTHING) | (reach <= reach.max() * _NOTHING_OF_ALL)
    scales = np.where(constant, 0.0, largest / _LARGEST)
    scales = np.where(constant, scales.max() or largest.max() / _LARGEST or 1.0, scales)
    scales = np.maximum(scales, np.abs(bias) / (input_scale * _BIAS_LIMIT)).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(data.ndim)]
    codes = np.clip(np.round(data / scales.astype(np.float64).reshape(shape)), -_LARGEST, _LARGEST).astype(np.int8)
    encoding = Affine("int8", tuple(map(float, scales)), (0,) * len(scales), axis)
    return Tensor(tensor.name, tensor.shape, encoding, codes)


def known_codes(tensor: Tensor, encoding: Affine) -> Tensor:
    """The codes from which a constant was dequantized.

    Raises:
        UnsupportedError: values are not multiples of the scale, or the encoding is not int8.
    """
    where = f"tensor '{tensor.name}'"
    if encoding.storage != "int8":
        raise UnsupportedError(f"constants quantized to {encoding.storage} are not supported", where=where)
    data = _data(tensor).astype(np.float64)
    shape = [-1 if i == encoding.axis else 1 for i in range(data.ndim)]
    scales, zeros = np.array(encoding.scale).reshape(shape), np.array(encoding.zero_point).reshape(shape)
    exact = data / scales + zeros
    codes = np.round(exact)
    if np.abs(exact - codes).max(initial=0) > _GRID or codes.min() < -128 or codes.max() > _LARGEST:
        raise UnsupportedError("its values are not those of its codes", where=where)
    return Tensor(tensor.name, tensor.shape, encoding, codes.astype(np.int8))


def quantize_operand(tensor: Tensor, encoding: Affine | None) -> Tensor:
    """A constant operand with one scale: that of its own range, or a given one, to which values saturate."""
    data = _data(tensor).astype(np.float64)
    encoding = encoding or affine(float(data.min()), float(data.max()))
    codes = np.round(data / encoding.scale[0]) + encoding.zero_point[0]
    return Tensor(tensor.name, tensor.shape, encoding, np.clip(codes, -128, 127).astype(np.int8))


def quantize_bias(name: str, bias: np.ndarray, input_scale: float, weights: Affine) -> Tensor:
    """int32 at the scale of the accumulator.

    Raises:
        UnsupportedError: 32 bits cannot hold it.
    """
    scales = np.broadcast_to(np.array(weights.scale) * input_scale, bias.shape)
    codes = np.round(bias / scales)
    if not np.all(np.abs(codes) < 2.0**31):
        raise UnsupportedError("a bias is too large beside its weights for 32 bits", where=f"tensor '{name}'")
    encoding = Affine("int32", tuple(map(float, scales)), (0,) * len(scales), 0)
    return Tensor(name, bias.shape, encoding, codes.astype(np.int32))


def dequantized(tensor: Tensor) -> np.ndarray:
    """Real values of a constant, float32."""
    data, encoding = _data(tensor), tensor.affine
    shape = [-1 if i == encoding.axis else 1 for i in range(data.ndim)]
    scales, zeros = np.array(encoding.scale).reshape(shape), np.array(encoding.zero_point).reshape(shape)
    return ((data.astype(np.int64) - zeros) * scales).astype(np.float32)


def _data(tensor: Tensor) -> np.ndarray:
    assert tensor.data is not None, tensor.name
    return tensor.data
