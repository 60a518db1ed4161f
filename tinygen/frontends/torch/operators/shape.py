"""Views, permutations, slices and padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygen.frontends.torch.builder import Constant, Value
from tinygen.frontends.torch.registry import Call, converts
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.pad import MirrorPad, Pad


@converts(
    "aten.dropout",
    "aten.clone",
    "aten.contiguous",
    "aten.alias",
    "aten.detach",
    "aten.lift_fresh_copy",
    "aten.feature_dropout",
)
def identity(call: Call) -> Value:
    call.require(not call.get("train", False), "dropout must be in evaluation mode", "Call module.eval().")
    name = "self" if "self" in call.arguments else "input"
    return call.value(name)


@converts("aten._to_copy", "aten.to")
def convert(call: Call) -> Value:
    dtype = str(call.get("dtype") or "torch.float32")
    call.require(dtype == "torch.float32", f"conversion to {dtype} is not supported")
    return call.value("self")


@converts("aten.view", "aten.reshape", "aten._unsafe_view", "aten.flatten", "aten.squeeze", "aten.unsqueeze")
def view(call: Call) -> Value:
    """The same elements, in PyTorch's order, in another shape."""
    x, shape = call.value("self"), call.shapes[0]
    layout = x.layout.viewed(shape)
    if layout is None:
        x = call.build.contiguous(x)
        layout = x.layout.viewed(shape)
    assert layout is not None
    return Value(x.tensor, layout)


@converts("aten.permute")
def permute(call: Call) -> Value:
    x = call.value("self")
    return Value(x.tensor, x.layout.permuted([dim % len(x.shape) for dim in call["dims"]]))


@converts("aten.transpose", "aten.t")
def transpose(call: Call) -> Value:
    x = call.value("self")
    rank = len(x.shape)
    order = list(range(rank))
    a, b = (call.dim("dim0", rank), call.dim("dim1", rank)) if "dim0" in call.arguments else (0, rank - 1)
    order[a], order[b] = order[b], order[a]
    return Value(x.tensor, x.layout.permuted(order))


@converts("aten.cat")
def cat(call: Call) -> Value:
    parts = call["tensors"]
    call.require(not any(isinstance(part, Constant) for part in parts), "constants among its parts")
    rank = len(parts[0].shape)
    dim = call.dim("dim", rank)
    _, order = call.build.plain(parts[0])
    names = [call.build.stored(part, order) for part in parts]
    return call.build.fresh(call.build.add(Concatenation, names, axis=order.index(dim)), order)


def _slice(call: Call, x: Value, dim: int, begin: int, step: int, count: int) -> Value:
    tensor, order = call.build.plain(x)
    shape, axis = call.build.tensors[tensor].shape, order.index(dim)
    rank = range(len(shape))
    output = call.build.add(
        StridedSlice,
        [tensor],
        begin=tuple(begin if i == axis else 0 for i in rank),
        step=tuple(step if i == axis else 1 for i in rank),
        count=tuple(count if i == axis else shape[i] for i in rank),
        axes=tuple(rank),
    )
    return call.build.fresh(output, order)


@converts("aten.slice")
def part(call: Call) -> Value:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    size = x.shape[dim]
    start = 0 if call["start"] is None else call["start"]
    begin = min(max(start + size if start < 0 else start, 0), size)
    count = call.shapes[0][dim]
    if count == size:
        return x
    return _slice(call, x, dim, begin, call["step"], count)


@converts("aten.select")
def select(call: Call) -> Value:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    one = _slice(call, x, dim, call["index"] % x.shape[dim], 1, 1)
    layout = one.layout.viewed(call.shapes[0])
    assert layout is not None
    return Value(one.tensor, layout)


@converts("aten.split", "aten.split_with_sizes", "aten.chunk")
def split(call: Call) -> list[Value]:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    counts = [shape[dim] for shape in call.shapes]
    starts = [sum(counts[:index]) for index in range(len(counts))]
    label, values = call.build.label, []
    for index, (start, count) in enumerate(zip(starts, counts, strict=True)):
        call.build.label = f"{label}_{index}"
        values.append(_slice(call, x, dim, start, 1, count))
    call.build.label = label
    return values


@converts("aten.pad", "aten.constant_pad_nd", "aten.reflection_pad2d", "aten.reflection_pad1d")
def pad(call: Call) -> Value:
    """The amounts are given from the last dimension to the first, two each."""
    x = call.value("self")
    amounts: Sequence[int] = call["pad"] if "pad" in call.arguments else call["padding"]
    call.require(min(amounts) >= 0, "negative padding is not supported")
    pairs = [(0, 0)] * len(x.shape)
    for index in range(len(amounts) // 2):
        pairs[-1 - index] = (amounts[2 * index], amounts[2 * index + 1])
    mode = "reflect" if "reflection" in call.target else call.get("mode", "constant")
    call.require(mode in ("constant", "reflect"), f"mode '{mode}' is not supported")
    tensor, order = call.build.plain(x)
    paddings = tuple(pairs[dim] for dim in order)
    if mode == "reflect":
        output = call.build.add(MirrorPad, [tensor], paddings=paddings, value=0, symmetric=False)
    else:
        value = float(call.get("value") or 0.0)
        call.require(math.isfinite(value), f"padding with {value} is not supported")
        output = call.build.add(Pad, [tensor], paddings=paddings, value=value)
    return call.build.fresh(output, order)
