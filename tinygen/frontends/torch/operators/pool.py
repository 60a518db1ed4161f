"""Pools, means, softmax."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.frontends.torch.builder import Value
from tinygen.frontends.torch.registry import Call, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.ops.softmax import Softmax
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


@converts("aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d")
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
    """A pool whose windows lie side by side and give an output of the wanted size."""
    x = _image(call)
    rank = len(x.shape)
    sizes, outputs = (1, *x.shape[2:])[-2:], call.sides("output_size", rank, 1)
    divides = all(size % out == 0 for size, out in zip(sizes, outputs, strict=True))
    call.require(divides, f"an output of {outputs} from {sizes}, which windows of one size do not give")
    window = (sizes[0] // outputs[0], sizes[1] // outputs[1])
    output = call.build.add(kind, [call.build.image(x)], padding=Padding.VALID, kernel=window, stride=window)
    return call.build.fresh_image(output, rank)


@converts("aten.mean")
def mean(call: Call) -> Value:
    x = call.value("self")
    rank = len(x.shape)
    given: Sequence[int] = call.get("dim") or range(rank)
    dims = {dim % rank for dim in given}
    tensor, order = call.build.plain(x)
    axes = tuple(position for position, dim in enumerate(order) if dim in dims)
    kept = call.build.add(Mean, [tensor], axes=axes, keep_dims=True)
    result = call.build.fresh(kept, order)
    if call.get("keepdim", False):
        return result
    layout = result.layout.viewed([size for dim, size in enumerate(result.shape) if dim not in dims])
    assert layout is not None
    return Value(result.tensor, layout)


@converts("aten.softmax", "aten._softmax")
def softmax(call: Call) -> Value:
    x = call.value("self")
    rank = len(x.shape)
    dim = call.dim("dim", rank)
    tensor, order = call.build.plain(x)
    if order[-1] != dim and x.shape[dim] != 1:
        order = (*(other for other in order if other != dim), dim)
        tensor = call.build.stored(x, order)
    return call.build.fresh(call.build.add(Softmax, [tensor]), order)


@converts("aten.log_softmax", "aten._log_softmax")
def log_softmax(call: Call) -> Value:
    raise call.unsupported(
        "logarithms are not supported", "End the model at what it is applied to: the largest stays the largest."
    )
