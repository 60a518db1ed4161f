"""LSTM: long short-term memory over a sequence (UNIDIRECTIONAL_SEQUENCE_LSTM)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import gemmlowp_16
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

GATES = 4
X, HIDDEN, CELL, WEIGHTS, RECURRENT, BIASES = 0, 1, 2, 3, 3 + GATES, 3 + 2 * GATES
"""Where inputs begin; of weights and biases there is one per gate: input, forget, cell, output."""
_GATE_SCALE = 2.0**-12
_MOST_CELL_BITS = 6


@dataclass(frozen=True, kw_only=True)
class Lstm(Op):
    """Inputs: x [1, T, I] or [T, 1, I]; hidden and cell state [1, H]; for the gates input, forget, cell and output
    weights [H, I] each, then recurrent weights [H, H] each, then biases [H] each (or ""). Outputs: the hidden state of
    every step, [1, T, H] or [T, 1, H], and both states after the last one.

    With i, f, g, o = W x + R hidden + b for the four gates:
    cell = sigmoid(f) cell + sigmoid(i) tanh(g), clipped; hidden = sigmoid(o) tanh(cell).

    All is float32; or x, hidden and weights are int8, biases int32, the cell int16 in a scale that is a power of two,
    and gates int16 in Q3: TFLite's integer kernel (lstm_eval.cc, `EvalInteger8x8_16`), bit for bit.

    Attributes:
        cell_clip: largest magnitude of the cell's real value; 0 for none.
    """

    KIND: ClassVar[str] = "lstm"

    cell_clip: float = 0.0

    def infer_shapes(self, node: Node) -> list[Shape]:
        first, second, _ = node.input(X).shape
        state = node.input(HIDDEN).shape
        return [(first, second, state[1]), state, node.input(CELL).shape]

    def check(self, node: Node) -> None:
        x, hidden, cell = (node.input(index) for index in (X, HIDDEN, CELL))
        node.require(len(x.shape) == 3 and 1 in x.shape[:2], "batches of sequences are not supported")
        units, depth = hidden.shape[-1], x.shape[-1]
        node.require(hidden.shape == cell.shape == (1, units), "states must be [1, units]")
        for index in range(GATES):
            weights, recurrent = node.input(WEIGHTS + index), node.input(RECURRENT + index)
            node.require(weights.shape == (units, depth), f"weights {list(weights.shape)} of {units} units")
            node.require(recurrent.shape == (units, units), f"recurrent weights {list(recurrent.shape)}")
            node.require(weights.is_constant and recurrent.is_constant, "weights must be constants")
            bias = node.optional(BIASES + index)
            node.require(bias is None or (bias.is_constant and bias.shape == (units,)), "biases must be constants")
        y = node.outputs
        same = (y[0].encoding, y[1].encoding, y[2].encoding) == (hidden.encoding, hidden.encoding, cell.encoding)
        node.require(same, "outputs must have the encodings of the states")
        node.require(self.cell_clip >= 0 and math.isfinite(self.cell_clip), f"a cell clip of {self.cell_clip}")
        if not x.is_float:
            self._check_integers(node)
            return
        tensors = [tensor for tensor in node.inputs if tensor is not None]
        node.require(all(tensor.is_float for tensor in tensors), "operands must all be float32")

    def _check_integers(self, node: Node) -> None:
        x, hidden, cell = (node.input(index) for index in (X, HIDDEN, CELL))
        for tensor in (x, hidden):
            node.require(_is_int8(tensor), f"{tensor.encoding} of '{tensor.name}' is not int8 with one scale")
        for index in range(WEIGHTS, BIASES):
            weights = node.input(index)
            good = _is_int8(weights) and weights.zero_point == 0
            node.require(good, f"weights of {weights.encoding} are not int8 with one scale and zero point 0")
        for index in range(BIASES, BIASES + GATES):
            bias = node.optional(index)
            node.require(bias is None or bias.dtype == np.int32, "biases must be int32")
        one = isinstance(cell.encoding, Affine) and cell.dtype == np.int16 and not cell.encoding.per_channel
        node.require(one and cell.zero_point == 0, f"a cell of {cell.encoding} is not int16 with one scale")
        power = math.frexp(cell.scale)[0] == 0.5 and 0 <= cell_bits(node) <= _MOST_CELL_BITS
        node.require(power, f"the cell's scale {cell.scale} is no power of two from 2**-15 to 2**-9")
        node.require(_largest_sum(node) < 2**31, "sums may not fit 32 bits")
        form = IntegerForm.of(node)
        node.require_multipliers([*form.scales, *form.recurrent_scales, form.hidden_scale])

    def macs(self, node: Node) -> int:
        units, depth = node.input(WEIGHTS).shape
        return GATES * steps(node) * units * (depth + units)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        hidden, cells = self._states(node, values)
        return [hidden.reshape(node.output.shape), hidden[-1:], cells[-1:]]

    def cells(self, node: Node, values: Sequence[np.ndarray]) -> np.ndarray:
        """The cell after each step, [T, H]."""
        return self._states(node, values)[1]

    def _states(self, node: Node, values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Both states after each step, [T, H]."""
        form = _Floats(self.cell_clip) if node.input(X).is_float else IntegerForm.of(node)
        states = [(values[HIDDEN][0], values[CELL][0])]
        for row in values[X].reshape(steps(node), -1):
            states.append(form.step(values, row, *states[-1]))
        hidden, cells = zip(*states[1:], strict=True)
        return np.stack(hidden), np.stack(cells)


def steps(node: Node) -> int:
    """Of the sequence."""
    return node.input(X).shape[0] * node.input(X).shape[1]


def cell_bits(node: Node) -> int:
    """Integer bits of the cell's codes."""
    return 15 + math.frexp(node.input(CELL).scale)[1] - 1


def _largest_sum(node: Node) -> int:
    """A bound of sums, and of what biases with a zero point's share are."""
    found = 0
    for gate in range(GATES):
        bias = node.optional(BIASES + gate)
        begin = 0 if bias is None or bias.data is None else int(np.abs(bias.data.astype(np.int64)).max(initial=0))
        for first in (WEIGHTS, RECURRENT):
            found = max(
                found, begin + 256 * int(np.abs(node.constant(first + gate).astype(np.int64)).sum(axis=1).max())
            )
    return found


def _is_int8(tensor: Tensor) -> bool:
    return isinstance(tensor.encoding, Affine) and tensor.dtype == np.int8 and not tensor.encoding.per_channel


@dataclass(frozen=True)
class _Floats:
    """The arithmetic of float32."""

    cell_clip: float

    def step(
        self, values: Sequence[np.ndarray], x: np.ndarray, hidden: np.ndarray, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The states after one step."""
        sums = []
        for gate in range(GATES):
            bias = values[BIASES + gate] if values[BIASES + gate].size else np.float32(0)
            products = (values[WEIGHTS + gate], x), (values[RECURRENT + gate], hidden)
            sums.append(bias + sum(mac.product(weights, row[:, None])[:, 0] for weights, row in products))
        with np.errstate(over="ignore"):
            update, forget, output = (1 / (1 + np.exp(-sums[gate].astype(np.float64))) for gate in (0, 1, 3))
        after = forget * cell + update * np.tanh(sums[2].astype(np.float64))
        if self.cell_clip:
            after = np.clip(after, -self.cell_clip, self.cell_clip)
        return (output * np.tanh(after)).astype(np.float32), after.astype(np.float32)


@dataclass(frozen=True)
class IntegerForm:
    """The integer arithmetic's numbers, all in single precision as LiteRT computes them.

    Attributes:
        scales, recurrent_scales: real multipliers of the gates' sums.
        hidden_scale, hidden_zero: of sigmoid(o) tanh(cell), a product of two numbers in Q0.
        x_zero: zero point of x; `hidden_zero` is the hidden state's.
        cell_bits: integer bits of the cell.
        cell_clip: largest code of the cell; 0 for none.
    """

    scales: tuple[float, ...]
    recurrent_scales: tuple[float, ...]
    hidden_scale: float
    x_zero: int
    hidden_zero: int
    cell_bits: int
    cell_clip: int

    @staticmethod
    def of(node: Node) -> IntegerForm:
        op = node.op
        assert isinstance(op, Lstm)
        x, hidden, cell = (node.input(index) for index in (X, HIDDEN, CELL))

        def scales(first: int, tensor: Tensor) -> tuple[float, ...]:
            weights = (np.float32(node.input(first + gate).scale) for gate in range(GATES))
            return tuple(float(one * np.float32(tensor.scale) / np.float32(_GATE_SCALE)) for one in weights)

        clip = np.float32(op.cell_clip) / np.float32(cell.scale)
        return IntegerForm(
            scales=scales(WEIGHTS, x),
            recurrent_scales=scales(RECURRENT, hidden),
            hidden_scale=float(np.float32(2.0**-15 / np.float64(np.float32(hidden.scale)) * 2.0**-15)),
            x_zero=x.zero_point,
            hidden_zero=hidden.zero_point,
            cell_bits=cell_bits(node),
            cell_clip=int(min(max(clip, np.float32(-32768)), np.float32(32767))) if op.cell_clip > 0 else 0,
        )

    def step(
        self, values: Sequence[np.ndarray], x: np.ndarray, hidden: np.ndarray, cell: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The states' codes after one step."""
        gates = [self._gate(values, gate, x, hidden) for gate in range(GATES)]
        update, forget, output = (gemmlowp_16.sigmoid(gates[gate]) for gate in (0, 1, 3))
        kept = rounding_divide_by_pot(forget * cell.astype(np.int64), 15)
        # Of a product of two numbers in Q0, 30 fractional bits less the cell's are dropped.
        added = rounding_divide_by_pot(update * gemmlowp_16.tanh(gates[2], 3), 15 + self.cell_bits)
        after = np.clip(kept + added, -(2**15), 2**15 - 1)
        if self.cell_clip:
            after = np.clip(after, -self.cell_clip, self.cell_clip)
        product = output * gemmlowp_16.tanh(after, self.cell_bits)
        codes = multiply_by_quantized_multiplier(product, *quantize_multiplier(self.hidden_scale)) + self.hidden_zero
        return np.clip(codes, -128, 127).astype(np.int8), after.astype(np.int16)

    def _gate(self, values: Sequence[np.ndarray], gate: int, x: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """A gate's sum in Q3: products of x, saturated to 16 bits, then of the hidden state."""
        bias = values[BIASES + gate] if values[BIASES + gate].size else np.zeros(1)
        of_input = values[WEIGHTS + gate].astype(np.int64) @ (x.astype(np.int64) - self.x_zero) + bias.astype(np.int64)
        of_hidden = values[RECURRENT + gate].astype(np.int64) @ (hidden.astype(np.int64) - self.hidden_zero)
        scale, recurrent_scale = (quantize_multiplier(of[gate]) for of in (self.scales, self.recurrent_scales))
        total = np.clip(multiply_by_quantized_multiplier(of_input, *scale), -(2**15), 2**15 - 1)
        return np.clip(total + multiply_by_quantized_multiplier(of_hidden, *recurrent_scale), -(2**15), 2**15 - 1)
