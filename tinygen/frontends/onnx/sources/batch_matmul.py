"""Products of two activations."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.elementwise import NeedsQuantizer, as_int8, finish, needs_affine
from tinygen.frontends.onnx.targets import Target
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class BatchMatmulSource(NeedsQuantizer):
    """Matrices [..., M, K] and [..., K, N]."""

    builder: Builder
    a: Tensor
    b: Tensor
    what: str = "a product of two activations"

    @property
    def channels(self) -> int:
        return self.b.shape[-1]

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        self._only_clamped(chain)
        operands = [as_int8(self.builder, tensor, self.what) for tensor in (self.a, self.b)]
        encoding = needs_affine(target, self.what)
        tensor = self.builder.emit(BatchMatmul, operands, encoding, adjoint_first=False, adjoint_second=False)
        return finish(self.builder, tensor, chain, target)
