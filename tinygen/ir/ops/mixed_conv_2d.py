"""GATHER_CONV_2D fused with the MIX_WEIGHTS that gives its weights; made by lowering only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.tensor import Shape, Tensor

CODES = Affine("int8", (1.0,), (0,))
"""Of experts and of mixed weights, whose scales the convolution's epilogue accounts for."""


@dataclass(frozen=True, kw_only=True)
class MixedConv2D(GatherConv2D):
    """Inputs: live activations [1, H, W, k_in]; experts, constant int8 [E * O, KH, KW, I], all channels of one expert
    behind those of another; optional list of live inputs; optional list of live outputs; optional gammas; alpha, a code
    of a byte for each expert. Output: [1, H', W', k_out].

    Means `mixing` of the experts, then the convolution with its result, which is never stored as a whole.

    Attributes:
        experts: E.
        mixing: the epilogue of mixed weights.
    """

    KIND: ClassVar[str] = "mixed_conv_2d"

    experts: int
    mixing: Rescale

    def filters(self, node: Node) -> int:
        return node.input(1).shape[0] // self.experts

    def infer_shapes(self, node: Node) -> list[Shape]:
        rows, columns = self.geometry(node)
        live = node.optional(3)
        return [(1, rows.output, columns.output, self.filters(node) if live is None else live.size)]

    def mixing_node(self, node: Node) -> Node:
        """The mixing alone; its output is a tensor that the graph does not have."""
        experts, live_in, live_out = node.input(1), node.optional(2), node.optional(3)
        filters, (_, kernel_h, kernel_w, channels) = self.filters(node), experts.shape
        shape = (self.experts, filters, kernel_h, kernel_w, channels)
        codes = None if experts.data is None else experts.data.reshape(shape)
        apart = Tensor(experts.name, shape, experts.encoding, codes)
        live = (filters if live_out is None else live_out.size, channels if live_in is None else live_in.size)
        made = Tensor(f"{self.name} mixed", (live[0], kernel_h, kernel_w, live[1]), CODES)
        mix = MixWeights(name=self.name, inputs=("",) * 4, outputs=("",), epilogue=self.mixing)
        return Node(mix, (node.input(5), apart, live_in, live_out), (made,))

    def convolution(self, node: Node) -> Node:
        """The convolution alone."""
        shared = {one.name: getattr(self, one.name) for one in fields(GatherConv2D)}
        inputs = (node.input(0), self.mixing_node(node).output, None, node.optional(3), node.optional(4))
        return Node(GatherConv2D(**shared), inputs, node.outputs)

    def check(self, node: Node) -> None:
        node.require(node.input(1).shape[0] % self.experts == 0, f"filters are not those of {self.experts} experts")
        self.mixing_node(node).check()
        self.convolution(node).check()

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, experts, live_in, live_out, gamma, alpha = values
        mixing, convolution = self.mixing_node(node), self.convolution(node)
        codes = experts.reshape(mixing.input(1).shape)
        (weights,) = mixing.op.evaluate(mixing, [alpha, codes, live_in, live_out])
        return convolution.op.evaluate(convolution, [x, weights, np.empty(0), live_out, gamma])

    def macs(self, node: Node) -> int:
        """Of the convolution, and of mixing each live weight once."""
        mixing = self.mixing_node(node)
        return super().macs(node) + mixing.op.macs(mixing)


def mixed_conv(mix: Node, conv: Node, experts: str) -> tuple[MixedConv2D, Tensor]:
    """The operator that stands for both, and its experts.

    Args:
        mix: of `MixWeights`.
        conv: of the `GatherConv2D` that reads its output.
        experts: a name for their tensor.
    """
    op, mixing = conv.op, mix.op
    assert isinstance(op, GatherConv2D) and isinstance(mixing, MixWeights) and isinstance(mixing.epilogue, Rescale)
    codes = mix.constant(1)
    shared = {one.name: getattr(op, one.name) for one in fields(GatherConv2D) if one.name != "inputs"}
    live_in, live_out = (mixing.inputs[index] if len(mixing.inputs) > index else "" for index in (2, 3))
    gamma = op.inputs[4] if len(op.inputs) > 4 else ""
    inputs = (op.inputs[0], experts, live_in, live_out, gamma, mixing.inputs[0])
    made = MixedConv2D(**shared, inputs=inputs, experts=len(codes), mixing=mixing.epilogue)
    behind = codes.reshape(-1, *codes.shape[2:])
    return made, Tensor(experts, behind.shape, CODES, behind)
