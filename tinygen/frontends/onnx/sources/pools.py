"""Averages and maxima over windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain, Reach, fold, fold_real
from tinygen.frontends.onnx.builder import Builder, int8_affine
from tinygen.frontends.onnx.sources.activations import activation_of
from tinygen.frontends.onnx.sources.elementwise import INT32, CodesSource, as_int8, code_reach
from tinygen.frontends.onnx.targets import Target
from tinygen.frontends.onnx.values import Pending
from tinygen.frontends.onnx.windows import Window
from tinygen.ir.encodings import Affine, Encoding
from tinygen.ir.epilogue import Epilogue, Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.tensor import Tensor


def max_pool(builder: Builder, x: Tensor, window: Window, sign: tuple[int, ...] = (1,)) -> Tensor:
    """The largest code of each window, or the smallest where a channel's sign is -1."""
    alike = sign[:1] if len(set(sign)) == 1 else sign
    fields = {"kernel": window.kernel, "stride": window.stride, **window.padding(*x.shape[1:3])}
    return builder.emit(MaxPool2D, [x], x.encoding, sign=alike, **fields)


def apply_pools(builder: Builder, pending: Pending, tensor: Tensor) -> Tensor:
    """Applies postponed maxima to codes; it is a minimum if codes fall as the value before the maximum rises."""
    for pool in pending.pools:
        assert isinstance(pool.window, Window)
        falls = zip(pending.chain.gain, pool.rising, strict=True)
        sign = tuple(1 if (gain >= 0) == rising else -1 for gain, rising in falls)
        tensor = max_pool(builder, tensor, pool.window, sign)
    return tensor


@dataclass(frozen=True, eq=False)
class AverageSource:
    """The mean of each window. `divisor` is None where windows over the border hold fewer elements."""

    SUMS: ClassVar[bool] = True

    builder: Builder
    x: Tensor
    window: Window
    divisor: int | None

    @property
    def channels(self) -> int:
        return self.x.shape[3]

    def chain(self) -> Chain:
        """The chain from the sum of a window to its real mean."""
        scaled = Chain.start(self.channels).affine(self.x.integer.scale[0])
        return scaled if self.divisor is None else scaled.divide(self.divisor)

    def reach(self) -> Reach:
        """Range of the sum of a window; windows over the border have fewer elements."""
        whole = code_reach(self.builder, self.x, self.channels, math.prod(self.window.kernel))
        return Reach(np.minimum(whole.low, 0), np.maximum(whole.high, 0)) if self.window.is_padded else whole

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        plain = chain.gain == self.chain().gain and not any(chain.offset)
        if plain and target.whole and int8_affine(self.x.encoding) and int8_affine(target.encoding):
            activation = activation_of(chain, target)
            if activation is not None and self._is_tflite(target.encoding, activation):
                return self._tflite(target.encoding, activation)
        if self.divisor is None:
            return self._inside(chain, target)
        folded = fold(chain, target.quantizer, self.reach())
        return self._sum(folded.epilogue, target.counted_from(folded.base))

    def real(self, chain: Chain) -> Tensor:
        if self.divisor is None:
            raise UnsupportedError(
                "an average over a padded border gives a float that nothing quantizes", fix="Quantize its result."
            )
        epilogue, scale = fold_real(chain, self.reach())
        return self._sum(epilogue, Affine(INT32, (scale,), (0,)))

    def _sum(self, epilogue: Epilogue | None, encoding: Encoding) -> Tensor:
        return self.builder.emit(
            AveragePool2D,
            [self.x],
            encoding,
            kernel=self.window.kernel,
            stride=self.window.stride,
            epilogue=epilogue,
            **self.window.padding(*self.x.shape[1:3]),
        )

    def _inside(self, chain: Chain, target: Target) -> Tensor:
        """Means that leave out padding: the rounded mean of codes, then the quantizer."""
        padding = self.window.padding(*self.x.shape[1:3])
        if "row_padding" in padding:
            raise UnsupportedError(
                f"an average over windows padded by {self.window.rows} rows and {self.window.columns} columns",
                fix="Use count_include_pad=1, auto_pad=SAME_UPPER, or no padding.",
            )
        x = as_int8(self.builder, self.x, "an average over a padded border")
        mean = self.builder.emit(
            AveragePool2D, [x], x.encoding, kernel=self.window.kernel, stride=self.window.stride, **padding
        )
        return CodesSource(self.builder, mean).quantized(chain, target)

    def _is_tflite(self, encoding: Encoding, activation: Activation) -> bool:
        """Whether TFLite has this mean: over the whole image, or with unchanged encoding and SAME or VALID padding."""
        if self.window.kernel == self.x.shape[1:3] and not self.window.is_padded:
            return activation is Activation.NONE
        ruled = "row_padding" not in self.window.padding(*self.x.shape[1:3])
        uncounted = self.divisor is None or not self.window.is_padded
        return ruled and uncounted and encoding == self.x.encoding

    def _tflite(self, encoding: Encoding, activation: Activation) -> Tensor:
        if self.window.kernel == self.x.shape[1:3]:
            return self.builder.emit(Mean, [self.x], encoding, axes=(1, 2), keep_dims=True)
        return self.builder.emit(
            AveragePool2D,
            [self.x],
            encoding,
            kernel=self.window.kernel,
            stride=self.window.stride,
            epilogue=Tflite(activation),
            **self.window.padding(*self.x.shape[1:3]),
        )
