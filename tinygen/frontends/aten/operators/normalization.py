"""Layer, group, instance and RMS norm, whose statistics are those of the sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.normalization import Normalization

_RMS_EPSILON = float(np.finfo(np.float32).eps)
"""Of rms_norm, if none is given."""


@converts("aten.layer_norm", "aten.native_layer_norm")
def layer_norm(call: Call) -> Value | list[Value]:
    """Over the last dimensions; gain and offset have one value per element of these."""
    result = _over_last(call, float(call["eps"]), centred=True)
    return [result] if call.target == "aten.native_layer_norm" else result


@converts("aten.rms_norm")
def rms_norm(call: Call) -> Value:
    epsilon = call.get("eps")
    return _over_last(call, _RMS_EPSILON if epsilon is None else float(epsilon), centred=False)


def _over_last(call: Call, epsilon: float, *, centred: bool) -> Value:
    x, count = call.value("input"), len(call["normalized_shape"])
    rank = len(x.shape)
    dims = range(rank - count, rank)
    return _normalized(call, x, dims, dims, {"epsilon": epsilon, "centred": centred})


@converts("aten.group_norm", "aten.native_group_norm")
def group_norm(call: Call) -> Value | list[Value]:
    """Over parts of the channels, dimension 1, with all behind them."""
    x = call.value("input")
    native = call.target == "aten.native_group_norm"
    groups = int(call["group"] if native else call["num_groups"])
    result = _normalized(call, x, range(1, len(x.shape)), (1,), {"epsilon": float(call["eps"]), "groups": groups})
    return [result] if native else result


@converts("aten.instance_norm")
def instance_norm(call: Call) -> Value:
    """Over all behind the channels."""
    x = call.value("input")
    call.require(bool(call["use_input_stats"]), "instance norm by running statistics", "Leave out track_running_stats.")
    return _normalized(call, x, range(2, len(x.shape)), (1,), {"epsilon": float(call["eps"])})


def _normalized(
    call: Call, x: Value, over: Sequence[int], parameters: Sequence[int], attributes: Mapping[str, Any]
) -> Value:
    """The norm.

    Args:
        over: dimensions of a group.
        parameters: dimensions of gain and offset.
        attributes: of the operator: groups are those of dimension 1.
    """
    rank = len(x.shape)
    if attributes.get("groups", 1) > 1:
        order: tuple[int, ...] = (0, *range(2, rank), 1)
        tensor = call.build.stored(x, order)
    else:
        tensor, order = call.build.plain(x)
    given = [_parameter(call, name, x, parameters, order) for name in ("weight", "bias") if name in call.arguments]
    while given and not given[-1]:
        given.pop()
    output = call.build.add(
        Normalization,
        [tensor, *given],
        axes=tuple(place for place, dim in enumerate(order) if dim in over),
        **attributes,
    )
    return call.build.fresh(output, order)


def _parameter(call: Call, name: str, x: Value, dims: Sequence[int], order: Sequence[int]) -> str:
    """A gain or an offset as a constant that broadcasts to the tensor; "" if it is absent."""
    array = call.array(name)
    if array is None:
        return ""
    shape = [x.shape[dim] if dim in dims else 1 for dim in range(len(x.shape))]
    stored = array.reshape(shape).transpose(order)
    while stored.ndim > 1 and stored.shape[0] == 1:
        stored = stored[0]
    return call.build.constant(stored, "gain" if name == "weight" else "offset")
