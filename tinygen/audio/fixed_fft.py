"""A real FFT in 16-bit fixed point that gives, bit for bit, what KissFFT's does (`kiss_fftr` with FIXED_POINT=16).

The transform of N real samples is the complex one of N/2 points (sample 2n is the real part of point n, sample 2n + 1
its imaginary part), decimated in time: radix 4, and radix 2 in the stage of neighbours where the size is no power of 4.
Every stage first divides what it reads by its radix, every multiplication rounds, sums wrap around. So the result is
the spectrum divided by N, and what it is in the last bits depends on the order; this is that order.
Source: kissfft 131 (github.com/mborgerding/kissfft), kiss_fft.c, _kiss_fft_guts.h, kiss_fftr.c.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Q15 = 15
"""Fraction bits of twiddles."""
_ROUND = 1 << (Q15 - 1)
_ONE = 32767

Complex = tuple[np.ndarray, np.ndarray]
"""Real and imaginary parts, int32 arrays that hold int16 values."""


@dataclass(frozen=True)
class Stage:
    """One stage of the complex transform.

    Attributes:
        radix: 4 or 2.
        span: points between a butterfly's legs: 1 in the stage of neighbours, then `radix` times as many each.
        twiddles: int32 [radix - 1, span, 2]: what each butterfly's legs from 1 on are multiplied by; real, imaginary.
    """

    radix: int
    span: int
    twiddles: np.ndarray


@dataclass(frozen=True)
class FixedFft:
    """What the transform of `size` real samples needs.

    Attributes:
        size: N, a power of 2, at least 8.
        order: [N/2]; place i of the first stage takes point order[i].
        stages: first the one of neighbours.
        split_twiddles: int32 [N/4, 2], of bins 1 .. N/4, where the complex transform becomes the real one.
    """

    size: int
    order: np.ndarray
    stages: tuple[Stage, ...]
    split_twiddles: np.ndarray

    def __call__(self, samples: np.ndarray) -> Complex:
        """The spectrum divided by N.

        Args:
            samples: int16 values [N, columns], one transform per column.

        Returns:
            bins 0 .. N/2, each [N/2 + 1, columns].
        """
        points = samples.astype(np.int32)
        real, imag = points[0::2][self.order], points[1::2][self.order]
        for stage in self.stages:
            _run(stage, real, imag)
        return self._split(real, imag)

    def _split(self, real: np.ndarray, imag: np.ndarray) -> Complex:
        """From the transform of even + i odd samples to that of all samples."""
        half = self.size // 2
        out_real = np.zeros((half + 1, *real.shape[1:]), np.int32)
        out_imag = np.zeros_like(out_real)
        dc_real, dc_imag = _divided(real[0], 2), _divided(imag[0], 2)
        out_real[0], out_real[half] = _wrap(dc_real + dc_imag), _wrap(dc_real - dc_imag)
        k = np.arange(1, half // 2 + 1)
        a = _divided(real[k], 2), _divided(imag[k], 2)
        b = _divided(real[half - k], 2), _divided(_wrap(-imag[half - k]), 2)
        even = _wrap(a[0] + b[0]), _wrap(a[1] + b[1])
        odd = _times((_wrap(a[0] - b[0]), _wrap(a[1] - b[1])), self.split_twiddles)
        # The middle bin is both k and N/2 - k; the second has the last word.
        out_real[k], out_imag[k] = (even[0] + odd[0]) >> 1, (even[1] + odd[1]) >> 1
        out_real[half - k], out_imag[half - k] = (even[0] - odd[0]) >> 1, (odd[1] - even[1]) >> 1
        return out_real, out_imag


def make_fft(size: int) -> FixedFft:
    """The transform of `size` real samples, a power of 2 from 8 on."""
    points = size // 2
    radices = list(_radices(points))
    order = np.zeros(1, np.int64)
    for radix in reversed(radices):
        # A transform of `radix` smaller ones: the q-th of them takes every radix-th point from q on.
        order = np.concatenate([order * radix + q for q in range(radix)])
    stages = []
    span = 1
    for radix in reversed(radices):
        stages.append(Stage(radix, span, _stage_twiddles(radix, span)))
        span *= radix
    split = [_twiddle(-math.pi * ((k + 1) / points + 0.5)) for k in range(points // 2)]
    return FixedFft(size, order, tuple(stages), np.array(split, np.int32))


def _radices(points: int) -> Iterator[int]:
    """Outermost first: fours, then a two where one is left."""
    while points > 1:
        radix = 4 if points % 4 == 0 else 2
        yield radix
        points //= radix


def _stage_twiddles(radix: int, span: int) -> np.ndarray:
    # As KissFFT reckons the phase: -2 pi i / points, with the point's index in the whole transform. Scaling index and
    # number of points by the same power of two changes no bit of it.
    size = radix * span
    rows = [[_twiddle(-2 * math.pi * (leg * k) / size) for k in range(span)] for leg in range(1, radix)]
    return np.array(rows, np.int32)


def _twiddle(phase: float) -> tuple[int, int]:
    return math.floor(0.5 + _ONE * math.cos(phase)), math.floor(0.5 + _ONE * math.sin(phase))


def _wrap(values: np.ndarray) -> np.ndarray:
    """As int16 would hold it."""
    return values.astype(np.int16).astype(np.int32)


def _divided(values: np.ndarray, by: int) -> np.ndarray:
    return (values * (_ONE // by) + _ROUND) >> Q15


def _times(x: Complex, twiddles: np.ndarray) -> Complex:
    """x [..., rows, columns] times twiddles [rows, 2]."""
    real, imag = twiddles[:, :1], twiddles[:, 1:]
    return (
        _wrap((x[0] * real - x[1] * imag + _ROUND) >> Q15),
        _wrap((x[0] * imag + x[1] * real + _ROUND) >> Q15),
    )


def _plus(a: Complex, b: Complex) -> Complex:
    return a[0] + b[0], a[1] + b[1]


def _minus(a: Complex, b: Complex) -> Complex:
    return a[0] - b[0], a[1] - b[1]


def _run(stage: Stage, real: np.ndarray, imag: np.ndarray) -> None:
    """All butterflies of a stage, in place; arrays [N/2, columns]."""
    shape = (-1, stage.radix, stage.span, real.shape[-1])
    groups = real.reshape(shape), imag.reshape(shape)
    x = [
        (_divided(groups[0][:, leg], stage.radix), _divided(groups[1][:, leg], stage.radix))
        for leg in range(stage.radix)
    ]
    x[1:] = [_times(value, twiddles) for value, twiddles in zip(x[1:], stage.twiddles, strict=True)]
    for leg, value in enumerate(_radix_4(x) if stage.radix == 4 else (_plus(x[0], x[1]), _minus(x[0], x[1]))):
        groups[0][:, leg], groups[1][:, leg] = _wrap(value[0]), _wrap(value[1])


def _radix_4(x: list[Complex]) -> tuple[Complex, ...]:
    sum02, difference02 = _plus(x[0], x[2]), _minus(x[0], x[2])
    sum13, difference13 = _plus(x[1], x[3]), _minus(x[1], x[3])
    turned = difference13[1], -difference13[0]
    return _plus(sum02, sum13), _plus(difference02, turned), _minus(sum02, sum13), _minus(difference02, turned)
