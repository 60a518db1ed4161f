"""Pools, means, softmax."""

from __future__ import annotations

from tinygen.frontends.aten.builder import Value
from tinygen.frontends.aten.operators.shape import sliced
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.reduce import Mean, Reduce, ReduceMax
from tinygen.ir.ops.softmax import LogSoftmax, Softmax
from tinygen.ir.ops.window import Padding

Pair = tuple[int, int]


@converts("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool2d_with_indices")
def max_pool(call: Call) -> Value | list[Value]:
    call.require(set(call.pair("dilation")) == {1}, f"dilation {call['dilation']} is not supported")
    result = _pool(call, MaxPool2D)
    return [result] if call.target == "aten.max_pool2d_with_indices" else result


@converts("aten.avg_pool1d", "aten.avg_pool2d")
def avg_pool(call: Call) -> Value:
    call.require(call.get("divisor_override") is None, "divisor_override is not supported")
    if not call["count_include_pad"] or call.pair("padding") == (0, 0):
        return _pool(call, AveragePool2D)
    call.require(not call["ceil_mode"], "ceil_mode with padding that counts is not supported")
    x = _image(call)
    rows, columns = call.sides("padding", len(x.shape), 0)
    paddings = ((0, 0), (rows, rows), (columns, columns), (0, 0))
    padded = call.build.add(Pad, [call.build.image(x)], "pad", paddings=paddings, value=0.0)
    return _window(call, AveragePool2D, padded, len(x.shape), ((0, 0), (0, 0)))


def _image(call: Call) -> Value:
    """The input: [1, C, H, W] or [1, C, L]."""
    x = call.value("self" if "self" in call.arguments else "input")
    call.require(len(x.shape) in (3, 4), f"only [1, C, H, W] and [1, C, L] are supported, not {x.shape}")
    return x


def _pool(call: Call, kind: type[Op]) -> Value:
    x = _image(call)
    rank = len(x.shape)
    kernel, stride = call.sides("kernel_size", rank, 1), call.sides("stride", rank, 1)
    padding = call.sides("padding", rank, 0)
    sizes, outputs = ((1, *shape[2:])[-2:] for shape in (x.shape, call.shapes[0]))
    sides = [(padding[i], max((outputs[i] - 1) * stride[i] + kernel[i] - padding[i] - sizes[i], 0)) for i in (0, 1)]
    return _window(call, kind, call.build.image(x), rank, (sides[0], sides[1]))


def _window(call: Call, kind: type[Op], tensor: str, rank: int, sides: tuple[Pair, Pair]) -> Value:
    padded = max(*sides[0], *sides[1]) > 0
    output = call.build.add(
        kind,
        [tensor],
        padding=Padding.VALID,
        kernel=call.sides("kernel_size", rank, 1),
        stride=call.sides("stride", rank, 1),
        row_padding=sides[0] if padded else None,
        column_padding=sides[1] if padded else None,
    )
    return call.build.fresh_image(output, rank)


@converts("aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d")
def adaptive_avg_pool(call: Call) -> Value:
    x = _image(call)
    if call.sides("output_size", len(x.shape), 1) == (1, 1):
        mean = call.build.add(Mean, [call.build.image(x)], axes=(1, 2), keep_dims=True)
        return call.build.fresh_image(mean, len(x.shape))
    return _adaptive(call, AveragePool2D)


@converts("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d")
def adaptive_max_pool(call: Call) -> list[Value]:
    return [_adaptive(call, MaxPool2D)]


def _adaptive(call: Call, kind: type[Op]) -> Value:
    """A pool of windows side by side, if some give an output of the wanted size; else window by window, first of rows,
    then of columns: window i of n reaches from floor(i size / n) to ceil((i + 1) size / n).
    """
    x = _image(call)
    rank = len(x.shape)
    outputs = call.shapes[0][2:]
    sizes = x.shape[2:]
    if all(size % out == 0 for size, out in zip(sizes, outputs, strict=True)):
        window = tuple(size // out for size, out in zip((1, *sizes)[-2:], (1, *outputs)[-2:], strict=True))
        output = call.build.add(kind, [call.build.image(x)], padding=Padding.VALID, kernel=window, stride=window)
        return call.build.fresh_image(output, rank)
    for dim, count in zip(range(2, rank), outputs, strict=True):
        x = _by_window(call, x, dim, count, Mean if kind is AveragePool2D else ReduceMax)
    return x


def _by_window(call: Call, x: Value, dim: int, count: int, kind: type[Reduce]) -> Value:
    """Along one dimension."""
    size, parts = x.shape[dim], []
    for index in range(count):
        begin, end = index * size // count, -(-(index + 1) * size // count)
        window = sliced(call, x, dim, begin, 1, end - begin)
        if end - begin > 1:
            tensor, order = call.build.plain(window)
            window = call.build.fresh(
                call.build.add(kind, [tensor], "window", axes=(order.index(dim),), keep_dims=True), order
            )
        parts.append(window)
    return call.build.joined(parts, dim)


@converts("aten.softmax", "aten._softmax")
def softmax(call: Call) -> Value:
    return _over_dim(call, Softmax)


@converts("aten.log_softmax", "aten._log_softmax")
def log_softmax(call: Call) -> Value:
    return _over_dim(call, LogSoftmax)


def _over_dim(call: Call, kind: type[Op]) -> Value:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    tensor, order = call.build.plain(x)
    if order[-1] != dim:
        order = (*(other for other in order if other != dim), dim)
        tensor = call.build.stored(x, order)
    return call.build.fresh(call.build.add(kind, [tensor]), order)
