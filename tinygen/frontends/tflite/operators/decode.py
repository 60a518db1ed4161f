"""TFLM_DECODE: constants that TensorFlow Lite Micro's compression tool stores as indices into tables, or without zeros.

Each constant has two inputs: its codes, and 16 bytes that say how they are stored, with values behind them
(tensorflow/lite/micro/kernels: decode_state.h, decode_state_lut.cc, decode_state_prune.cc; all of version 1).
"""

from __future__ import annotations

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite.registry import DECODER, Operator, converts_custom
from tinygen.frontends.tflite.steps import MOST_STATIC, constants
from tinygen.ir.encodings import Affine
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor

_HEADER = 16
_TABLES, _PRUNED = 0, 2


@converts_custom(DECODER)
def decode(operator: Operator) -> Steps:
    if len(operator.inputs) != 2 * len(operator.outputs) or not operator.outputs:
        what = f"has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs, not two for each"
        raise ModelError(what, where=operator.describe())
    return constants(operator, *(_decoded(operator, i, tensor) for i, tensor in enumerate(operator.outputs)))


def _decoded(operator: Operator, index: int, tensor: Tensor) -> np.ndarray:
    codes, stored = (_bytes(operator, 2 * index + i, what) for i, what in enumerate(("codes", "values")))
    operator.require(tensor.size <= MOST_STATIC, f"{tensor.size} elements are too many for a constant")
    kind, version = (int(stored[i]) for i in range(2)) if len(stored) >= _HEADER else (-1, 0)
    if version != 1 or stored[4] != 1 or kind not in (_TABLES, _PRUNED):
        raise UnsupportedError(
            f"'{tensor.name}' is stored in a way that TensorFlow Lite Micro does not decode (type {kind})",
            where=operator.describe(),
            fix="Give tinygen the model from before compression, or compress it with tables.",
        )
    values = np.frombuffer(stored[_HEADER:].tobytes()[: _whole(stored, tensor)], tensor.dtype)
    found = _from_tables(codes, stored, values, tensor) if kind == _TABLES else _without_zeros(codes, values, tensor)
    if found is None:
        raise ModelError(f"the codes or values of '{tensor.name}' are too few", where=operator.describe())
    return found


def _bytes(operator: Operator, index: int, what: str) -> np.ndarray:
    return operator.constant(index, what).reshape(-1).view(np.uint8)


def _whole(stored: np.ndarray, tensor: Tensor) -> int:
    """Bytes behind the header that are whole values."""
    return (len(stored) - _HEADER) // tensor.dtype.itemsize * tensor.dtype.itemsize


def _from_tables(codes: np.ndarray, stored: np.ndarray, values: np.ndarray, tensor: Tensor) -> np.ndarray | None:
    """Indices of 1 to 7 bits, the highest bit first, into a table of the whole tensor or one per channel."""
    bits, axis, stride = int(stored[5]) & 7, int(stored[5]) >> 4, int(stored[6])
    if bits == 0 or stride == 0 or 8 * len(codes) < bits * tensor.size:
        return None
    digits = np.unpackbits(codes, count=bits * tensor.size).reshape(-1, bits)
    indices = (digits @ (1 << np.arange(bits - 1, -1, -1))).reshape(tensor.shape)
    tables = values[: len(values) // stride * stride].reshape(-1, stride)
    if len(tables) == 0 or indices.max(initial=0) >= stride:
        return None
    channels = _channels(axis, tensor)
    if channels is None or len(tables) == 1:
        return tables[0][indices]
    of_channel = np.arange(tensor.shape[channels]).reshape([-1 if i == channels else 1 for i in range(indices.ndim)])
    return tables[of_channel, indices] if len(tables) >= tensor.shape[channels] else None


def _channels(axis: int, tensor: Tensor) -> int | None:
    """The axis along which each channel has its own table. 15: none; files of 2025 have 0, and mean that of scales."""
    scales = tensor.encoding
    if axis == 0 and isinstance(scales, Affine) and scales.per_channel:
        return scales.axis
    return axis if axis < len(tensor.shape) else None


def _without_zeros(codes: np.ndarray, values: np.ndarray, tensor: Tensor) -> np.ndarray | None:
    """A bit for each element, 1 where it has a value; the others are at their zero point."""
    if 8 * len(codes) < tensor.size:
        return None
    is_stored = np.unpackbits(codes, count=tensor.size).astype(bool)
    if np.count_nonzero(is_stored) > len(values):
        return None
    found = np.zeros(tensor.shape, tensor.dtype)
    if isinstance(tensor.encoding, Affine):
        found = (-tensor.encoding.integers(found)).astype(tensor.dtype)
    found.reshape(-1)[is_stored] = values[: np.count_nonzero(is_stored)]
    return found
