"""Recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Float32
from tinygen.ir.ops import gru, lstm
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.gru import Gru
from tinygen.ir.ops.lstm import Lstm

_WEIGHTS, _WITH_BIASES = 2, 4
"""Parameters of a layer."""


@converts("aten.lstm", "aten.gru")
def recurrent(call: Call) -> list[Value]:
    """Layers one after the other, each in one direction or both. Gates have the order that ours have."""
    call.require("batch_first" in call.arguments, "packed sequences are not supported", "Give it padded sequences.")
    directions = 2 if call["bidirectional"] else 1
    each = _WITH_BIASES if call["has_biases"] else _WEIGHTS
    count = call["num_layers"] * directions
    call.require(len(call["params"]) == each * count, "projections (proj_size) are not supported")
    x = call.value("input")
    batch, time = (0, 1) if call["batch_first"] else (1, 0)
    call.require(x.shape[batch] == 1, "sequences in a batch are not supported", "Export it with a batch size of 1.")
    sequence, label = call.build.stored(x, range(3)), call.build.label
    states: list[list[str]] = []
    for layer in range(call["num_layers"]):
        found = []
        for direction in range(directions):
            number = layer * directions + direction
            call.build.label = label if count == 1 else f"{label}_{number}"
            given = _reversed(call, sequence, time) if direction else sequence
            y, *after = _layer(call, given, call["params"][each * number : each * (number + 1)], number)
            found.append(_reversed(call, y, time) if direction else y)
            states.append(after)
        sequence = found[0] if directions == 1 else call.build.add(Concatenation, found, "directions", axis=2)
    call.build.label = label
    stacked = [_stacked(call, list(rows)) for rows in zip(*states, strict=True)]
    return [call.build.fresh(sequence, range(3)), *stacked]


def _layer(call: Call, x: str, params: list[Any], number: int) -> list[str]:
    """Names of the outputs of one direction of a layer."""
    kind, gates, states = (Lstm, lstm.GATES, 2) if call.target == "aten.lstm" else (Gru, gru.GATES, 1)
    arrays = []
    for found in params:
        call.require(isinstance(found, Constant), "its weights must be constants")
        arrays.append(np.asarray(found.array, np.float32))
    if kind is Lstm and len(arrays) > _WEIGHTS:
        # Both biases are added to the same sum.
        arrays[_WEIGHTS:] = [arrays[2] + arrays[3]]
    names = [
        call.build.constant(part, what)
        for array, what in zip(arrays, ("weights", "recurrent", "bias", "recurrent_bias"), strict=False)
        for part in np.split(array, gates)
    ]
    begun = call["hx"] if isinstance(call["hx"], list) else [call["hx"]]
    initial = [_initial(call, given, number, what) for given, what in zip(begun, ("hidden", "cell"), strict=False)]
    wanted = (3 if kind is Lstm else 4) * gates
    absent = [""] * (wanted - len(names))
    return call.build.add_several(kind, [x, *initial, *names, *absent], [Float32()] * (1 + states))


def _initial(call: Call, given: Any, number: int, what: str) -> str:
    """The state of a layer's direction before the first step: row `number` of [layers, 1, H]."""
    if isinstance(given, Constant):
        return call.build.constant(np.asarray(given.array)[number], what)
    tensor = call.build.part(call.build.stored(given, range(3)), 0, number, 1, 1)
    return call.build.shaped(tensor, (1, given.shape[2]))


def _reversed(call: Call, tensor: str, axis: int) -> str:
    length = call.build.tensors[tensor].shape[axis]
    return call.build.part(tensor, axis, length - 1, -1, length)


def _stacked(call: Call, states: list[str]) -> Value:
    """[layers, 1, H] of the states after the last step."""
    rows = [call.build.shaped(state, (1, *call.build.tensors[state].shape)) for state in states]
    whole = rows[0] if len(rows) == 1 else call.build.add(Concatenation, rows, "states", axis=0)
    return call.build.fresh(whole, range(3))
