"""Convolutions and dense layers: TFLite's int8 operators where possible, else integer operators with an epilogue.

A QuantizeLinear behind an int8 layer with at most a bias and a fused activation is what TFLite's operators compute,
but for rounding: see the package's description. Everything else (fewer bits, batch norm between, asymmetric weights)
folds into one exact epilogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain, Reach, fold, fold_real
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.activations import activation_of
from tinygen.frontends.onnx.sources.elementwise import INT32
from tinygen.frontends.onnx.targets import Target
from tinygen.frontends.onnx.values import ConstantCodes
from tinygen.frontends.onnx.windows import Window
from tinygen.ir.encodings import Affine, Binary, Encoding
from tinygen.ir.epilogue import Epilogue, Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Tensor

_LARGEST_BIAS = 2**31 - 1


@dataclass(frozen=True, eq=False)
class MacSource:
    """Sums of products with constant weights.

    Attributes:
        x: NHWC, or [..., I] of a dense layer.
        weights: OHWI, or [O, I].
        window: of a convolution; None for a dense layer.
        name: of the weights in the file.
    """

    SUMS: ClassVar[bool] = True

    builder: Builder
    x: Tensor
    weights: ConstantCodes
    window: Window | None
    name: str

    @property
    def channels(self) -> int:
        return self.weights.codes.shape[0]

    def chain(self) -> Chain:
        """The chain from accumulators to real values."""
        start = Chain.start(self.channels).affine(self.x.integer.scale[0])
        return start.affine(np.array(self.weights.encoding.scale))

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        activation, bias = self._activation(chain, target), self._bias(chain)
        if activation is not None and bias is not None:
            return self._tflite(bias, activation, target.encoding)
        folded = fold(chain, target.quantizer, self.reach())
        return self._integer(folded.epilogue, target.counted_from(folded.base))

    def real(self, chain: Chain) -> Tensor:
        epilogue, scale = fold_real(chain, self.reach())
        return self._integer(epilogue, Affine(INT32, (scale,), (0,)))

    def reach(self) -> Reach:
        low, high = self.builder.integer_range(self.x)
        if self.window is not None and self.window.is_padded:
            low, high = min(low, 0), max(high, 0)
        return Reach.of_weights(self.weights.encoding.integers(self.weights.codes), low, high)

    def _activation(self, chain: Chain, target: Target) -> Activation | None:
        """The fused activation of the TFLite operator; None if the layer cannot be a TFLite operator."""
        x, weights = self.x.encoding, self.weights.encoding
        storage = target.encoding.storage if isinstance(target.encoding, Affine) else ""
        fits = (
            target.whole
            and isinstance(x, Affine)
            and x.storage == storage
            and isinstance(weights, Affine)
            and weights.storage == "int8"
            and not any(weights.zero_point)
            and (storage == "int8" or not any((*x.zero_point, *getattr(target.encoding, "zero_point", ()))))
        )
        return activation_of(chain, target) if fits else None

    def _bias(self, chain: Chain) -> np.ndarray | None:
        """The bias in units of the accumulator; None if the chain has more than a bias, or 32 bits cannot hold it."""
        plain = self.chain()
        if chain.gain != plain.gain:
            return None
        steps = [round(offset / gain) for offset, gain in zip(chain.offset, chain.gain, strict=True)]
        return np.array(steps) if max(map(abs, steps)) <= _LARGEST_BIAS else None

    def _tflite(self, bias: np.ndarray, activation: Activation, encoding: Encoding) -> Tensor:
        scales = tuple(self.x.scale * scale for scale in self.weights.encoding.scale)
        axis = 0 if len(scales) > 1 else None
        wide = "int32" if self.x.dtype == np.int8 else "int64"
        weights, kind, arguments = self._tflite_operator()
        added = self.builder.constant_tensor(f"{self.name}/bias", bias, Affine(wide, scales, (0,) * len(scales), axis))
        return self.builder.emit(kind, [self.x, weights, added], encoding, epilogue=Tflite(activation), **arguments)

    def _tflite_operator(self) -> tuple[Tensor, Any, dict[str, Any]]:
        """(weights, operator, its arguments)."""
        if self.window is None:
            return self.builder.constant_of(self.name, self.weights), FullyConnected, {}
        if self.weights.codes.shape[3] == 1 < self.x.shape[3] and self.channels % self.x.shape[3] == 0:
            turned = self.weights.transposed((3, 1, 2, 0))
            return self.builder.constant_of(self.name, turned), DepthwiseConv2D, self._geometry()
        return self.builder.constant_of(self.name, self.weights), Conv2D, self._geometry()

    def _geometry(self) -> dict[str, Any]:
        assert self.window is not None
        height, width = self.x.shape[1:3]
        padding = self.window.padding(height, width)
        return {"stride": self.window.stride, "dilation": self.window.dilation, **padding}

    def _integer(self, epilogue: Epilogue | None, encoding: Encoding) -> Tensor:
        if self.window is not None:
            weights = self.builder.constant_of(self.name, self.weights)
            arguments = self._geometry()
            return self.builder.emit(Conv2D, [self.x, weights], encoding, epilogue=epilogue, **arguments)
        if isinstance(self.x.encoding, Binary) and len(self.x.shape) == 4:
            return self._dense_over_pixels(epilogue, encoding)
        weights = self.builder.constant_of(self.name, self.weights)
        return self.builder.emit(FullyConnected, [self.x, weights], encoding, epilogue=epilogue)

    def _dense_over_pixels(self, epilogue: Epilogue | None, encoding: Encoding) -> Tensor:
        """A dense layer over an image of packed codes, as a convolution with a kernel of the image's size.

        Codes are packed pixel by pixel, so the image cannot be flattened.
        """
        if self.x.shape[0] != 1:
            raise UnsupportedError(f"a dense layer over {self.x.shape[0]} images of bits")
        weights = self.builder.constant_of(self.name, self.weights, (self.channels, *self.x.shape[1:]))
        tensor = self.builder.emit(
            Conv2D, [self.x, weights], encoding, epilogue=epilogue, padding=Padding.VALID, stride=(1, 1)
        )
        return self.builder.reshape(tensor, (1, self.channels))
