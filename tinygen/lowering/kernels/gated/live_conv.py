"""Shared by tuned kernels of convolutions with counted lists: their operands and their epilogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Levels
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_lists import zero_code
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.reading import output_values
from tinygen.lowering.kernels.support.activations.window import window_context
from tinygen.lowering.kernels.support.epilogues.integer_layer import rescaled
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.weights.gathered import FewValues, computed_operands, few_values, weights_constant
from tinygen.lowering.plan import Constant

BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, eq=False)
class LiveConv:
    """A convolution whose lists give the number of live channels.

    Attributes:
        ending: of all channels.
        context: template values that do not depend on the size of blocks.
        weights: int8 [O, KH, KW, I].
        packed: the same in few bits, if they are.
    """

    node: Node
    ending: Epilogue
    context: dict[str, Any]
    weights: np.ndarray
    packed: FewValues | None

    @property
    def operands(self) -> tuple[tuple[str, int], ...]:
        return computed_operands(self.node, input=0, live_in=2, live_out=3)

    @property
    def constants(self) -> tuple[Constant, ...]:
        return weights_constant(self.weights, self.packed), self.ending.constant()


def live_conv(node: Node) -> LiveConv | None:
    """None for activations and weights that do not fit a byte, for thresholds, and for dilated rows."""
    op, x, y = node.op, node.input(0), node.output
    assert isinstance(op, MaskedConv2D)
    weights = node.input(1).integer.integers(node.constant(1))
    fits = weights.min(initial=0) >= -128 and weights.max(initial=0) <= 127
    plain = isinstance(x.encoding, Affine) or (isinstance(x.encoding, Levels) and not x.encoding.signed)
    columns = op.geometry(node)[1]
    if not (fits and plain and isinstance(op.epilogue, Rescale)) or columns.dilation > 1:
        return None
    if x.dtype.itemsize > 1 or x.packed_bits or y.packed_bits:
        return None
    packed = few_values(node.input(1), weights.astype(np.int8))
    ending = rescaled(op.epilogue, np.zeros(len(weights), np.int64))
    context = {
        **window_context(node, op.geometry(node)),
        **ending.context,
        **output_values(y),
        "input_type": ctype(x.memory_dtype),
        "input_zero": x.zero_point if isinstance(x.encoding, Affine) else 0,
        "live_in": node.optional(2) is not None,
        "live_out": node.optional(3) is not None,
        "zero": zero_code(y),
        "packed": packed.context if packed else None,
        "row_bytes": packed.rows.shape[1] if packed else weights[0].size,
        "width": (columns.output - 1) * columns.stride + columns.kernel,
    }
    return LiveConv(node, ending, context, weights.astype(np.int8), packed)
