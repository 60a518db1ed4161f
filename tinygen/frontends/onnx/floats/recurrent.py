"""Recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.frontends.onnx.floats.calls import call, calls
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Constant, Value

_X, _WEIGHTS, _RECURRENT, _BIASES, _LENGTHS, _HIDDEN, _CELL, _PEEPHOLES = range(8)
_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""Gates are input, output, forget, cell, and update, reset, hidden; ATen's are input, forget, cell, output, and reset,
update, new."""
_USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh")}


@computes("LSTM", "GRU")
def recurrent(operator: Operator) -> list[Value]:
    """X is [T, 1, I]; Y is [T, directions, 1, H], and the states after the last step are [directions, 1, H]."""
    direction = operator.attributes.get("direction", "forward")
    _require_plain(operator)
    x, backwards = operator.real(_X), direction == "reverse"
    given = call(operator, "flip", self=x, dims=[0]) if backwards else x
    weights, recurrent = (_by_gate(operator, index, 1) for index in (_WEIGHTS, _RECURRENT))
    directions, size = len(weights), recurrent.shape[-1]
    biases = _by_gate(operator, _BIASES, 2) if operator.has(_BIASES) else np.zeros((directions, 2 * weights.shape[1]))
    params: list[Any] = []
    for number in range(directions):
        params += [weights[number], recurrent[number], *np.split(biases[number].astype(np.float32), 2)]
    states = [_initial(operator, index, (directions, 1, size)) for index in (_HIDDEN, _CELL)]
    y, *after = calls(
        operator,
        operator.kind.lower(),
        input=given,
        hx=states if operator.kind == "LSTM" else states[0],
        params=params,
        has_biases=True,
        num_layers=1,
        bidirectional=direction == "bidirectional",
        batch_first=False,
    )
    if backwards:
        y = call(operator, "flip", self=y, dims=[0])
    apart = call(operator, "view", shapes=[(x.shape[0], 1, directions, size)], self=y)
    return [call(operator, "permute", self=apart, dims=[0, 2, 1, 3]), *after]


def _require_plain(operator: Operator) -> None:
    usual = _USUAL[operator.kind]
    activations = [str(name).lower() for name in operator.attributes.get("activations", usual)]
    repeated = list(usual) * (len(activations) // len(usual))
    operator.require(activations == repeated, "other activations than sigmoid and tanh")
    for name, what in (("clip", "clipped gates"), ("input_forget", "coupled gates"), ("layout", "batches first")):
        operator.require(not operator.attributes.get(name), what)
    behind = operator.kind == "LSTM" or operator.attributes.get("linear_before_reset")
    operator.require(
        bool(behind), "a reset gate in front of the recurrent product", "Set linear_before_reset, as PyTorch."
    )
    for index, what in ((_LENGTHS, "lengths of sequences"), (_PEEPHOLES, "peephole weights")):
        operator.require(not operator.has(index), what, "Export the layer without them.")


def _by_gate(operator: Operator, index: int, count: int) -> np.ndarray:
    """Weights [directions, gates * H, ...], or biases [directions, 2 * gates * H], in ATen's order of gates."""
    array, order = operator.array(index, "weights"), list(_ORDERS[operator.kind])
    parts = len(order) * count
    operator.damaged(array.ndim < 2 or array.shape[1] % parts != 0, f"parameters {list(array.shape)}")
    apart = array.reshape(len(array), count, len(order), array.shape[1] // parts, *array.shape[2:])
    return np.asarray(apart[:, :, order].reshape(array.shape))


def _initial(operator: Operator, index: int, shape: tuple[int, ...]) -> np.ndarray | Coded:
    if not operator.has(index):
        return np.zeros(shape, np.float32)
    is_constant = isinstance(operator.value(index), Constant)
    return operator.array(index, "initial state") if is_constant else operator.real(index)
