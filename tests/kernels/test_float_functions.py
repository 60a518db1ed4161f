"""Float functions of the C without a C library: errors in units in the last place, against double precision.

Each bound is the one that the function's comment, or its kernel's docstring, names.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_batch import WARNINGS
from tinygen.paths import resource

_COUNT = 200_000
_FLAGS = [*WARNINGS, "-O2", "-fno-builtin", "-shared", "-fPIC"]
_ERF = np.vectorize(math.erf)

Real = Callable[..., np.ndarray]


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.where(x < -9, np.exp(x), 1 / (1 + np.exp(-x)))


ONE: Mapping[str, tuple[Real, float]] = {
    "exp": (np.exp, 1.3),
    "log": (np.log, 0.9),
    "sqrt": (np.sqrt, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5),
    "sin": (np.sin, 2.6),
    "cos": (np.cos, 2.6),
    "tanh": (np.tanh, 2.7),
    "logistic": (_logistic, 2.5),
    "floor": (np.floor, 0.0),
    "ceil": (np.ceil, 0.0),
    "round_even": (np.round, 0.0),
    "sign": (np.sign, 0.0),
}
TWO: Mapping[str, tuple[Real, float]] = {
    "pow": (np.power, 0.51),
    "atan2": (np.arctan2, 2.8),
    "floor_div": (lambda a, b: np.floor(a / b), 0.5),
}


class Functions:
    """The headers as a library.

    Args:
        folder: for the compiled file.
    """

    def __init__(self, folder: Path) -> None:
        one = "void v_{0}(const float *x, float *y, int n) {{ for (int i = 0; i < n; i++) {{ y[i] = tg_{0}(x[i]); }} }}"
        two = (
            "void v_{0}(const float *a, const float *b, float *y, int n) "
            "{{ for (int i = 0; i < n; i++) {{ y[i] = tg_{0}(a[i], b[i]); }} }}"
        )
        lines = ['#include "tinygen_float.h"', '#include "tinygen_elementary.h"']
        lines += [one.format(name) for name in (*ONE, "expm1", "gelu", "gelu_tanh")]
        lines += [two.format(name) for name in (*TWO, "floor_mod")]
        source, library = folder / "functions.c", folder / "functions.so"
        source.write_text("\n".join(lines) + "\n")
        headers = resource("templates") / "model"
        subprocess.run(["gcc", *_FLAGS, f"-I{headers}", str(source), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def __call__(self, name: str, *operands: np.ndarray) -> np.ndarray:
        pointer = ctypes.POINTER(ctypes.c_float)
        result = np.empty(len(operands[0]), np.float32)
        arrays = (*(np.ascontiguousarray(x, np.float32) for x in operands), result)
        getattr(self._library, f"v_{name}")(*(x.ctypes.data_as(pointer) for x in arrays), len(result))
        return result


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Functions:
    return Functions(tmp_path_factory.mktemp("functions"))


def _numbers(seed: int) -> Iterator[np.ndarray]:
    """Of all bit patterns, and of the sizes that networks have."""
    rng = np.random.default_rng(seed)
    yield rng.integers(0, 2**32, _COUNT, dtype=np.uint32).view(np.float32)
    yield (rng.normal(size=_COUNT) * 3).astype(np.float32)
    yield rng.uniform(-100, 100, _COUNT).astype(np.float32)
    yield rng.integers(-20, 20, _COUNT).astype(np.float32) * np.float32(0.5)


def _worst(got: np.ndarray, exact: np.ndarray) -> float:
    """Largest error in units in the last place; what is no number, or infinite, must agree."""
    want = exact.astype(np.float32)
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True)
    unit = np.spacing(np.maximum(np.abs(want[finite]), np.finfo(np.float32).tiny)).astype(np.float64)
    return float(np.max(np.abs(got[finite] - exact[finite]) / unit, initial=0.0))


@pytest.mark.parametrize("name", ONE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_one(c: Functions, name: str) -> None:
    exact, bound = ONE[name]
    for x in _numbers(1):
        assert _worst(c(name, x), exact(x.astype(np.float64))) <= bound


@pytest.mark.parametrize("name", TWO)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_two(c: Functions, name: str) -> None:
    exact, bound = TWO[name]
    for a, b in zip(_numbers(2), _numbers(3), strict=True):
        assert _worst(c(name, a, b), exact(a.astype(np.float64), b.astype(np.float64))) <= bound


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_exact_functions(c: Functions) -> None:
    """The reciprocal root is that of LiteRT, bit for bit; remainders are exact."""
    for a, b in zip(_numbers(4), _numbers(5), strict=True):
        assert np.array_equal(c("rsqrt", a), np.float32(1) / np.sqrt(a), equal_nan=True)
        rest = np.fmod(a, b)
        floored = np.where((rest != 0) & ((b < 0) != (rest < 0)), rest + b, rest)
        assert np.array_equal(c("floor_mod", a, b), floored, equal_nan=True)


def test_parts_of_activations(c: Functions) -> None:
    """ELU's exponential keeps its digits near zero; GELU is within 3e-7 of its argument."""
    rng = np.random.default_rng(6)
    x = -np.exp(rng.uniform(-20, 5, _COUNT)).astype(np.float32)
    assert _worst(c("expm1", x), np.expm1(x.astype(np.float64))) <= 3.1
    x = rng.uniform(-8, 8, _COUNT).astype(np.float32)
    wide = x.astype(np.float64)
    exact = {
        "gelu": 0.5 * wide * (1 + _ERF(wide / math.sqrt(2))),
        "gelu_tanh": 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))),
    }
    for name, want in exact.items():
        assert np.max(np.abs(c(name, x) - want) / np.abs(wide)) <= 3e-7, name
