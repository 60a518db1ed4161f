"""Elementwise operators between quantizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain, Reach, Uniform, fold, fold_real
from tinygen.frontends.onnx.builder import Builder, int8_affine
from tinygen.frontends.onnx.sources.activations import activation_of, clamp_codes, is_clamp_only
from tinygen.frontends.onnx.targets import Target
from tinygen.ir.encodings import Affine, Binary, LookedUp
from tinygen.ir.epilogue import Rescale
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.binary import Arithmetic
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.unary import Clamp
from tinygen.ir.tensor import Tensor

INT32 = "int32"
_SHARES = Affine("int8", (1 / 256,), (-128,))
"""Of TFLite's softmax."""


def code_reach(builder: Builder, tensor: Tensor, channels: int, times: int = 1) -> Reach:
    """Range of the integers of a tensor, or of sums of `times` such integers."""
    low, high = builder.integer_range(tensor)
    return Reach(np.full(channels, low * times), np.full(channels, high * times))


def start_of(tensor: Tensor, channels: int) -> Chain:
    """The chain from a tensor's integers to real values."""
    return Chain.start(channels).affine(tensor.integer.scale[0])


def needs_affine(target: Target, what: str) -> Affine:
    """An int8 encoding with the target's codes, as the output encoding of TFLite's operators.

    Raises:
        UnsupportedError: the target has one bit, or its codes are not evenly spaced.
    """
    quantizer = target.quantizer
    if not isinstance(quantizer, Uniform) or isinstance(target.encoding, Binary | LookedUp):
        raise UnsupportedError(
            f"{what} cannot be followed by a quantizer to {target.encoding}",
            fix="Quantize its result to 2 to 8 bits.",
        )
    if isinstance(target.encoding, Affine) and int8_affine(target.encoding):
        return target.encoding
    # Codes of Levels and Ternary as int8: shifted into its range.
    shift = 128 if quantizer.high > 127 else 0
    return Affine("int8", target.encoding.scale, (-shift,))


def finish(builder: Builder, tensor: Tensor, chain: Chain, target: Target) -> Tensor:
    """The output of a TFLite operator, which has the target's scale, clamped and encoded as the target."""
    clamp = clamp_codes(chain, target)
    if clamp is None:
        raise UnsupportedError("a clamp that differs per channel needs a convolution or a dense layer in front of it")
    if tensor.encoding == target.encoding and clamp == tensor.integer.code_range:
        return tensor
    zero = target.encoding.zero_point[0] if isinstance(target.encoding, Affine) else 0
    epilogue = Rescale((1,), (zero,), (0,), *clamp)
    return builder.emit(Requantize, [tensor], target.encoding, epilogue=epilogue)


@dataclass(frozen=True, eq=False)
class CodesSource:
    """A tensor of codes as a source: the chain after it is elementwise, with constants per channel at most."""

    SUMS: ClassVar[bool] = False

    builder: Builder
    x: Tensor

    @property
    def channels(self) -> int:
        return self.x.shape[-1]

    def reach(self) -> Reach:
        return code_reach(self.builder, self.x, self.channels)

    def chain(self) -> Chain:
        return start_of(self.x, self.channels)

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        scale = Fraction(self.x.integer.scale[0])
        plain = not any(chain.offset) and all(gain == scale for gain in chain.gain)
        if plain and target.whole and int8_affine(self.x.encoding):
            activation = activation_of(chain, target)
            if activation is Activation.NONE and self.x.encoding == target.encoding:
                return self.x
            if activation is Activation.NONE:
                return self.builder.emit(Quantize, [self.x], target.encoding)
            if activation is not None and int8_affine(target.encoding):
                return self.builder.emit(Clamp, [self.x], target.encoding, activation=activation)
        folded = fold(chain, target.quantizer, self.reach())
        encoding = target.counted_from(folded.base)
        if encoding == self.x.encoding and _changes_nothing(self.builder, self.x, folded.epilogue):
            return self.x
        return self.builder.emit(Requantize, [self.x], encoding, epilogue=folded.epilogue)

    def real(self, chain: Chain) -> Tensor:
        epilogue, scale = fold_real(chain, self.reach())
        epilogue = epilogue or Rescale((1,), (0,), (0,), -(2**31) + 1, 2**31 - 1)
        return self.builder.emit(Requantize, [self.x], Affine(INT32, (scale,), (0,)), epilogue=epilogue)


def _changes_nothing(builder: Builder, x: Tensor, epilogue: Any) -> bool:
    low, high = builder.code_range(x)
    codes = np.arange(low, high + 1)
    integers = x.integer.integers(codes)
    rows = np.repeat(integers[:, None], x.shape[-1], axis=1)
    return bool((epilogue.apply(rows) == codes[:, None]).all())


def as_int8(builder: Builder, tensor: Tensor, what: str) -> Tensor:
    """The same real values in int8, for operators that support no other type.

    Raises:
        UnsupportedError: more than 256 integers.
    """
    if int8_affine(tensor.encoding):
        return tensor
    low, high = builder.integer_range(tensor)
    zero = -128 - low if high > 127 else 0
    if not -128 <= low + zero <= high + zero <= 127:
        raise UnsupportedError(f"{what} takes 8 bits, not {tensor.encoding}")
    encoding = Affine("int8", tensor.integer.scale, (zero,))
    if tensor.is_constant:
        codes = tensor.integer.integers(np.asarray(tensor.data)) + zero
        return builder.constant_tensor(tensor.name, codes, encoding)
    epilogue = Rescale((1,), (zero,), (0,), low + zero, high + zero)
    return builder.emit(Requantize, [tensor], encoding, epilogue=epilogue)


class NeedsQuantizer:
    """Sources whose operator needs a quantizer after it."""

    SUMS: ClassVar[bool] = False

    what: str

    def reach(self) -> Reach:
        raise UnsupportedError(f"{self.what} is truncated before it is quantized", fix="Quantize its result first.")

    def real(self, chain: Chain) -> Tensor:
        raise UnsupportedError(
            f"{self.what} gives a float that nothing quantizes", fix="Quantize it, or end the model before it."
        )

    def _only_clamped(self, chain: Chain) -> None:
        if not is_clamp_only(chain):
            raise UnsupportedError(
                f"{self.what} is scaled or shifted before it is quantized", fix="Quantize its result first."
            )


@dataclass(frozen=True, eq=False)
class BinarySource(NeedsQuantizer):
    """Add, Sub or Mul of two tensors."""

    builder: Builder
    kind: type[Arithmetic]
    a: Tensor
    b: Tensor
    channels: int
    what: str = "a sum or product of two tensors"

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        self._only_clamped(chain)
        operands = [as_int8(self.builder, tensor, self.what) for tensor in (self.a, self.b)]
        encoding = needs_affine(target, self.what)
        activation = activation_of(chain, target) if target.whole else None
        tensor = self.builder.emit(self.kind, operands, encoding, activation=activation or Activation.NONE)
        return tensor if activation is not None else finish(self.builder, tensor, chain, target)


@dataclass(frozen=True, eq=False)
class SoftmaxSource(NeedsQuantizer):
    """Softmax over the last dimension, by TFLite's operator, which has one output encoding."""

    builder: Builder
    x: Tensor
    what: str = "a softmax"

    @property
    def channels(self) -> int:
        return self.x.shape[-1]

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        self._only_clamped(chain)
        x = as_int8(self.builder, self.x, self.what)
        follow = CodesSource(self.builder, self.builder.emit(Softmax, [x], _SHARES))
        return follow.quantized(follow.chain(), target)


@dataclass(frozen=True, eq=False)
class ConcatSource(NeedsQuantizer):
    """A concatenation of tensors, each requantized to the quantizer's codes."""

    builder: Builder
    parts: Sequence[Tensor]
    axis: int
    channels: int
    what: str = "a concatenation"

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        if not is_clamp_only(chain) or len(set(chain.low)) > 1 or len(set(chain.high)) > 1:
            raise UnsupportedError(f"{self.what} is changed before it is quantized", fix="Quantize its result first.")
        tensors = []
        for part in self.parts:
            source = CodesSource(self.builder, part)
            low, high = (float(bound) for bound in (chain.low[0], chain.high[0]))
            tensors.append(source.quantized(source.chain().clip(low, high), target))
        encodings = {tensor.encoding for tensor in tensors}
        if len(encodings) > 1:
            raise UnsupportedError(f"{self.what} of tensors that only thresholds bring to one quantizer")
        return self.builder.emit(Concatenation, tensors, tensors[0].encoding, axis=self.axis)
