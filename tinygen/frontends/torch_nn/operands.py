"""Operands of operators: values as codes, or as real values that are not quantized yet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from tinygen.errors import UnsupportedError
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Tensor

QUANTIZERS = "an activation quantizer of tinygen.nn (Affine8, ReLUQuant, Sign, ...)"


def pending(builder: Builder, x: Value, where: str) -> Pending:
    """The value as a chain; codes are the accumulators of a Requantize.

    Raises:
        UnsupportedError: the value is the model's input.
    """
    if isinstance(x, Pending):
        return x
    if isinstance(x, Raw):
        raise raw_input(where)
    x = whole(builder, x, where)
    source = x.tensor
    return Pending(Requantize, {}, (source.name,), source.shape, x.chain(), x.reach(), where, flat=x.flat)


def codes(builder: Builder, x: Value, where: str) -> Coded:
    """The value as codes; averages of codes need no quantizer and become 16-bit codes.

    Raises:
        UnsupportedError: the value has no quantizer.
    """
    if isinstance(x, Coded):
        return whole(builder, x, where)
    if isinstance(x, Raw):
        raise raw_input(where)
    exact = builder.exact(x) if x.op in (AveragePool2D, Requantize) else None
    if exact is not None:
        return exact
    raise UnsupportedError(
        f"its input, from {x.where} on, is real values that no quantizer has made codes of",
        where=where,
        fix=f"Put {QUANTIZERS} in front of it.",
    )


def whole(builder: Builder, x: Coded, where: str) -> Coded:
    """The value with all channels: those that a gate did not choose are zeros."""
    if x.live is None:
        return x
    name = f"{where}.all_channels"
    made = builder.write(ScatterChannels, name, (x.tensor.name, x.live.name), x.tensor.encoding, name)
    return replace(x, tensor=made, live=None)


def raw_input(where: str) -> UnsupportedError:
    return UnsupportedError(
        "the model's input has no quantizer", where=where, fix="Put tinygen.nn.InputQuant() in front of the network."
    )


def image(builder: Builder, x: Value, where: str) -> Coded:
    """Codes [N, H, W, C].

    Raises:
        UnsupportedError: the value is flattened, or has no quantizer.
    """
    source = codes(builder, x, where)
    if len(source.tensor.shape) != 4 or source.flat:
        raise UnsupportedError(f"{_shown(source.tensor)} is no image", where=where, fix="Images are [N, C, H, W].")
    return source


def _shown(tensor: Tensor) -> str:
    return f"'{tensor.name}' {list(tensor.shape)}"


def elements(x: Value) -> int:
    """How many elements a sample has."""
    if not isinstance(x, Pending):
        return math.prod((x.shape if isinstance(x, Raw) else x.tensor.shape)[1:])
    sizes = list(x.shape[1:-1])
    for pool in x.pools:
        windows = zip(sizes, pool.kernel, pool.stride, pool.padding, strict=True)
        sizes = [
            axis(size, kernel, stride, 1, Padding.VALID, (pad, pad)).output for size, kernel, stride, pad in windows
        ]
    return math.prod((*sizes, x.shape[-1]))


def pair(value: Any) -> tuple[int, int]:
    """(rows, columns) from a single value for both, or one for each."""
    both = (value,) if isinstance(value, int) else tuple(value)
    return int(both[0]), int(both[-1])
