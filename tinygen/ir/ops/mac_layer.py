"""Layers of multiply-accumulates: sums of products of one kind of layer, and an epilogue that makes outputs of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Rounding
from tinygen.ir.ops import integer_mac, mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.summing import Summing


@dataclass(frozen=True, kw_only=True)
class MacLayer(Summing):
    """Inputs: activations, weights, optional bias [O], optional kernel scales [O, I].

    With TFLite's epilogue all are floats, or codes of int8 or of 16x8 that the scales of the tensors requantize. With
    another one, codes have any integer encodings, sums are exact (`integer_mac`), and the epilogue holds the bias; only
    such layers have kernel scales.
    """

    ROUNDING: ClassVar[Rounding] = Rounding.TWICE
    """Of LiteRT's reference kernel."""
    CHANNEL_AXIS: ClassVar[int] = 0
    """The weights' axis of output channels."""

    @property
    def rounds_as_litert_does(self) -> bool:
        """Whether all channels are rounded as LiteRT's reference kernel rounds them."""
        ending = self.epilogue
        return isinstance(ending, Tflite) and ending.rounding in (None, self.ROUNDING) and not ending.upward_channels

    @abstractmethod
    def sums(self, node: Node, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Accumulators [..., O] of float64 or int64 values; taps outside the input are 0."""

    def check(self, node: Node) -> None:
        channels = node.input(1).shape[self.CHANNEL_AXIS]
        if not isinstance(self.epilogue, Tflite):
            integer_mac.check_mac(node, self.epilogue, outputs=channels)
            return
        node.require(node.optional(integer_mac.SCALES) is None, "kernel scales need an epilogue of sums")
        mac.check_encodings(node, channels=channels, axis=self.CHANNEL_AXIS)
        mac.check_rounding(node, self.epilogue, self.ROUNDING, channels)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, weights = values[0], values[1]
        if not isinstance(self.epilogue, Tflite):
            integers = integer_mac.scaled_weights(node, node.input(1).integer.integers(weights))
            sums = self.sums(node, node.input(0).integer.integers(x), integers)
            return [integer_mac.finish(node, self.epilogue, sums)]
        bias = mac.bias_value(node, values)
        if node.output.is_float:
            sums = self.sums(node, x.astype(np.float64), weights.astype(np.float64)) + bias
            return [mac.clamp_float(sums, self.activation)]
        sums = self.sums(node, mac.centred(x, node.input(0)), mac.centred(weights, node.input(1))) + bias
        return [mac.requantize(node, sums, self.activation)]
