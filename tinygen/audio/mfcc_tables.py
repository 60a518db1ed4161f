"""The constants of the C that computes MFCCs, in the order in which its loops take them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from tinygen.audio.mfcc_config import MfccConfig
from tinygen.audio.mfcc_exact import MelConfig, bin_mels, cosine_weights, hamming_window, hann_window, mel_edges

LOG_BITS = 23
"""Fraction bits of a logarithm."""
LN2 = round(math.log(2) * 2**LOG_BITS)
LOG_SEGMENTS = 128
COSINE_BITS = 28
"""Fraction bits of the cosine transform's weights: the sums of 69, which is -log of the smallest floor, fit 64 bits."""


@dataclass(frozen=True)
class MfccTables:
    """All float32 unless said; M = fft_size / 2 is the length of the complex FFT that does the real one's work.

    Attributes:
        window: [fft_size], zero behind the frame.
        order: uint16 [M]: which pair of samples the FFT begins with at each place.
        twiddles: for each stage of radix 4 but the first of all, w, w^2 and w^3 of each butterfly [rows, 3, 2].
        first_bin: of the spectrum that counts.
        turns: for each bin from there on, what takes the complex FFT's result to the real one's [bins, 2].
        rises: for each of those, its weight in the band that rises there; the band before has the rest.
        interval_bins: uint16 [bands + 1]: how many bins there are between an edge of the bands and the next one.
        cosines: int32 of COSINE_BITS fraction bits [channels, bands]; none for log mel energies.
    """

    window: np.ndarray
    order: np.ndarray
    twiddles: np.ndarray
    first_bin: int
    turns: np.ndarray
    rises: np.ndarray
    interval_bins: np.ndarray
    cosines: np.ndarray


def tables_of(config: MelConfig) -> MfccTables:
    """What is rounded is rounded once, from doubles."""
    size = config.fft_size
    window = np.zeros(size)
    shape, cosines = hamming_window, np.zeros((0, config.bands))
    if isinstance(config, MfccConfig):
        shape, cosines = hann_window, cosine_weights(config)
    window[: config.window_samples] = shape(config.window_samples)
    intervals, rises = _triangles(config)
    counted = np.flatnonzero(intervals >= 0)
    first = int(counted[0]) if counted.size else 1
    turns = np.exp(-2j * np.pi * counted / size) * -1j
    return MfccTables(
        window=window.astype(np.float32),
        order=np.array(_order(radices(size // 2)), np.uint16),
        twiddles=_pairs(_twiddles(size // 2)),
        first_bin=first,
        turns=_pairs(turns),
        rises=rises[counted].astype(np.float32),
        interval_bins=np.bincount(intervals[counted], minlength=config.bands + 1).astype(np.uint16),
        cosines=np.round(cosines * 2**COSINE_BITS).astype(np.int32),
    )


def radices(size: int) -> list[int]:
    """The stages of an FFT of 2^n, first to last: one of radix 2 where n is odd, and the rest of radix 4."""
    exponent = size.bit_length() - 1
    return [2] * (exponent % 2) + [4] * (exponent // 2)


def quarters(size: int) -> list[int]:
    """A quarter of what each stage of radix 4 puts together, without a stage that is the first of all."""
    sizes = np.cumprod(radices(size)).tolist()
    return [done // 4 for done in sizes[1:]]


@cache
def log_segments() -> np.ndarray:
    """ln(1 + (i + u) / 128), 0 <= u < 1, is value + u (slope + u bend): int64 [128, 3], LOG_BITS fraction bits.

    A parabola through the ends of the segment and its middle. Slopes are below 2^16: times 16 bits of u, below 2^32.
    """
    ends = np.arange(LOG_SEGMENTS)
    at_begin, at_middle, at_end = (np.log1p((ends + u) / LOG_SEGMENTS) * 2**LOG_BITS for u in (0, 0.5, 1))
    bend = 2 * (at_end + at_begin - 2 * at_middle)
    columns = [at_begin, at_end - at_begin - bend, bend]
    segments: np.ndarray = np.round(np.stack(columns, 1)).astype(np.int64)
    return segments


def _order(stages: list[int]) -> list[int]:
    """Decimation in time: the last stage puts together transforms of every r-th element."""
    if not stages:
        return [0]
    inner = _order(stages[:-1])
    return [part + stages[-1] * element for part in range(stages[-1]) for element in inner]


def _twiddles(size: int) -> np.ndarray:
    """Complex [rows, 3]."""
    rows = [np.zeros((0, 3), np.complex128)]
    for quarter in quarters(size):
        angles = np.outer(np.arange(quarter), [1, 2, 3]) / (4 * quarter)
        rows.append(np.exp(-2j * np.pi * angles))
    return np.concatenate(rows)


def _triangles(config: MelConfig) -> tuple[np.ndarray, np.ndarray]:
    """For each bin, the interval between the bands' edges it is in (-1: none), and how far up in it.

    The edges are as far apart as the mel scale has it, so that a band falls as much as the next one rises.
    """
    edges, mels = mel_edges(config), bin_mels(config)
    places = (mels - edges[0]) / (edges[1] - edges[0])
    intervals = np.floor(places).astype(np.int64)
    inside = (places > 0) & (places < config.bands + 1)
    # Neither the mean nor half the sample rate is in a band.
    inside[[0, -1]] = False
    return np.where(inside, intervals, -1), places - intervals


def _pairs(values: np.ndarray) -> np.ndarray:
    """Complex [...] as float32 [..., 2]."""
    return np.stack([values.real, values.imag], -1).astype(np.float32)
