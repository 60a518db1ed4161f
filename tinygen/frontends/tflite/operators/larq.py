"""Larq Compute Engine: LceQuantize, LceBconv2d, LceBMaxPool2d, LceDequantize.

Between them, the file has 32 channels of a tensor in an int32, bit 1 for -1 (core/types.h). The graph has binary codes,
1 for +1, in the shape that the tensor stands for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from tinygen.errors import ModelError
from tinygen.frontends.tflite.bit_sums import MOST_TAPS, BitSums
from tinygen.frontends.tflite.operators.conv import padding_of
from tinygen.frontends.tflite.registry import Operator, converts_custom
from tinygen.frontends.tflite.steps import building
from tinygen.ir.encodings import WORD_BITS, Affine, Binary, Float32, unpack_bits
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.ops.binary import Add, Mul
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.window import Axis, Padding, axis
from tinygen.ir.steps import Building, Steps
from tinygen.ir.tensor import Shape, Tensor

_BITS = Binary((1.0,))
_SIGNS = Affine("int8", (1.0,), (0,))
_CODES = (-128, 127)


@converts_custom("LceQuantize")
def quantize(operator: Operator) -> Steps:
    """+1 where a number is not negative (tflite/kernels/quantization.cc)."""
    x, y = _operands(operator, 1)
    kept = _bits(operator, y, x.shape)
    if x.is_float:
        return Steps((Quantize(**operator.common()),), (kept,))
    operator.require(_is_int8(x), f"'{x.name}' is {x.encoding}, not float32 or int8")
    return Steps((Requantize(**operator.common(), epilogue=Threshold(((0,),))),), (kept,))


@converts_custom("LceDequantize")
def dequantize(operator: Operator) -> Steps:
    """+1 and -1 as floats, or as the int8 codes next to them (tflite/kernels/quantization.cc)."""
    x, y = _operands(operator, 1)
    _require_bits(operator, x)
    if x.shape != y.shape:
        what = f"'{y.name}' has shape {list(y.shape)}, the input stands for {list(x.shape)}"
        raise ModelError(what, where=operator.describe())
    if y.is_float:
        steps = building(operator)
        signs = steps.step(Requantize, x, encoding=_SIGNS, epilogue=Rescale((1,), (0,), (0,), -1, 1))
        return steps.last(Dequantize, signs)
    operator.require(_is_int8(y), f"'{y.name}' is {y.encoding}, not float32 or int8")
    one = int(round_half_away(np.float32(1) / np.float32(y.scale)))
    return Steps((Requantize(**operator.common(), epilogue=Rescale((one,), (y.zero_point,), (0,), *_CODES)),))


@converts_custom("LceBMaxPool2d")
def max_pool_2d(operator: Operator) -> Steps:
    """+1 where a window has one (core/bmaxpool.h)."""
    x, y = _operands(operator, 1)
    _require_bits(operator, x)
    options = _Options(operator)
    window: dict[str, Any] = {"padding": options.padding, "stride": options.pair("stride")}
    kernel = options.pair("filter")
    pool = MaxPool2D(**operator.common(), kernel=kernel, **window)
    rows, columns = _axes(x, kernel, **window)
    return Steps((pool,), (_bits(operator, y, (x.shape[0], rows.output, columns.output, x.shape[3])),))


@converts_custom("LceBconv2d")
def conv_2d(operator: Operator) -> Steps:
    """Sums of products of signs, and what the output's type makes of them: signs, int8 codes or floats.

    Padding is zeros, or +1 (core/bconv2d/reference.h).
    """
    x, y = _operands(operator, 5)
    _require_bits(operator, x)
    options, steps = _Options(operator), building(operator)
    if options["channels_in"] != x.shape[-1]:
        what = f"its input has {x.shape[-1]} channels, not {options['channels_in']}"
        raise ModelError(what, where=operator.describe())
    weights = steps.constant("bits", _signs_of(operator, x.shape[-1]), _BITS)
    window: dict[str, Any] = {
        "padding": options.padding,
        "stride": options.pair("stride"),
        "dilation": options.pair("dilation", "_factor"),
    }
    rows, columns = _axes(x, weights.shape[1:3], **window)
    shape = (x.shape[0], rows.output, columns.output, weights.shape[0])
    ones = options["pad_values"]
    operator.require(ones in (0, 1), f"padding with {ones} is not supported")
    if ones and options.padding is Padding.SAME:
        around = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
        if any(map(any, around)):
            x = steps.step(Pad, x, paddings=around, value=1)
        window["padding"] = Padding.VALID
    sums = BitSums(operator, weights.shape, operator.activation(options["fused_activation_function"]))
    if y.is_float:
        return _in_float(steps, sums, (x, weights), window)
    if _is_int8(y):
        return steps.last(Conv2D, x, weights, epilogue=sums.to_codes(y), **window)
    done = steps.last(Conv2D, x, weights, epilogue=sums.to_signs(), **window)
    return replace(done, tensors=(*done.tensors, _bits(operator, y, shape)))


def _in_float(steps: Building, sums: BitSums, inputs: tuple[Tensor, Tensor], window: dict[str, Any]) -> Steps:
    """A product and a sum in single precision, as in core/bconv2d/output_transform.h."""
    low, high = sums.clamp
    # Twice the differing signs are what LiteRT's kernel scales: the taps, less the sum.
    differing = Affine("int16", (1.0,), (-sums.taps,))
    codes = steps.step(Conv2D, *inputs, encoding=differing, epilogue=Rescale((-1,), (0,), (0,), -high, -low), **window)
    multiplier, offset = (steps.constant(f"scale{i}", values, Float32()) for i, values in enumerate(sums.scales()))
    numbers = steps.step(Dequantize, codes, encoding=Float32())
    return steps.last(Add, steps.step(Mul, numbers, multiplier), offset)


class _Options:
    """The options of a Larq operator.

    Raises:
        ModelError: they cannot be read, or one is missing.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        content = operator.raw.CustomOptionsAsNumpy()
        try:
            self._values = flexbuffers.Loads(bytes(content))
        except Exception as error:  # whatever its reader meets in damaged bytes
            raise ModelError("its options are damaged", where=operator.describe()) from error

    def __getitem__(self, name: str) -> int:
        found = self._values.get(name) if isinstance(self._values, dict) else None
        if not isinstance(found, int):
            raise ModelError(f"its options have no number '{name}'", where=self._operator.describe())
        return found

    def pair(self, name: str, ending: str = "") -> tuple[int, int]:
        """Of height and width."""
        return self[f"{name}_height{ending}"], self[f"{name}_width{ending}"]

    @property
    def padding(self) -> Padding:
        return padding_of(self._operator, self["padding"])


def _operands(operator: Operator, count: int) -> tuple[Tensor, Tensor]:
    """The first input, of so many, and the output."""
    if len(operator.inputs) != count or len(operator.outputs) != 1 or operator.inputs[0] is None:
        what = f"has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs, not {count} and 1"
        raise ModelError(what, where=operator.describe())
    return operator.inputs[0], operator.outputs[0]


def _require_bits(operator: Operator, x: Tensor) -> None:
    operator.require(
        isinstance(x.encoding, Binary),
        f"'{x.name}' does not come from an operator that packs bits",
        fix="Begin the model with floats or int8: LceQuantize packs them.",
    )


def _is_int8(tensor: Tensor) -> bool:
    return isinstance(tensor.encoding, Affine) and tensor.dtype == np.int8 and not tensor.encoding.per_channel


def _bits(operator: Operator, packed: Tensor, shape: Shape) -> Tensor:
    """What a tensor of the file stands for."""
    words = (*shape[:-1], -(-shape[-1] // WORD_BITS)) if shape else ()
    if operator.kind(packed) != "int32" or not words or not operator.has_shape(packed, words):
        what = f"'{packed.name}' is not int32 {list(words)}, for 32 channels in each"
        raise ModelError(what, where=operator.describe())
    return replace(packed, shape=shape, encoding=_BITS)


def _axes(
    x: Tensor, kernel: Shape, padding: Padding, stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> tuple[Axis, Axis]:
    """(rows, columns) of a window."""
    if len(x.shape) != 4:
        raise ModelError(f"'{x.name}' has {len(x.shape)} dimensions, not 4")
    return (
        axis(x.shape[1], kernel[0], stride[0], dilation[0], padding),
        axis(x.shape[2], kernel[1], stride[1], dilation[1], padding),
    )


def _signs_of(operator: Operator, channels: int) -> np.ndarray:
    """The binary codes of a filter, [O, rows, columns, channels of a group]."""
    packed = operator.constant(1, "filter")
    words = -(-channels // WORD_BITS)
    fits = packed.ndim == 4 and packed.dtype == np.int32 and packed.shape[-1] > 0 and words % packed.shape[-1] == 0
    groups = words // packed.shape[-1] if fits else 1
    # Channels of groups fill whole words.
    if not fits or (groups > 1 and channels % (groups * WORD_BITS)) or packed.shape[0] % groups:
        what = f"its filter is {packed.dtype.name} {list(packed.shape)}, for {channels} channels in words of 32"
        raise ModelError(what, where=operator.describe())
    operator.require(
        packed[0].size // packed.shape[-1] * channels // groups <= MOST_TAPS,
        f"has sums of more than {MOST_TAPS:,} products",
        fix="Use smaller windows, or convolutions in groups.",
    )
    return 1 - unpack_bits(packed.view(np.uint32), channels // groups)
