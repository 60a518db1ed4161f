"""BATCH_MATMUL: matrix products over broadcast leading dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier, wrap_int32
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class BatchMatmul(Op):
    """Inputs: [..., M, K] and [..., K, N], int8 or float32; `adjoint_*` take a matrix transposed."""

    KIND: ClassVar[str] = "batch_matmul"

    adjoint_first: bool
    adjoint_second: bool

    def sizes(self, node: Node) -> tuple[int, int, int]:
        """(M, K, N)."""
        a, b = node.input(0).shape, node.input(1).shape
        m, k = (a[-1], a[-2]) if self.adjoint_first else (a[-2], a[-1])
        k2, n = (b[-1], b[-2]) if self.adjoint_second else (b[-2], b[-1])
        if k != k2:
            raise ModelError(f"matrices of {k} and {k2} do not multiply", where=node.describe())
        return m, k, n

    def infer_shapes(self, node: Node) -> list[Shape]:
        m, _, n = self.sizes(node)
        try:
            return [(*np.broadcast_shapes(node.input(0).shape[:-2], node.input(1).shape[:-2]), m, n)]
        except ValueError as error:
            raise ModelError(f"its batches do not broadcast ({error})", where=node.describe()) from error

    def check(self, node: Node) -> None:
        a, b, output = node.input(0), node.input(1), node.output
        node.require(min(len(a.shape), len(b.shape)) >= 2, "operands must be matrices")
        node.require(a.dtype == b.dtype == output.dtype, "operands and output must have one type")
        if output.is_float:
            return
        for tensor in (a, b, output):
            quantized = isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel
            node.require(quantized and tensor.dtype == np.int8, f"'{tensor.name}' is {tensor.encoding}, not int8")
        node.require_multipliers([self.real_scale(node)])

    def real_scale(self, node: Node) -> float:
        """The scale of products in codes of the output; LiteRT multiplies the scales in single precision."""
        with np.errstate(over="ignore", under="ignore"):
            product = np.float32(node.input(0).scale) * np.float32(node.input(1).scale)
        return float(product) / node.output.scale

    def scale(self, node: Node) -> tuple[int, int]:
        """The same as (multiplier, shift)."""
        return quantize_multiplier(self.real_scale(node))

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        a, b = values[0].astype(np.float64), values[1].astype(np.float64)
        if not node.output.is_float:
            a, b = a - node.input(0).zero_point, b - node.input(1).zero_point
        a = a.swapaxes(-1, -2) if self.adjoint_first else a
        b = b.swapaxes(-1, -2) if self.adjoint_second else b
        product = a @ b
        if node.output.is_float:
            return [product.astype(np.float32)]
        acc = wrap_int32(product.astype(np.int64))
        codes = multiply_by_quantized_multiplier(acc, *self.scale(node)) + node.output.zero_point
        return [np.clip(codes, -128, 127).astype(np.int8)]

    def macs(self, node: Node) -> int:
        return node.output.size * self.sizes(node)[1]
