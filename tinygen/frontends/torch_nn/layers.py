"""Quantized layers and quantizers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Steps, Value, linear
from tinygen.ir.encodings import Affine, IntegerEncoding
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Tensor
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import ActivationQuantizer


def activation_quantizer(builder: Builder, module: ActivationQuantizer, x: Value, where: str) -> Coded:
    boundaries, encoding = module.boundaries()
    if isinstance(x, Raw):
        return builder.add_input("input", _board_shape(x.shape), encoding, module, where)
    # Layers that read the same values may share the quantizer in front of them.
    if (x, module) not in builder.quantized:
        source = operands.pending(builder, x, where)
        builder.quantized[x, module] = builder.quantize(source, Steps(boundaries, module.lowest_code), encoding, where)
    return builder.quantized[x, module]


def _board_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def _input_of(builder: Builder, module: QuantConv2d | QuantLinear, x: Value, where: str) -> Coded:
    if module.input_quantizer is not None:
        return activation_quantizer(builder, module.input_quantizer, x, f"{where}.input_quantizer")
    return operands.codes(builder, x, where)


@dataclass(frozen=True, eq=False)
class _Weights:
    """The weights and biases of a layer.

    Attributes:
        codes: one entry per output in front.
        scales: of kernels, None where the encoding has all.
        bias: real, of each output.
    """

    codes: np.ndarray
    encoding: IntegerEncoding
    scales: np.ndarray | None
    bias: np.ndarray | float

    @staticmethod
    def of(module: QuantConv2d | QuantLinear) -> _Weights:
        codes, encoding = module.weight_codes()
        bias = 0.0 if module.bias is None else module.bias.detach().double().numpy()
        return _Weights(codes, encoding, module.kernel_scales(), bias)


@dataclass(frozen=True, eq=False)
class _Sums:
    """The multiply-accumulate operator: class, attributes without inputs and outputs, shape of the output."""

    op: type
    fields: dict[str, Any]
    shape: tuple[int, ...]


def convolution(builder: Builder, module: QuantConv2d, x: Value, where: str) -> Pending:
    coded = _input_of(builder, module, x, where)
    source = operands.image(builder, coded, where).tensor
    weights = _Weights.of(module)
    rows, columns = paddings(module)
    fields = {
        "padding": Padding.VALID,
        "stride": tuple(module.stride),
        "dilation": tuple(module.dilation),
        "row_padding": rows,
        "column_padding": columns,
    }
    geometry = zip(source.shape[1:3], module.kernel_size, module.stride, module.dilation, (rows, columns), strict=True)
    sizes = [axis(n, kernel, stride, gap, Padding.VALID, pad).output for n, kernel, stride, gap, pad in geometry]
    shape = (source.shape[0], *sizes, module.out_channels)
    weights = replace(weights, codes=np.moveaxis(weights.codes, 1, -1))
    return _accumulated(builder, coded, weights, _Sums(Conv2D, fields, shape), where)


def paddings(module: nn.Conv2d | CondConv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """(above, below), (left, right)."""
    if module.padding == "valid":
        return (0, 0), (0, 0)
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    rows, columns = operands.pair(module.padding)
    return (rows, rows), (columns, columns)


def dense(builder: Builder, module: QuantLinear, x: Value, where: str) -> Pending:
    source = _input_of(builder, module, x, where)
    weights = _Weights.of(module)
    if source.flat:
        scales = None if weights.scales is None else _columns_as_nhwc(weights.scales, source.tensor)
        weights = replace(weights, codes=_columns_as_nhwc(weights.codes, source.tensor), scales=scales)
    elif len(source.tensor.shape) != 2:
        raise UnsupportedError(
            f"a dense layer along one axis of {list(source.tensor.shape)}", where=where, fix="Flatten in front of it."
        )
    shape = (source.tensor.shape[0], module.out_features)
    return _accumulated(builder, source, weights, _Sums(FullyConnected, {}, shape), where)


def _columns_as_nhwc(codes: np.ndarray, source: Tensor) -> np.ndarray:
    """Weights [O, C * H * W] of a flattened image as [O, H * W * C], the order on the board."""
    _, height, width, channels = source.shape
    image = codes.reshape(len(codes), channels, height, width)
    return np.moveaxis(image, 1, -1).reshape(len(codes), -1)


def _accumulated(builder: Builder, source: Coded, weights: _Weights, sums: _Sums, where: str) -> Pending:
    """Accumulators of a layer, with the chain to their real values: x_scale * w_scale * accumulator + bias."""
    codes, encoding, scales = weights.codes, weights.encoding, weights.scales
    names = [source.tensor.name, builder.constant(f"{where}.weight", codes, encoding)]
    integers = encoding.integers(codes)
    if scales is not None:
        names += ["", builder.constant(f"{where}.kernel_scales", scales, Affine("uint16", (1.0,), (0,)))]
        inner = (1,) * (integers.ndim - 2)
        integers = integers * scales.astype(np.int64).reshape(len(scales), *inner, scales.shape[-1])
    low, high = source.ends()
    reach = _reach(integers, min(low, 0), max(high, 0), where)
    chain = linear((source.gain,) * len(codes)).affine(np.array(encoding.scale), weights.bias)
    return Pending(sums.op, sums.fields, tuple(names), sums.shape, chain, reach, where)


def _reach(integers: np.ndarray, low: int, high: int, where: str) -> Reach:
    try:
        return Reach.of_weights(integers, low, high)
    except UnsupportedError as error:
        error.where, error.fix = (
            where,
            (
                "Fewer bits, of the activations or of the weights: 16-bit tables (LogQuant, LogQuantActivation without "
                "integer exponents of base 2, CodebookQuant) do not go together."
            ),
        )
        raise
