"""Shared by the calls of vendors' libraries whose parameters follow TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantized_activation_range,
    wrap_int32,
)
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.lowering.kernels.support.epilogues.mac import bias_or_zeros
from tinygen.lowering.plan import Constant

Windowed = Conv2D | DepthwiseConv2D | AveragePool2D | MaxPool2D


@dataclass(frozen=True)
class Window:
    """The parameters of a sliding window, as the libraries' structs and as template values."""

    input_offset: int
    output_offset: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    clamp: tuple[int, int]

    @classmethod
    def of(cls, node: Node, op: Windowed) -> Window:
        """Pairs are (w, h), as the libraries have them; the convolutions' offset is minus the zero point."""
        rows, columns = op.geometry(node)
        return cls(
            -node.input(0).zero_point,
            node.output.zero_point,
            (columns.stride, rows.stride),
            (columns.before, rows.before),
            (columns.dilation, rows.dilation),
            quantized_activation_range(op.activation, node.output),
        )

    def conv_params(self) -> tuple[int, ...]:
        """The words of `cmsis_nn_conv_params`, and of ESP-NN's `conv_params_t`."""
        return self.input_offset, self.output_offset, *self.stride, *self.padding, *self.dilation, *self.clamp

    def depthwise_params(self, multiplier: int) -> tuple[int, ...]:
        """The words of `cmsis_nn_dw_conv_params`, and of ESP-NN's `dw_conv_params_t`."""
        first, *rest = self.conv_params()[1:]
        return self.input_offset, first, multiplier, *rest

    def context(self) -> dict[str, Any]:
        """Template values."""
        return {
            "input_offset": self.input_offset,
            "output_offset": self.output_offset,
            "stride": list(self.stride),
            "padding": list(self.padding),
            "dilation": list(self.dilation),
            "clamp": list(self.clamp),
        }


def takes_weights(node: Node) -> bool:
    """Whether a layer's weights are constants without a zero point, and sums rounded as LiteRT's reference does."""
    op, weights = node.op, node.input(1)
    assert isinstance(op, MacLayer)
    return weights.is_constant and op.rounds_as_litert_does and (weights.is_float or not any(weights.affine.zero_point))


def scales(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """(multipliers, shifts) in the libraries' format: TFLite Micro's, one pair per weight scale."""
    pairs = [quantize_multiplier(real) for real in mac.real_multipliers(node)]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


def scale_constants(node: Node, channels: int) -> tuple[Constant, Constant]:
    """The arrays `multipliers` and `shifts`: the convolutions want one entry per channel in any case."""
    multipliers, shifts = (np.broadcast_to(array, (channels,)) for array in scales(node))
    return Constant("multipliers", multipliers, f"[{channels}]"), Constant("shifts", shifts, f"[{channels}]")


@dataclass(frozen=True, eq=False)
class Dense:
    """A FULLY_CONNECTED with constant weights, as template values and constants.

    Attributes:
        node: the layer.
        multipliers, shifts: one of each, or one per output.
    """

    node: Node
    multipliers: np.ndarray
    shifts: np.ndarray

    @classmethod
    def of(cls, node: Node) -> Dense:
        return cls(node, *scales(node))

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and depth."""
        outputs, depth = self.node.constant(1).shape
        return outputs, depth

    @property
    def per_channel(self) -> bool:
        return len(self.multipliers) > 1

    def context(self, function: str) -> dict[str, Any]:
        """Template values; `function` is the library's."""
        node, (outputs, depth) = self.node, self.shape
        op = node.op
        assert isinstance(op, FullyConnected)
        return {
            "function": function,
            "per_channel": self.per_channel,
            "rows": node.input(0).size // depth,
            "depth": depth,
            "outputs": outputs,
            "multiplier": int(self.multipliers[0]),
            "shift": int(self.shifts[0]),
            "input_offset": -node.input(0).zero_point,
            "output_offset": node.output.zero_point,
            "clamp": list(quantized_activation_range(op.activation, node.output)),
        }

    def constants(self, sums: type[np.int32] | type[np.int64] = np.int32) -> tuple[Constant, ...]:
        """Weights, biases of type `sums`, and scales where there is one per output."""
        outputs, depth = self.shape
        weights = Constant("weights", self.node.constant(1).reshape(-1), f"[{outputs}, {depth}]")
        biases = bias_or_zeros(self.node, outputs, sums)
        return (weights, biases, *(scale_constants(self.node, outputs) if self.per_channel else ()))


def dense_sums(node: Node, values: Sequence[np.ndarray]) -> np.ndarray:
    """The accumulators of a FULLY_CONNECTED, int64."""
    weights = values[1]
    x = mac.centred(values[0].reshape(-1, weights.shape[1]), node.input(0))
    return mac.product(x, mac.centred(weights, node.input(1)).T) + mac.bias_value(node, values)


def dense_codes(node: Node, scaled: np.ndarray) -> list[np.ndarray]:
    """The output codes of a FULLY_CONNECTED for scaled accumulators."""
    op = node.op
    assert isinstance(op, FullyConnected)
    low, high = quantized_activation_range(op.activation, node.output)
    codes = np.clip(scaled + node.output.zero_point, low, high)
    return [codes.astype(node.output.dtype).reshape(node.output.shape)]


def rounded_twice(node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """An int8 FULLY_CONNECTED whose accumulators are scaled by a doubling high multiplication, then a shift, each
    rounded, as TensorFlow Lite Micro scales those of convolutions."""
    return dense_codes(node, multiply_by_quantized_multiplier(wrap_int32(dense_sums(node, values)), *scales(node)))
