"""Weights mixed from experts' weights, with coefficients that depend on the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.channel_lists import ABSENT, check_list, listed
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class MixWeights(Op):
    """Inputs: alpha, a code of a byte for each of E experts; their weights, constant [E, O, KH, KW, I]; optional lists
    of live inputs and of live outputs. Output: int8 weights [k_out, KH, KW, k_in], the live ones only.

        sum[j, .., i] = sum over e of integers(alpha)[e] * integers(W)[e, out[j], .., in[i]]
        w[j, .., i] = clamp((sum * multiplier + offset) >> shift, low, high)

    The sum is exact in 32 bits and rounded once. All experts of an output channel have the same scale, which the
    convolution accounts for, so one epilogue serves all channels (Yang et al., "CondConv", 2019; Raju 2022, equation
    3.3; mixing only
    live kernels: section 3.4.2).
    """

    KIND: ClassVar[str] = "mix_weights"

    epilogue: Rescale

    def infer_shapes(self, node: Node) -> list[Shape]:
        _, outputs, kernel_h, kernel_w, inputs = node.input(1).shape
        live_in, live_out = node.optional(2), node.optional(3)
        live = (outputs if live_out is None else live_out.size, inputs if live_in is None else live_in.size)
        return [(live[0], kernel_h, kernel_w, live[1])]

    def check(self, node: Node) -> None:
        alpha, experts = node.input(0), node.input(1)
        integer_mac.check_activations(node, alpha)
        node.require(alpha.dtype.itemsize == 1, f"'{alpha.name}' is {alpha.dtype.name}, not of bytes")
        node.require(experts.is_constant and len(experts.shape) == 5, "experts are not constants [E, O, KH, KW, I]")
        node.require(alpha.size == experts.shape[0], f"{alpha.size} weights of {experts.shape[0]} experts")
        integers = isinstance(experts.encoding, Affine) and experts.dtype == np.int8
        node.require(integers and not any(experts.affine.zero_point), f"experts are {experts.encoding}, not int8")
        node.require(experts.affine.axis in (None, 1), "experts have one scale, or one for each output channel")
        for index, axis in ((2, 4), (3, 1)):
            live, channels = node.optional(index), experts.shape[axis]
            check_list(node, index, channels=channels, live=channels if live is None else live.size)
        node.require(node.output.dtype == np.int8, "mixed weights are int8")
        node.require(self.epilogue.channels == 1, "one epilogue serves all channels")
        integer_mac.check_epilogue(node, self.epilogue, 1)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        alpha, codes, live_in, live_out = [*values, ABSENT, ABSENT][:4]
        experts = node.input(1)
        live = experts.integer.integers(codes)[:, listed(live_out, experts.shape[1])]
        live = live[..., listed(live_in, experts.shape[4])]
        mixed = np.tensordot(node.input(0).integer.integers(alpha).reshape(-1), live, axes=1)
        return [integer_mac.finish(node, self.epilogue, mixed)]

    def macs(self, node: Node) -> int:
        """Multiply-accumulates: one per expert and live weight."""
        return node.output.size * node.input(1).shape[0]
