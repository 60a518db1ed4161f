"""Shared by the multiply-accumulate operators on codes of any integer encoding.

acc[o] = sum over taps of [kernel_scales[o, i] *] integers(x) * integers(w), in exact integers that fit 32 bits; the
epilogue turns it into the code of the output. Taps outside the input count as 0, which need not be a code.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Epilogue, apply
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor

LARGEST = 2**31 - 2
"""Accumulators stay within +-LARGEST, so that 2**31 - 1 is never reached and every sign can be changed."""
SCALES = 3
"""The input that has the kernel scales."""


def check_activations(node: Node, tensor: Tensor) -> None:
    """Checks for integer codes with one scale: packed bits, bytes, int16 or int32."""
    node.require(isinstance(tensor.encoding, IntegerEncoding), f"'{tensor.name}' ({tensor.encoding}) is not quantized")
    node.require(not tensor.integer.per_channel, f"'{tensor.name}': activations must have one scale")


def check_epilogue(node: Node, epilogue: Epilogue | None, channels: int) -> None:
    """Checks that the epilogue fits the channels, and gives codes within the output's range."""
    output = node.output
    if epilogue is None:
        plain = isinstance(output.encoding, Affine) and output.dtype == np.int32 and not any(output.affine.zero_point)
        node.require(plain, f"without an epilogue the output is int32 with zero point 0, not {output.encoding}")
        return
    check_activations(node, output)
    problem = epilogue.problem(channels)
    node.require(not problem, problem)
    (low, high), (least, largest) = epilogue.code_range, output.integer.code_range
    node.require(least <= low and high <= largest, f"codes {low}..{high} do not all exist in {output.encoding}")


def largest_integer(encoding: Encoding) -> int:
    """The largest magnitude of an integer that a code stands for."""
    assert isinstance(encoding, IntegerEncoding)
    low, high = encoding.code_range
    codes = np.arange(len(encoding.table)) if hasattr(encoding, "table") else np.array([low, high])
    return int(np.abs(encoding.integers(codes)).max())


def check_mac(node: Node, epilogue: Epilogue | None, *, outputs: int) -> None:
    """Checks the encodings of input, weights [O, ..., I] and output, and that accumulators fit 32 bits."""
    weights = node.input(1)
    check_activations(node, node.input(0))
    check_weights(node, outputs)
    node.require(node.optional(2) is None, "a bias belongs to its epilogue")
    scales = kernel_scales(node)
    if scales is not None:
        expected = (weights.shape[0], weights.shape[-1])
        node.require(
            scales.shape == expected and scales.dtype == np.uint16,
            f"kernel scales are uint16 {list(expected)}, not {scales.dtype.name} {list(scales.shape)}",
        )
    check_epilogue(node, epilogue, outputs)
    if weights.data is not None:
        node.require(largest_accumulator(node) <= LARGEST, "sums of products may not fit 32 bits")


def check_weights(node: Node, outputs: int) -> None:
    """Checks that input 1 has integer codes, with one scale or one for each output."""
    weights = node.input(1)
    node.require(isinstance(weights.encoding, IntegerEncoding), f"weights ({weights.encoding}) are not quantized")
    node.require(
        not weights.integer.per_channel or (weights.integer.axis == 0 and len(weights.integer.scale) == outputs),
        f"per-channel weights must be quantized along axis 0 with {outputs} scales",
    )


def kernel_scales(node: Node) -> np.ndarray | None:
    """Scales per output and input channel of APSQ (Guerra 2024, section 6.3); None if the layer has none."""
    return node.constant(SCALES) if node.optional(SCALES) is not None else None


def weight_integers(node: Node) -> np.ndarray:
    """The integers of constant weights, kernel scales not included; int64, shaped as the weights."""
    return node.input(1).integer.integers(node.constant(1))


def scaled_weights(node: Node, weights: np.ndarray) -> np.ndarray:
    """Integers of the weights, times the kernel scales if there are any."""
    scales = kernel_scales(node)
    if scales is None:
        return weights
    inner = (1,) * (weights.ndim - 2)
    return weights * scales.astype(np.int64).reshape(scales.shape[0], *inner, scales.shape[1])


def largest_accumulator(node: Node) -> int:
    """Upper bound of the magnitude of all accumulators, from the weights and the range of the input's codes."""
    return largest_sum(node, scaled_weights(node, weight_integers(node)))


def largest_sum(node: Node, weights: np.ndarray) -> int:
    """As `largest_accumulator`, for given integers of weights [O, ...]."""
    filters = np.abs(weights).reshape(len(weights), -1)
    return int(filters.sum(axis=1).max()) * largest_integer(node.input(0).encoding)


def finish(node: Node, epilogue: Epilogue | None, accumulators: np.ndarray) -> np.ndarray:
    """Codes of the output."""
    return apply(epilogue, accumulators).astype(node.output.dtype)
