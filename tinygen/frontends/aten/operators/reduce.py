"""Reductions over any dimensions: means, sums, largest and smallest values, variances, positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygen.frontends.aten.builder import Length, Value
from tinygen.frontends.aten.operators.elementwise import as_number
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Plain
from tinygen.ir.ops.binary import Mul, Sub
from tinygen.ir.ops.elementary import Sqrt, Square
from tinygen.ir.ops.reduce import (
    ArgMax,
    ArgMin,
    Mean,
    Prod,
    Reduce,
    ReduceAll,
    ReduceAny,
    ReduceMax,
    ReduceMin,
    Sum,
)
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.unary import Abs


@converts("aten.mean")
def mean(call: Call) -> Value:
    return reduced(call, Mean, call.value("self"))


@converts("aten.sum")
def total(call: Call) -> Value:
    return reduced(call, Sum, as_number(call, call.value("self")))


@converts("aten.prod")
def product(call: Call) -> Value:
    return reduced(call, Prod, call.value("self"))


@converts("aten.any", "aten.all")
def truth(call: Call) -> Value:
    return reduced(call, ReduceAny if call.target == "aten.any" else ReduceAll, call.value("self"))


@converts("aten.linalg_vector_norm", "aten.norm")
def length(call: Call) -> Value:
    """The root of the sum of squares, the sum of magnitudes, or the largest one."""
    x, build = call.value("self"), call.build
    order = call.get("ord", call.get("p"))
    order = 2.0 if order is None else float(order)
    call.require(order in (1.0, 2.0, math.inf), f"a norm of order {order} is not supported", "Supported: 1, 2 and inf.")
    inner = build.add(Square if order == 2 else Abs, [x.tensor], "squares" if order == 2 else "sizes")
    result = reduced(call, ReduceMax if order == math.inf else Sum, Value(inner, x.layout))
    if order != 2:
        return result
    root = Value(build.add(Sqrt, [result.tensor], "root"), result.layout)
    if call.get("keepdim", False):
        build.lengths[root.tensor] = Length(x, frozenset(_dims(call, len(x.shape))))
    return root


@converts("aten.amax")
def largest(call: Call) -> Value:
    return reduced(call, ReduceMax, call.value("self"))


@converts("aten.amin")
def smallest(call: Call) -> Value:
    return reduced(call, ReduceMin, call.value("self"))


@converts("aten.max", "aten.min")
def extremum(call: Call) -> Value | list[Value]:
    """Of all elements; or along a dimension, with positions."""
    call.require("other" not in call.arguments, "of two tensors is not supported", "Use torch.maximum or minimum.")
    kind: type[Reduce] = ReduceMax if call.target == "aten.max" else ReduceMin
    values = reduced(call, kind, call.value("self"))
    if "dim" not in call.arguments:
        return values
    return [values, *([_position(call, values)] if 1 in call.taken else [])]


@converts("aten.argmax", "aten.argmin")
def position(call: Call) -> Value:
    call.require(call.get("dim") is not None, "of all elements", "Flatten the tensor, and give dim.")
    return _position(call, call.value("self"))


def _position(call: Call, like: Value) -> Value:
    """The position of the first largest or smallest element along one dimension."""
    x = call.value("self")
    dim = call.dim("dim", len(x.shape))
    tensor, order = call.build.plain(x)
    kind = ArgMax if "max" in call.target else ArgMin
    found = call.build.add(kind, [tensor], "position", encoding=Plain("int32"), axis=order.index(dim))
    rest = [other for other in order if other != dim]
    result = call.build.fresh(found, [sorted(rest).index(other) for other in rest])
    shape = [1 if other == dim else size for other, size in enumerate(x.shape)]
    return call.build.viewed(result, shape) if call.get("keepdim", False) else result


@converts("aten.topk")
def top_k(call: Call) -> list[Value]:
    """The k largest, largest first, and their positions."""
    x = call.value("self")
    rank = len(x.shape)
    dim = call.dim("dim", rank)
    call.require(bool(call["largest"]), "the smallest elements", "Take those of the negated tensor.")
    order = (*(other for other in range(rank) if other != dim), dim)
    tensor = call.build.stored(x, order)
    encodings = (call.build.tensors[tensor].encoding, Plain("int32"))
    names = call.build.add_several(TopK, [tensor], encodings, k=int(call["k"]))
    return [call.build.fresh(name, order) for name in names]


@converts("aten.std")
def deviation(call: Call) -> Value:
    spread = _variance(call)
    return Value(call.build.add(Sqrt, [spread.tensor], "root"), spread.layout)


@converts("aten.var")
def variance(call: Call) -> Value:
    return _variance(call)


def _variance(call: Call) -> Value:
    """The mean square of the distances from the mean, times n / (n - correction)."""
    x, build = call.value("self"), call.build
    dims = _dims(call, len(x.shape))
    correction = call.get("correction")
    given = float(bool(call.get("unbiased", True))) if correction is None else float(correction)
    count = float(np.prod([x.shape[dim] for dim in dims]))
    call.require(count > given, f"the variance of {count:.0f} elements with a correction of {given:g}")
    tensor, order = build.plain(x)
    axes = tuple(place for place, dim in enumerate(order) if dim in dims)
    middle = build.add(Mean, [tensor], "mean", axes=axes, keep_dims=True)
    away = build.fresh(build.add(Sub, [tensor, middle], "away"), order)
    squares = build.fresh(build.add(Mul, [away.tensor, away.tensor], "squares"), order)
    result = reduced(call, Mean, squares)
    if given == 0:
        return result
    factor = build.constant(np.array([count / (count - given)]), "factor")
    return Value(build.add(Mul, [result.tensor, factor], "corrected"), result.layout)


def _dims(call: Call, rank: int) -> set[int]:
    """Dimensions that are reduced; all if none are given."""
    given = call.get("dim")
    if given is None:
        return set(range(rank))
    several: Sequence[int] = given if isinstance(given, Sequence) else [given]
    return {dim % rank for dim in several} or set(range(rank))


def reduced(call: Call, kind: type[Reduce], x: Value) -> Value:
    """One reduction, over the call's dimensions."""
    rank = len(x.shape)
    dims = _dims(call, rank)
    tensor, order = call.build.plain(x)
    axes = tuple(place for place, dim in enumerate(order) if dim in dims)
    encoding = call.build.tensors[tensor].encoding
    result = call.build.fresh(call.build.add(kind, [tensor], encoding=encoding, axes=axes, keep_dims=True), order)
    if call.get("keepdim", False):
        return result
    return call.build.viewed(result, [size for dim, size in enumerate(result.shape) if dim not in dims])
