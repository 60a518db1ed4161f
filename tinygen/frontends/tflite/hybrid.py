"""Layers of float activations and integer weights, which LiteRT computes by quantizing activations at run time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tflite

from tinygen.errors import UnsupportedError
from tinygen.frontends.tflite.registry import Operator
from tinygen.frontends.tflite.values import Values
from tinygen.ir.encodings import Affine, Float32
from tinygen.ir.tensor import Tensor

_OP = tflite.BuiltinOperator
PLACES = {
    _OP.CONV_2D: (0, 1),
    _OP.DEPTHWISE_CONV_2D: (0, 1),
    _OP.TRANSPOSE_CONV: (2, 1),
    _OP.FULLY_CONNECTED: (0, 1),
    _OP.BATCH_MATMUL: (0, 1),
    _OP.UNIDIRECTIONAL_SEQUENCE_LSTM: (0, *range(1, 9)),
    _OP.SVDF: (0, 1, 2),
}
"""Of activations and weights among an operator's inputs."""


def with_float_weights(operator: Operator, values: Values, *, wanted: bool) -> Operator:
    """The operator with float weights, if it is hybrid.

    Args:
        wanted: hybrid layers are to be computed in float.

    Raises:
        UnsupportedError: it is hybrid, and that is not wanted.
    """
    activations, *weights = (_input(operator, place) for place in PLACES.get(operator.code, (-1,)))
    if activations is None or not activations.is_float:
        return operator
    found = [tensor for tensor in weights if tensor is not None and isinstance(tensor.encoding, Affine)]
    found = [tensor for tensor in found if tensor.data is not None]
    if not found:
        return operator
    if not wanted:
        raise UnsupportedError(
            f"is hybrid: activations are float32, weights {operator.kind(found[0])} (dynamic range quantization)",
            where=operator.describe(),
            fix="Quantize activations, too: give the converter a representative_dataset and TFLITE_BUILTINS_INT8. Or "
            "compute in float32: --float.",
        )
    widened = {tensor.name: _widened(tensor) for tensor in found}
    values.add(widened.values())
    return replace(
        operator,
        inputs=tuple(widened.get(tensor.name, tensor) if tensor else None for tensor in operator.inputs),
        declared={**operator.declared, **{twin.name: operator.declared[name] for name, twin in widened.items()}},
    )


def _widened(weights: Tensor) -> Tensor:
    assert weights.data is not None and isinstance(weights.encoding, Affine)
    return Tensor(f"{weights.name}#float", weights.shape, Float32(), real_values(weights.data, weights.encoding))


def real_values(codes: np.ndarray, encoding: Affine) -> np.ndarray:
    """float32 values: integers times scale, rounded once."""
    shape = [1] * codes.ndim
    if encoding.axis is not None:
        shape[encoding.axis] = -1
    scale = np.array(encoding.scale, np.float64).reshape(shape)
    return np.asarray(encoding.integers(codes) * scale).astype(np.float32)


def _input(operator: Operator, place: int) -> Tensor | None:
    return operator.inputs[place] if 0 <= place < len(operator.inputs) else None
