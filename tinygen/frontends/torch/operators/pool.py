"""Pools, means, softmax."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.frontends.torch.builder import Value
from tinygen.frontends.torch.layout import NHWC
from tinygen.frontends.torch.registry import Call, converts
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.window import Padding

Pair = tuple[int, int]


@converts("aten.max_pool2d", "aten.max_pool2d_with_indices")
def max_pool2d(call: Call) -> Value | list[Value]:
    call.require(call.pair("dilation") == (1, 1), f"dilation {call['dilation']} is not supported")
    result = _pool(call, MaxPool2D)
    return [result] if call.target == "aten.max_pool2d_with_indices" else result


@converts("aten.avg_pool2d")
def avg_pool2d(call: Call) -> Value:
    call.require(call["divisor_override"] is None, "divisor_override is not supported")
    if not call["count_include_pad"] or call.pair("padding") == (0, 0):
        return _pool(call, AveragePool2D)
    call.require(not call["ceil_mode"], "ceil_mode with padding that counts is not supported")
    rows, columns = call.pair("padding")
    x = call.build.stored(call.value("self"), NHWC)
    paddings = ((0, 0), (rows, rows), (columns, columns), (0, 0))
    padded = call.build.add(Pad, [x], "pad", paddings=paddings, value=0.0)
    return _window(call, AveragePool2D, padded, ((0, 0), (0, 0)))


def _pool(call: Call, kind: type[Op]) -> Value:
    x = call.value("self")
    call.require(len(x.shape) == 4, f"only images [1, C, H, W] are supported, not {x.shape}")
    kernel, stride, padding = call.pair("kernel_size"), call.pair("stride"), call.pair("padding")
    sides = [
        (padding[i], max((out - 1) * stride[i] + kernel[i] - padding[i] - x.shape[2 + i], 0))
        for i, out in enumerate(call.shapes[0][2:])
    ]
    return _window(call, kind, call.build.stored(x, NHWC), (sides[0], sides[1]))


def _window(call: Call, kind: type[Op], tensor: str, sides: tuple[Pair, Pair]) -> Value:
    padded = max(*sides[0], *sides[1]) > 0
    output = call.build.add(
        kind, [tensor], padding=Padding.VALID, kernel=call.pair("kernel_size"), stride=call.pair("stride"),
        row_padding=sides[0] if padded else None, column_padding=sides[1] if padded else None,
    )  # fmt: skip
    return call.build.fresh(output, NHWC)


@converts("aten.adaptive_avg_pool2d")
def adaptive_avg_pool2d(call: Call) -> Value:
    x = call.value("self")
    call.require(len(x.shape) == 4, f"only images [1, C, H, W] are supported, not {x.shape}")
    sizes, outputs = x.shape[2:], call.pair("output_size")
    divides = all(size % out == 0 for size, out in zip(sizes, outputs, strict=True))
    call.require(divides, f"an output of {outputs} from {sizes}, which windows of one size do not give")
    tensor = call.build.stored(x, NHWC)
    if outputs == (1, 1):
        return call.build.fresh(call.build.add(Mean, [tensor], axes=(1, 2), keep_dims=True), NHWC)
    window = (sizes[0] // outputs[0], sizes[1] // outputs[1])
    output = call.build.add(AveragePool2D, [tensor], padding=Padding.VALID, kernel=window, stride=window)
    return call.build.fresh(output, NHWC)


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
