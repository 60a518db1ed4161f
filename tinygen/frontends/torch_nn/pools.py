"""Pooling: maxima of codes or of values before their quantizer, and averages as sums of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import operands
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.operands import pair
from tinygen.frontends.torch_nn.values import Coded, Pending, Pool, Raw, Value
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.ir.ops.window import Padding
from tinygen.nn.functions import check_mean


def largest(builder: Builder, module: nn.MaxPool2d, x: Value, where: str) -> Value:
    kernel = pair(module.kernel_size)
    stride, padding = pair(module.stride or kernel), pair(module.padding)
    if isinstance(x, Pending):
        return x.pooled(where, kernel, stride, padding)
    # Absent channels would be zeros, whose maximum is zero.
    source = x if isinstance(x, Coded) and x.live is not None else operands.image(builder, x, where)
    pool = Pool(where, kernel, stride, padding, (True,) * source.tensor.shape[3])
    made = builder.max_pool(source.tensor, pool, (1,), where)
    return Coded(made, step=source.step, live=source.live, zeros=source.zeros)


def average(builder: Builder, module: nn.AvgPool2d, x: Value, where: str) -> Pending:
    kernel = pair(module.kernel_size)
    return _sum(operands.image(builder, x, where), kernel, pair(module.stride or kernel), where)


def adaptive(builder: Builder, module: nn.AdaptiveAvgPool2d, x: Value, where: str) -> Pending:
    source = operands.image(builder, x, where)
    _, height, width, _ = source.tensor.shape
    size = module.output_size
    rows, columns = (size, size) if isinstance(size, int) or size is None else size
    rows, columns = rows or height, columns or width
    if height % rows or width % columns:
        raise UnsupportedError(
            f"an adaptive average of {height}x{width} to {rows}x{columns}, whose windows differ",
            where=where,
            fix="Choose a size that divides the image's.",
        )
    kernel = (height // rows, width // columns)
    return _sum(source, kernel, kernel, where)


def mean(builder: Builder, x: Value, where: str, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Pending:
    """Over height and width."""
    check_mean(dim, keepdim, dtype)
    source = operands.image(builder, x, where)
    _, height, width, _ = source.tensor.shape
    pooled = _sum(source, (height, width), (height, width), where)
    return pooled if keepdim else pooled.flattened()


def _sum(source: Coded, kernel: tuple[int, int], stride: tuple[int, int], where: str) -> Pending:
    batch, height, width, channels = source.tensor.shape
    count = kernel[0] * kernel[1]
    low, high = source.ends()
    reach = Reach(np.full(channels, low * count), np.full(channels, high * count))
    shape = (batch, (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1, channels)
    fields = {"padding": Padding.VALID, "kernel": kernel, "stride": stride}
    chain = source.chain().divide(float(count))
    return Pending(AveragePool2D, fields, (source.tensor.name,), shape, chain, reach, where)


def flatten(builder: Builder, module: nn.Flatten, x: Value, where: str) -> Value:
    if isinstance(x, Coded | Pending):
        return x.flattened()
    return Raw((x.shape[0], int(np.prod(x.shape[1:])))) if len(x.shape) != 4 else _flat_input(x, where)


def _flat_input(x: Raw, where: str) -> Raw:
    if x.shape[1] != 1:
        raise UnsupportedError(
            "an image of several channels, flattened before it is quantized",
            where=where,
            fix="Quantize it first: boards take images as NHWC.",
        )
    return Raw((x.shape[0], x.shape[2] * x.shape[3]))
