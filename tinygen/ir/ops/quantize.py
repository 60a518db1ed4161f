"""QUANTIZE and DEQUANTIZE: between floats and codes, and between encodings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, Binary
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier, round_half_away
from tinygen.ir.ops.base import LATER, Node, Op, Stripe
from tinygen.ir.tensor import Shape, Tensor

_NARROW = (np.int8, np.uint8, np.int16)


def _per_tensor(tensor: Tensor, *types: type) -> bool:
    encoding = tensor.encoding
    return isinstance(encoding, Affine) and not encoding.per_channel and tensor.dtype in types


@dataclass(frozen=True, kw_only=True)
class Quantize(Op):
    """Input: float32, or int8, uint8, int16 or int32 codes to be given another encoding. Output: codes of these, or
    bits of floats: 1 where one is not negative.

    Attributes:
        in_float: 8-bit codes are scaled as those of uint8 in single precision, as LiteRT's CONCATENATION scales its
            parts (concatenation.h, `ConcatenationWithScaling`).
    """

    KIND: ClassVar[str] = "quantize"
    TAKES_BITS: ClassVar[bool] = True

    in_float: bool = field(default=False, metadata=LATER, repr=False)

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),))

    def check(self, node: Node) -> None:
        x, output = node.input(0), node.output
        if isinstance(output.encoding, Binary):
            node.require(x.is_float and not output.encoding.per_channel, f"bits of {x.encoding}")
            return
        words = () if x.is_float else (np.int32,)
        node.require(_per_tensor(output, *_NARROW, *words), f"output is {output.encoding}")
        node.require(x.is_float or _per_tensor(x, *_NARROW, np.int32), f"input is {x.encoding}")
        for tensor in (x, output):
            wide = isinstance(tensor.encoding, Affine) and tensor.dtype == np.int32
            node.require(not wide or tensor.zero_point == 0, f"32-bit '{tensor.name}' must have zero point 0")
        bytes_only = x.dtype == output.dtype and x.dtype.itemsize == 1
        node.require(not self.in_float or bytes_only, "only codes of bytes are scaled in single precision")
        # Of floats: LiteRT's result for quotients beyond 32 bits is undefined in C++.
        node.require_multipliers([(1.0 if x.is_float else x.scale) / output.scale])

    def scale(self, node: Node) -> tuple[int, int]:
        """(multiplier, shift) between two integer encodings."""
        return quantize_multiplier(node.input(0).scale / node.output.scale)

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, output = node.input(0), node.output
        if isinstance(output.encoding, Binary):
            return [(~(values[0] < 0)).astype(output.dtype)]
        if self.in_float:
            codes = self._scaled(x, output, values[0])
        elif x.is_float:
            codes = round_half_away(values[0] / np.float32(output.scale))
        else:
            centred = values[0].astype(np.int64) - x.zero_point
            codes = multiply_by_quantized_multiplier(centred, *self.scale(node))
        info = np.iinfo(output.dtype)
        # Floats are clamped as floats: beyond 2**63 a conversion to integers has no meaning.
        low, high = info.min - output.zero_point, info.max - output.zero_point
        return [(np.clip(codes, low, high).astype(np.int64) + output.zero_point).astype(output.dtype)]

    def _scaled(self, x: Tensor, output: Tensor, codes: np.ndarray) -> np.ndarray:
        """Codes less the output's zero point, float32."""
        lowest = int(np.iinfo(x.dtype).min)
        scale = np.float32(x.scale) * (np.float32(1) / np.float32(output.scale))
        bias = np.float32(lowest - x.zero_point) * scale
        return round_half_away((codes.astype(np.int64) - lowest).astype(np.float32) * scale + bias)


@dataclass(frozen=True, kw_only=True)
class Dequantize(Op):
    """scale * (code - zero_point) as float32. Input: int8, uint8, int16 or int32."""

    KIND: ClassVar[str] = "dequantize"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),))

    def check(self, node: Node) -> None:
        x = node.input(0)
        node.require(_per_tensor(x, *_NARROW, np.int32), f"input is {x.encoding}")
        node.require(x.dtype != np.int32 or x.zero_point == 0, "a zero point of 32-bit codes")
        node.require(node.output.is_float, "output must be float32")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = node.input(0)
        # 32-bit codes are rounded to floats first.
        centred = (values[0].astype(np.int64) - x.zero_point).astype(np.float32)
        return [(centred.astype(np.float64) * x.scale).astype(np.float32)]
