"""Elements in another order: rolled, flipped, repeated, shuffled, or as the windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.operators.shape import sliced
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.gather import Gather
from tinygen.ir.ops.pad import Pad


@converts("aten.roll")
def roll(call: Call) -> Value:
    """Along each dimension, the last elements come first; without dimensions, those of the flat tensor."""
    x, dims = call.value("self"), call.get("dims")
    shape = x.shape
    if not dims:
        x, dims = call.build.viewed(x, [int(np.prod(shape))]), [0]
    for shift, dim in zip(call["shifts"], dims, strict=True):
        dim, size = dim % len(x.shape), x.shape[dim]
        if shift % size:
            first = size - shift % size
            x = call.build.joined(
                [sliced(call, x, dim, first, 1, size - first), sliced(call, x, dim, 0, 1, first)], dim
            )
    return call.build.viewed(x, shape)


@converts("aten.flip")
def flip(call: Call) -> Value:
    x = call.value("self")
    for dim in call["dims"]:
        size = x.shape[dim]
        x = sliced(call, x, dim % len(x.shape), size - 1, -1, size)
    return x


@converts("aten.repeat", "aten.tile")
def repeat(call: Call) -> Value:
    x, counts = call.value("self"), list(call["repeats" if "repeats" in call.arguments else "dims"])
    counts = [1] * (len(x.shape) - len(counts)) + counts
    x = call.build.viewed(x, (1,) * (len(counts) - len(x.shape)) + x.shape)
    for dim, count in enumerate(counts):
        if count > 1:
            x = call.build.repeated(x, dim, count)
    return x


@converts("aten.repeat_interleave")
def repeat_interleave(call: Call) -> Value:
    """Every element of a dimension `repeats` times."""
    x, count = call.value("self"), call["repeats"]
    call.require(isinstance(count, int) and call.get("dim") is not None, "repeats must be one number, dim given")
    dim = call.dim("dim", len(x.shape)) + 1
    apart = call.build.viewed(x, (*x.shape[:dim], 1, *x.shape[dim:]))
    wide = call.build.broadcast(apart, (*x.shape[:dim], count, *x.shape[dim:]))
    return call.build.viewed(wide, call.shapes[0])


@converts("aten.pixel_shuffle")
def pixel_shuffle(call: Call) -> Value:
    """[1, C r^2, H, W] to [1, C, H r, W r]"""
    x, r = call.value("self"), call["upscale_factor"]
    batch, channels, height, width = x.shape
    apart = call.build.viewed(x, (batch, channels // (r * r), r, r, height, width))
    return call.build.viewed(call.build.permuted(apart, (0, 1, 4, 2, 5, 3)), call.shapes[0])


@converts("aten.pixel_unshuffle")
def pixel_unshuffle(call: Call) -> Value:
    """[1, C, H r, W r] to [1, C r^2, H, W]"""
    x, r = call.value("self"), call["downscale_factor"]
    batch, channels, height, width = x.shape
    apart = call.build.viewed(x, (batch, channels, height // r, r, width // r, r))
    return call.build.viewed(call.build.permuted(apart, (0, 1, 3, 5, 2, 4)), call.shapes[0])


@converts("aten.channel_shuffle", "aten.native_channel_shuffle")
def channel_shuffle(call: Call) -> Value:
    x, groups = call.value("self"), call["groups"]
    apart = call.build.viewed(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    turned = call.build.permuted(apart, (0, 2, 1, *range(3, len(apart.shape))))
    return call.build.viewed(turned, call.shapes[0])


@converts("aten.im2col")
def im2col(call: Call) -> Value:
    """nn.Unfold: [1, C, H, W] to [1, C KH KW, windows]."""
    x = call.value("self")
    call.require(len(x.shape) == 4, f"only [1, C, H, W], not {x.shape}")
    kernel, stride, padding = (call.pair(name) for name in ("kernel_size", "stride", "padding"))
    dilation, channels = call.pair("dilation"), x.shape[1]
    if any(padding):
        rows, columns = ((amount, amount) for amount in padding)
        padded = call.build.add(Pad, [call.build.image(x)], "pad", paddings=((0, 0), rows, columns, (0, 0)), value=0.0)
        x = call.build.fresh_image(padded, 4)
    counts = [
        (size - (k - 1) * d - 1) // s + 1 for size, k, d, s in zip(x.shape[2:], kernel, dilation, stride, strict=True)
    ]
    if kernel == stride and all(size == n * k for size, n, k in zip(x.shape[2:], counts, kernel, strict=True)):
        apart = call.build.viewed(x, (1, channels, counts[0], kernel[0], counts[1], kernel[1]))
        return call.build.viewed(call.build.permuted(apart, (0, 1, 3, 5, 2, 4)), call.shapes[0])
    taps: list[Value | Constant] = []
    for row, column in product(range(kernel[0]), range(kernel[1])):
        rows_of = sliced(call, x, 2, row * dilation[0], stride[0], counts[0])
        tap = sliced(call, rows_of, 3, column * dilation[1], stride[1], counts[1])
        taps.append(call.build.viewed(tap, (1, channels, 1, *counts)))
    return call.build.viewed(call.build.joined(taps, 2), call.shapes[0])


@converts("aten.unfold")
def unfold(call: Call) -> Value:
    """Windows along a dimension; their elements are a new last one."""
    x, size, step = call.value("self"), call["size"], call["step"]
    dim = call.dim("dimension", len(x.shape))
    count = call.shapes[0][dim]
    rest = [other for other in range(len(x.shape) + 1) if other != dim + 1]
    if step == size:
        whole = sliced(call, x, dim, 0, 1, count * size)
        apart = call.build.viewed(whole, (*x.shape[:dim], count, size, *x.shape[dim + 1 :]))
        return call.build.permuted(apart, (*rest, dim + 1))
    parts = [sliced(call, x, dim, first, step, count) for first in range(size)]
    return call.build.joined([call.build.viewed(part, (*part.shape, 1)) for part in parts], len(x.shape))


@converts("aten.embedding")
def embedding(call: Call) -> Value:
    """Rows of a table, by positions that are computed or the model's input."""
    table, indices = call["weight"], call["indices"]
    call.require(isinstance(indices, Value), "its positions must be computed at run time, or be an input")
    rows = call.build.constant(table.array, "table", table.whole_encoding) if isinstance(table, Constant) else ""
    tensor = rows or call.build.contiguous(table).tensor
    found = call.build.add(Gather, [tensor, call.build.contiguous(indices).tensor], axis=0)
    return call.build.fresh(found, range(len(call.shapes[0])))


@converts("aten.index_select", "aten.index")
def index(call: Call) -> Value:
    """Elements of one dimension by their positions; of constant ones, runs of evenly spaced ones are slices."""
    x = call.value("self")
    if call.target == "aten.index":
        given = [(dim, positions) for dim, positions in enumerate(call["indices"]) if positions is not None]
        call.require(len(given) == 1, "positions along several dimensions are not supported")
        dim, positions = given[0]
    else:
        dim, positions = call.dim("dim", len(x.shape)), call["index"]
    if isinstance(positions, Value):
        names = [call.build.contiguous(each).tensor for each in (x, positions)]
        return call.build.fresh(call.build.add(Gather, names, axis=dim), range(len(call.shapes[0])))
    array = np.asarray(positions.array)
    call.require(array.ndim == 1, f"positions of {array.ndim} dimensions are not supported")
    runs = _runs((array % x.shape[dim]).tolist())
    parts = [sliced(call, x, dim, begin, step, count) for begin, step, count in runs]
    return parts[0] if len(parts) == 1 else call.build.joined(parts, dim)


def _runs(positions: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, step, count) of evenly spaced positions, one after the other."""
    runs: list[tuple[int, int, int]] = []
    for position in positions:
        if runs:
            first, step, count = runs[-1]
            if count == 1 and position != first:
                runs[-1] = (first, position - first, 2)
                continue
            if count > 1 and position == first + step * count:
                runs[-1] = (first, step, count + 1)
                continue
        runs.append((position, 1, 1))
    return runs
