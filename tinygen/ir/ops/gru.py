"""GRU: gated recurrent units over a sequence, the reset gate behind the recurrent product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir import gemmlowp_16
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape, Tensor

GATES = 3
X, HIDDEN, WEIGHTS, RECURRENT, BIASES, RECURRENT_BIASES = 0, 1, 2, 2 + GATES, 2 + 2 * GATES, 2 + 3 * GATES
"""Where inputs begin; of weights and biases there is one per gate: reset, update, new."""
_GATE_SCALE = 2.0**-12
STATE = Affine("int16", (2.0**-15,), (0,))
"""Of the integer state: it is never larger than 1."""
_LEAST, _MOST = -(2**15), 2**15 - 1


@dataclass(frozen=True, kw_only=True)
class Gru(Op):
    """Inputs: x [1, T, I] or [T, 1, I]; the hidden state [1, H]; for the gates reset, update and new weights [H, I]
    each, recurrent weights [H, H] each, then biases [H] each (or "") of the products with x, then of those with the
    state. Outputs: the state after every step, [1, T, H] or [T, 1, H], and after the last one.

    r, z = sigmoid(W x + b + R h + c);  n = tanh(W x + b + r (R h + c));  h = (1 - z) n + z h. Source: Cho et al., 2014,
    as cuDNN and PyTorch have it.

    All is float32; or x, weights and the outputs of steps are int8, biases int32, and the state int16 in Q0. Then gates
    are int16 in Q3, with the sigmoid and the tangent of `gemmlowp_16`, as in `Lstm`; products read the state rounded to
    the codes of the outputs, and h is computed as n + z (h - n), rounded once.
    """

    KIND: ClassVar[str] = "gru"

    def infer_shapes(self, node: Node) -> list[Shape]:
        first, second, _ = node.input(X).shape
        state = node.input(HIDDEN).shape
        return [(first, second, state[1]), state]

    def check(self, node: Node) -> None:
        x, hidden = node.input(X), node.input(HIDDEN)
        node.require(len(x.shape) == 3 and 1 in x.shape[:2], "batches of sequences are not supported")
        units, depth = hidden.shape[-1], x.shape[-1]
        node.require(hidden.shape == (1, units), "the state must be [1, units]")
        for index in range(WEIGHTS, BIASES):
            weights, columns = node.input(index), depth if index < RECURRENT else units
            node.require(weights.is_constant and weights.shape == (units, columns), f"weights {list(weights.shape)}")
        for index in range(BIASES, RECURRENT_BIASES + GATES):
            bias = node.optional(index)
            node.require(bias is None or (bias.is_constant and bias.shape == (units,)), "biases must be constants")
        node.require(node.outputs[1].encoding == hidden.encoding, "the state must keep its encoding")
        if not x.is_float:
            self._check_integers(node)
            return
        tensors = [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None]
        node.require(all(tensor.is_float for tensor in tensors), "operands must all be float32")

    def _check_integers(self, node: Node) -> None:
        for tensor in (node.input(X), node.output, *(node.input(index) for index in range(WEIGHTS, BIASES))):
            node.require(_is_int8(tensor), f"{tensor.encoding} of '{tensor.name}' is not int8 with one scale")
        symmetric = all(node.input(index).zero_point == 0 for index in range(WEIGHTS, BIASES))
        node.require(symmetric, "weights must have zero point 0")
        biases = [node.optional(index) for index in range(BIASES, RECURRENT_BIASES + GATES)]
        node.require(all(bias is None or bias.dtype == np.int32 for bias in biases), "biases must be int32")
        node.require(node.input(HIDDEN).encoding == STATE, "the state must be int16 of scale 2**-15")
        node.require(_largest_sum(node) < 2**31, "sums may not fit 32 bits")
        form = IntegerForm.of(node)
        node.require_multipliers([*form.scales, *form.recurrent_scales, form.output_scale])

    def macs(self, node: Node) -> int:
        units, depth = node.input(WEIGHTS).shape
        return GATES * steps(node) * units * (depth + units)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        form = _Floats() if node.input(X).is_float else IntegerForm.of(node)
        hidden = values[HIDDEN][0]
        given, rows = form.output(hidden), []
        for row in values[X].reshape(steps(node), -1):
            hidden = form.step(values, row, given, hidden)
            given = form.output(hidden)
            rows.append(given)
        return [np.stack(rows).reshape(node.output.shape), hidden[None]]


def steps(node: Node) -> int:
    """Of the sequence."""
    return node.input(X).shape[0] * node.input(X).shape[1]


def _is_int8(tensor: Tensor) -> bool:
    return isinstance(tensor.encoding, Affine) and tensor.dtype == np.int8 and not tensor.encoding.per_channel


def _largest_sum(node: Node) -> int:
    """A bound of sums, and of what biases with a zero point's share are."""
    found = 0
    for first, biases in ((WEIGHTS, BIASES), (RECURRENT, RECURRENT_BIASES)):
        for gate in range(GATES):
            weights, bias = np.abs(node.constant(first + gate).astype(np.int64)), node.optional(biases + gate)
            begin = 0 if bias is None or bias.data is None else int(np.abs(bias.data.astype(np.int64)).max(initial=0))
            found = max(found, begin + 256 * int(weights.sum(axis=1).max()))
    return found


class _Floats:
    """The arithmetic of float32."""

    def output(self, hidden: np.ndarray) -> np.ndarray:
        """What a step gives."""
        return hidden

    def step(self, values: Sequence[np.ndarray], x: np.ndarray, given: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """The state after one step."""
        sums = []
        for first, biases, row in ((WEIGHTS, BIASES, x), (RECURRENT, RECURRENT_BIASES, given)):
            for gate in range(GATES):
                bias = values[biases + gate] if values[biases + gate].size else np.float32(0)
                sums.append(mac.product(values[first + gate].astype(np.float64), row[:, None])[:, 0] + bias)
        with np.errstate(over="ignore"):
            reset, update = (1 / (1 + np.exp(-(sums[gate] + sums[GATES + gate]))) for gate in (0, 1))
        new = np.tanh(sums[2] + reset * sums[GATES + 2])
        return np.asarray((1 - update) * new + update * hidden).astype(np.float32)


@dataclass(frozen=True)
class IntegerForm:
    """The integer arithmetic's numbers.

    Attributes:
        scales, recurrent_scales: real multipliers of the gates' sums.
        output_scale, zero: of the state as the codes of an output.
        x_zero: zero point of x.
    """

    scales: tuple[float, ...]
    recurrent_scales: tuple[float, ...]
    output_scale: float
    zero: int
    x_zero: int

    @staticmethod
    def of(node: Node) -> IntegerForm:
        def scales(first: int, tensor: Tensor) -> tuple[float, ...]:
            return tuple(node.input(first + gate).scale * tensor.scale / _GATE_SCALE for gate in range(GATES))

        x, y = node.input(X), node.output
        return IntegerForm(
            scales(WEIGHTS, x), scales(RECURRENT, y), STATE.scale[0] / y.scale, y.zero_point, x.zero_point
        )

    def output(self, hidden: np.ndarray) -> np.ndarray:
        """The state's codes as those of an output."""
        codes = multiply_by_quantized_multiplier(hidden.astype(np.int64), *quantize_multiplier(self.output_scale))
        return np.clip(codes + self.zero, -128, 127).astype(np.int8)

    def step(self, values: Sequence[np.ndarray], x: np.ndarray, given: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """The state's codes after one step."""
        of_x = [self._sum(values, WEIGHTS, BIASES, gate, x) for gate in range(GATES)]
        of_state = [self._sum(values, RECURRENT, RECURRENT_BIASES, gate, given) for gate in range(GATES)]
        reset, update = (gemmlowp_16.sigmoid(np.clip(of_x[gate] + of_state[gate], _LEAST, _MOST)) for gate in (0, 1))
        new = gemmlowp_16.tanh(np.clip(of_x[2] + rounding_divide_by_pot(reset * of_state[2], 15), _LEAST, _MOST), 3)
        moved = rounding_divide_by_pot(update * (hidden.astype(np.int64) - new), 15)
        return np.clip(new + moved, _LEAST, _MOST).astype(np.int16)

    def _sum(self, values: Sequence[np.ndarray], first: int, biases: int, gate: int, row: np.ndarray) -> np.ndarray:
        """Products with x or the state, and their bias, in Q3, held within 16 bits."""
        bias = values[biases + gate] if values[biases + gate].size else np.zeros(1)
        zero, scales = (self.x_zero, self.scales) if first == WEIGHTS else (self.zero, self.recurrent_scales)
        sums = values[first + gate].astype(np.int64) @ (row.astype(np.int64) - zero) + bias.astype(np.int64)
        return np.clip(multiply_by_quantized_multiplier(sums, *quantize_multiplier(scales[gate])), _LEAST, _MOST)
