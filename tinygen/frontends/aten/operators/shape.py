"""Views, permutations, slices and padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.operators.elementwise import READERS, as_number, elementwise
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Float32, Plain
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.pad import Beyond, MirrorPad, Pad


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
    """Conditions to numbers and back, integers to floats; other types stay what they are."""
    x = call.value("self")
    encoding = call.build.tensors[x.tensor].encoding
    found = str(call.get("dtype") or "").removeprefix("torch.")
    if found in ("", str(encoding)) or (found, str(encoding)) == ("int64", "int32"):
        return x
    if found == "float32" and isinstance(encoding, Plain):
        return as_number(call, x) if encoding == Plain("bool") else Value(call.build.add(Cast, [x.tensor]), x.layout)
    call.require(found == "bool" and isinstance(encoding, Float32), f"conversion to torch.{found} is not supported")
    return elementwise(call, Compare, x, 0.0, encoding=Plain("bool"), relation=Relation.NOT_EQUAL)


@converts("aten.view", "aten.reshape", "aten._unsafe_view", "aten.flatten", "aten.unflatten")
@converts("aten.squeeze", "aten.unsqueeze")
def view(call: Call) -> Value:
    """The same elements, in PyTorch's order, in another shape."""
    return call.build.viewed(call.value("self"), call.shapes[0])


@converts("aten.permute")
def permute(call: Call) -> Value:
    x = call.value("self")
    return call.build.permuted(x, [dim % len(x.shape) for dim in call["dims"]])


@converts("aten.transpose", "aten.t")
def transpose(call: Call) -> Value:
    x = call.value("self")
    rank = len(x.shape)
    order = list(range(rank))
    a, b = (call.dim("dim0", rank), call.dim("dim1", rank)) if "dim0" in call.arguments else (0, rank - 1)
    order[a], order[b] = order[b], order[a]
    return call.build.permuted(x, order)


@converts("aten.expand", "aten.expand_as")
def expand(call: Call) -> Value:
    """Readers that broadcast by themselves are given what is to be expanded."""
    x = call.value("self")
    return x if call.readers <= READERS else call.build.broadcast(x, call.shapes[0])


@converts("aten.cat")
def cat(call: Call) -> Value:
    parts = [part for part in call["tensors"] if math.prod(part.shape)]
    return call.build.joined(parts, call.dim("dim", len(parts[0].shape)))


@converts("aten.stack")
def stack(call: Call) -> Value:
    parts: list[Value | Constant] = []
    rank = len(call["tensors"][0].shape)
    dim = call.dim("dim", rank + 1)
    for part in call["tensors"]:
        shape = (*part.shape[:dim], 1, *part.shape[dim:])
        parts.append(
            Constant(part.array.reshape(shape)) if isinstance(part, Constant) else call.build.viewed(part, shape)
        )
    return call.build.joined(parts, dim)


def sliced(call: Call, x: Value, dim: int, begin: int, step: int, count: int) -> Value:
    """`count` elements of a dimension, from `begin` on."""
    if (begin, step, count) == (0, 1, x.shape[dim]):
        return x
    tensor, order = call.build.plain(x)
    return call.build.fresh(call.build.part(tensor, order.index(dim), begin, step, count), order)


@converts("aten.slice", "aten.narrow")
def part(call: Call) -> Value:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    size = x.shape[dim]
    start = 0 if call["start"] is None else call["start"]
    begin = min(max(start + size if start < 0 else start, 0), size)
    return sliced(call, x, dim, begin, call.get("step", 1), call.shapes[0][dim])


@converts("aten.select")
def select(call: Call) -> Value:
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    return call.build.viewed(sliced(call, x, dim, call["index"] % x.shape[dim], 1, 1), call.shapes[0])


@converts("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.unbind", "aten.tensor_split")
def split(call: Call) -> list[Value]:
    """Parts that nothing reads are not taken out."""
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    single = call.target == "aten.unbind"
    counts = [1 if single else shape[dim] for shape in call.shapes]
    starts = [sum(counts[:index]) for index in range(len(counts))]
    label, values = call.build.label, []
    for index, (start, count) in enumerate(zip(starts, counts, strict=True)):
        if index not in call.taken:
            values.append(x)
            continue
        call.build.label = f"{label}_{index}"
        values.append(call.build.viewed(sliced(call, x, dim, start, 1, count), call.shapes[index]))
    call.build.label = label
    return values


_MODES: dict[str, dict[str, Any]] = {
    "reflect": {"symmetric": False},
    "replicate": {"symmetric": False, "beyond": Beyond.EDGE},
    "circular": {"symmetric": False, "beyond": Beyond.WRAP},
}
_PADDINGS = {
    f"aten.{name}_pad{rank}d": mode
    for name, mode in (("reflection", "reflect"), ("replication", "replicate"))
    for rank in (1, 2)
}


@converts("aten.pad", "aten.constant_pad_nd", "aten._pad_circular", *_PADDINGS)
def pad(call: Call) -> Value:
    """The amounts are given from the last dimension to the first, two each; negative ones crop."""
    x = call.value("self")
    amounts: Sequence[int] = call["pad"] if "pad" in call.arguments else call["padding"]
    pairs = [(0, 0)] * len(x.shape)
    for index in range(len(amounts) // 2):
        pairs[-1 - index] = (amounts[2 * index], amounts[2 * index + 1])
    for dim, (before, after) in enumerate(pairs):
        begin, end = max(-before, 0), x.shape[dim] - max(-after, 0)
        x = sliced(call, x, dim, begin, 1, end - begin)
    mode = _PADDINGS.get(call.target, call.get("mode", "constant"))
    mode = "circular" if call.target == "aten._pad_circular" else mode
    call.require(mode in ("constant", *_MODES), f"mode '{mode}' is not supported")
    tensor, order = call.build.plain(x)
    paddings = tuple((max(pairs[dim][0], 0), max(pairs[dim][1], 0)) for dim in order)
    if not any(any(pair) for pair in paddings):
        return x
    if mode in _MODES:
        output = call.build.add(MirrorPad, [tensor], paddings=paddings, value=0, **_MODES[mode])
    else:
        value = float(call.get("value") or 0.0)
        call.require(math.isfinite(value), f"padding with {value} is not supported")
        output = call.build.add(Pad, [tensor], paddings=paddings, value=value)
    return call.build.fresh(output, order)
