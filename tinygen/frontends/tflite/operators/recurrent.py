"""Recurrent layers: their variable tensors are states of the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tflite

from tinygen.frontends.tflite.registry import Operator, converts
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.lstm import GATES, Lstm
from tinygen.ir.ops.svdf import Svdf
from tinygen.ir.state import State
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor

_WEIGHTS, _RECURRENT, _BIASES, _HIDDEN, _CELL = 1, 5, 12, 18, 19
"""Where TFLite's operands begin."""
_WITHOUT = {
    "peephole weights": range(9, 12),
    "a projection": range(16, 18),
    "layer normalization": range(20, 24),
}
_HIDDEN_BEFORE_PROJECTION = 4
"""Of the intermediate tensors."""


@converts(tflite.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM)
def lstm(operator: Operator) -> Steps:
    options = operator.options(tflite.UnidirectionalSequenceLSTMOptions)
    given = dict(enumerate(operator.inputs))
    for what, places in _WITHOUT.items():
        operator.require(
            all(given.get(index) is None for index in places), f"{what} in an LSTM are not supported", _PLAIN
        )
    gates = [*range(_WEIGHTS, _WEIGHTS + GATES), *range(_RECURRENT, _RECURRENT + GATES)]
    operator.require(all(given[index] is not None for index in gates), "coupled gates (CIFG) are not supported", _PLAIN)
    tanh = options.FusedActivationFunction() == tflite.ActivationFunctionType.TANH
    operator.require(tanh, "activations of an LSTM other than tanh are not supported", _PLAIN)
    _require_axis(operator, time_major=options.TimeMajor())
    hidden, cell = _state(operator, _HIDDEN), _state(operator, _CELL)
    after = [_after(operator, state) for state in (hidden, cell)]
    operands = (given[0], hidden, cell, *(given[index] for index in (*gates, *range(_BIASES, _BIASES + GATES))))
    op = Lstm(
        name=operator.name,
        inputs=tuple(tensor.name if tensor else "" for tensor in operands),
        outputs=(operator.outputs[0].name, *(tensor.name for tensor in after)),
        cell_clip=float(options.CellClip()),
    )
    return Steps((op,), tuple(after), tuple(map(_kept, (hidden, cell), after)))


@converts(tflite.BuiltinOperator.SVDF)
def svdf(operator: Operator) -> Steps:
    options = operator.options(tflite.SVDFOptions)
    x, features, time, bias = (operator.inputs[index] for index in range(4))
    state = _state(operator, 4)
    assert x is not None and features is not None and time is not None
    relu = options.FusedActivationFunction() == tflite.ActivationFunctionType.RELU
    operator.require(x.is_float or relu, "an integer SVDF must have the activation RELU, as in LiteRT")
    after = _after(operator, state)
    op = Svdf(
        name=operator.name,
        inputs=(x.name, state.name, features.name, time.name, bias.name if bias else ""),
        outputs=(operator.outputs[0].name, after.name),
        rank=options.Rank(),
        activation=operator.activation(options.FusedActivationFunction()),
    )
    return Steps((op,), (after,), (_kept(state, after),))


_PLAIN = "Use keras.layers.LSTM with its default activations: it has none of these."


def _require_axis(operator: Operator, *, time_major: bool) -> None:
    x = operator.inputs[0]
    assert x is not None
    batch = len(x.shape) == 3 and x.shape[1 if time_major else 0]
    operator.require(batch == 1, "sequences in a batch are not supported", "Export the model with a batch size of 1.")


def _state(operator: Operator, index: int) -> Tensor:
    """A variable tensor; one row of it."""
    state = operator.inputs[index]
    assert state is not None
    variable = operator.declared[state.name].is_variable
    operator.require(variable, f"'{state.name}', a state, is no variable tensor")
    return state


def _after(operator: Operator, state: Tensor) -> Tensor:
    """What a state becomes."""
    return replace(state, name=f"{state.name} after {operator.name}")


def _kept(state: Tensor, after: Tensor) -> State:
    return State(state.name, after.name, _initial(state))


def _initial(state: Tensor) -> np.ndarray:
    """What LiteRT and TensorFlow Lite Micro reset a variable tensor to: int8 to its zero point, others to zero."""
    zero = state.zero_point if isinstance(state.encoding, Affine) and state.dtype == np.int8 else 0
    return np.full(state.shape, zero, state.dtype)
