"""Suite `lowbit`: the same convolutions in every encoding of weights and activations, with random weights."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from tinygen.bench import layers
from tinygen.bench.case import Case, case_of
from tinygen.bench.layers import Window
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine, Binary, Codebook, IntegerEncoding, Levels, PowerOfTwo, Ternary
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.tensor import Shape, Tensor

SUITE = "lowbit"
_ONE = (1.0,)
_INT8, _BINARY = Affine("int8", _ONE, (-128,)), Binary(_ONE)
_CODEBOOK = (-127, -96, -73, -55, -41, -28, -17, -7, 2, 12, 22, 34, 48, 64, 85, 120)
"""Sixteen shared values, denser around zero as centroids of trained weights are."""
_WANTED_DEVIATIONS = 2.5
"""Half the range of output codes, in standard deviations of the accumulators."""


@dataclass(frozen=True)
class Coding:
    """Encodings of one case.

    Attributes:
        label: in the case's name and the table.
        x, w: of activations and weights; the output's is that of the input.
        zeros: share of weights that are zero, for encodings that have it.
        scaled: each kernel has a scale of its own, 8 bits (APSQ).
    """

    label: str
    x: IntegerEncoding
    w: IntegerEncoding
    zeros: float = 0.0
    scaled: bool = False


def _levels(bits: int, signed: bool) -> Levels:
    return Levels(_ONE, bits=bits, signed=signed)


_POWERS = PowerOfTwo(_ONE, exponents=7)
CODINGS = (
    Coding("w4a4", _levels(4, False), _levels(4, True)),
    Coding("w3a4", _levels(4, False), _levels(3, True)),
    Coding("w2a4", _levels(4, False), _levels(2, True)),
    Coding("w3a3", _levels(3, False), _levels(3, True)),
    Coding("w2a2", _levels(2, False), _levels(2, True)),
    Coding("w1a2", _levels(2, False), Binary(_ONE)),
    Coding("w2a1", _BINARY, _levels(2, True)),
    Coding("w4a8", _INT8, _levels(4, True)),
    Coding("w2a8", _INT8, _levels(2, True)),
    Coding("ternary", _INT8, Ternary(_ONE)),
    Coding("binary-weights", _INT8, Binary(_ONE)),
    Coding("apsq", _INT8, Binary(_ONE), scaled=True),
    Coding("power-of-two", _INT8, _POWERS),
    *(Coding(f"power-of-two-z{zeros}", _INT8, _POWERS, zeros / 100) for zeros in (50, 70, 80, 90)),
    Coding("codebook-16", _INT8, Codebook(_ONE, table=_CODEBOOK)),
    Coding("xnor", _BINARY, _BINARY),
)
HARD = (
    ("stride_2", (16, 16, 64), 64, Window((3, 3), stride=(2, 2))),
    ("window_5x5", (16, 16, 32), 32, Window((5, 5))),
    *((f"width_{width}", (width, width, 64), 64, Window((3, 3))) for width in (5, 7, 15)),
    *((f"channels_{channels}", (16, 16, channels), channels, Window((3, 3))) for channels in (3, 5, 8, 17, 20, 33, 36)),
)
"""Shapes that are no multiple of anything; of channels also the next multiples of four."""
SHAPES = (
    ("conv_3x3_64_64_16x16", (16, 16, 64), 64, Window((3, 3))),
    ("conv_1x1_128_128_8x8", (8, 8, 128), 128, Window((1, 1))),
)


@suite(SUITE, "two convolutions as int8, in 4 to 1 bits, ternary, binary, powers of two, codebook, xnor")
def cases(options: SuiteOptions) -> SuiteCases:
    found = []
    for name, image, filters, window in SHAPES:
        text = f"{window.kernel[0]}x{window.kernel[1]} {image[2]}->{filters} @{image[0]}x{image[1]}"
        found.append(_case(f"{name}_int8", layers.conv_2d(f"{name}_int8", image, filters, window), f"{text} int8"))
        for coding in CODINGS:
            if coding.scaled and window.kernel == (1, 1):
                continue  # a kernel of one weight has no scale of its own
            title = f"{name}_{coding.label}"
            found.append(_case(title, integer_conv_2d(title, image, filters, window, coding), f"{text} {coding.label}"))
    return SuiteCases(found)


@suite("lowbit-shapes", "w4a4, w2a2 and xnor beside int8 where nothing is a multiple: strides, 5x5, widths, channels")
def hard_cases(options: SuiteOptions) -> SuiteCases:
    few = [coding for coding in CODINGS if coding.label in ("w4a4", "w2a2", "xnor")]
    found = []
    for name, image, filters, window in HARD:
        text = f"{window.kernel[0]}x{window.kernel[1]} {image[2]}->{filters} @{image[0]}x{image[1]}"
        found.append(_case(f"{name}_int8", layers.conv_2d(f"{name}_int8", image, filters, window), f"{text} int8"))
        for coding in few:
            title = f"{name}_{coding.label}"
            found.append(_case(title, integer_conv_2d(title, image, filters, window, coding), f"{text} {coding.label}"))
    return SuiteCases(found)


def _case(name: str, model: MemoryModel, shape: str) -> Case:
    return case_of(SUITE, name, model, shape)


def integer_conv_2d(name: str, image: Shape, filters: int, window: Window, coding: Coding) -> MemoryModel:
    """A convolution with random weights, whose output is spread over the codes of the input's encoding."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    height, width, channels = image
    shape = (filters, *window.kernel, channels)
    codes = random_weights(coding, shape, rng)
    x = Tensor("x", (1, *image), coding.x)
    w = Tensor("weights", shape, coding.w, codes)
    y = Tensor("y", (1, *window.output(height, width), filters), coding.x)
    scales = rng.integers(64, 256, (filters, channels)).astype(np.uint16)
    factors = [Tensor("scales", scales.shape, Affine("uint16", _ONE, (0,)), scales)] if coding.scaled else []
    integers = coding.w.integers(codes) * (scales[:, None, None, :] if coding.scaled else 1)
    op = Conv2D(
        name="conv",
        inputs=("x", "weights", *("", "scales") * coding.scaled),
        outputs=("y",),
        padding=window.padding,
        stride=window.stride,
        epilogue=spreading_epilogue(coding.x, integers.reshape(filters, -1).astype(np.float64), rng),
    )
    graph = Graph(c_name(name), {t.name: t for t in (x, w, *factors, y)}, (op,), ("x",), ("y",))
    graph.validate()
    return MemoryModel(graph, f"{name} (random weights)")


def random_weights(coding: Coding, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Uniform over the encoding's codes; zeros only as many as asked for."""
    low, high = coding.w.code_range
    codes = rng.integers(low, high + 1, shape)
    if isinstance(coding.w, PowerOfTwo):
        codes = rng.integers(1, high + 1, shape) * rng.choice([-1, 1], shape)
        codes = np.where(rng.random(shape) < coding.zeros, 0, codes)
    return codes.astype(coding.w.dtype)


def spreading_epilogue(x: IntegerEncoding, weights: np.ndarray, rng: np.random.Generator) -> Epilogue:
    """What spreads the accumulators of uniform random codes of `x` over those codes; weights [filters, taps]."""
    low, high = x.code_range
    integers = x.integers(np.arange(low, high + 1).astype(x.dtype)).astype(np.float64)
    centre = weights.sum(axis=1) * integers.mean()
    deviation = np.sqrt((weights**2).sum(axis=1)) * integers.std()
    if isinstance(x, Binary):
        cuts = np.round(centre + rng.uniform(-0.5, 0.5, len(weights)) * deviation).astype(np.int64)
        signs = rng.choice([1, -1], len(weights))
        return Threshold(tuple((int(t),) for t in signs * cuts), tuple(signs.tolist()))
    factor = (high - low) / 2 / _WANTED_DEVIATIONS / deviation
    shift = 30 - np.ceil(np.log2(factor)).astype(np.int64)
    multiplier = np.round(factor * 2.0**shift).astype(np.int64)
    middle = np.int64((low + high + 1) // 2) << shift
    offset = middle - np.round(centre).astype(np.int64) * multiplier + (np.int64(1) << (shift - 1))
    return Rescale(tuple(multiplier.tolist()), tuple(offset.tolist()), tuple(shift.tolist()), low, high)
