"""pymicro-features as the oracle: its features as raw integers, and what it takes to have the same tables.

pymicro-features asks the computer's C library for log1pf, and libraries differ in its last bit. Where this computer's
differs from newlib's, which is what tinygen takes, the oracle has other filter weights than a device; then our tables
are made with this computer's function for the comparison.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tinygen.audio import micro_tables, native
from tinygen.audio.log1p import log1p

_HOP_BYTES = 320


def reference(samples: np.ndarray) -> np.ndarray:
    """Raw features uint16 [frames, 40] of int16 samples at 16 kHz."""
    from pymicro_features import MicroFrontend

    frontend, data, position = MicroFrontend(), samples.tobytes(), 0
    frames: list[np.ndarray] = []
    rows: list[list[float]] = []
    while position + _HOP_BYTES <= len(data):
        output = frontend.process_samples(data[position : position + _HOP_BYTES])
        position += 2 * output.samples_read
        if output.features:
            rows.append(output.features)
        if len(rows) == 6000:
            frames.append(_raw(rows))
            rows = []
    return np.concatenate([*frames, _raw(rows)])


def _raw(rows: list[list[float]]) -> np.ndarray:
    values = np.array(rows, np.float64).reshape(-1, 40) * 25.6
    raw = values.astype(np.uint16)
    assert np.array_equal(raw, values)
    return raw


def this_computers_log1p() -> Callable[[np.float32], np.float32] | None:
    """log1pf of its C library, if it can be found."""
    name = ctypes.util.find_library("m")
    if name is None:
        return None
    function = ctypes.CDLL(name).log1pf
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return lambda x: np.float32(function(float(x)))


@pytest.fixture
def same_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For the test, tables as the oracle has them on this computer."""
    theirs = this_computers_log1p()
    bins = np.arange(257, dtype=np.float32) * np.float32(31.25) / np.float32(700)
    if theirs is None or all(theirs(x) == log1p(x) for x in bins):
        yield
        return
    monkeypatch.setattr(micro_tables, "log1p", theirs)
    native._library.cache_clear()
    yield
    native._library.cache_clear()
