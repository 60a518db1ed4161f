"""What the differential tests draw from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.differential import compare
from tests.support.shares import shares
from tests.support.tflite_builder import ModelSpec

ACTIVATIONS = [
    ActivationFunctionType.NONE, ActivationFunctionType.RELU,
    ActivationFunctionType.RELU6, ActivationFunctionType.RELU_N1_TO_1,
]  # fmt: skip


def log_uniform(rng: np.random.Generator, low: float, high: float, size: Any = None) -> Any:
    """A value (or array) whose logarithm is uniform: scales of all magnitudes."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


@st.composite
def generator(draw: st.DrawFn) -> np.random.Generator:
    """A NumPy generator seeded by hypothesis."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def zero_point(dtype: str) -> st.SearchStrategy[int]:
    """Any legal zero point: 16-bit activations are symmetric."""
    return st.just(0) if dtype != "int8" else st.integers(-128, 127)


def scale_of(rng: np.random.Generator, dtype: str, low: float = 1e-3, high: float = 1.0) -> float | None:
    """A scale for a quantized tensor, None for floats."""
    if dtype not in ("int8", "int16"):
        return None
    return float(np.float32(log_uniform(rng, low, high) / (1 if dtype == "int8" else 256)))


def differential(
    case: st.SearchStrategy[ModelSpec], examples: int = 12, batch: int = 8
) -> Callable[[int], None]:
    """A test function that compares `examples` batches of `batch` models, fewer in the default run.

    A failing batch is not shrunk: each attempt compiles, and the message names the model anyway.
    """

    @shares
    def test(every: int) -> None:
        @settings(max_examples=-(-examples // every), phases=(Phase.explicit, Phase.reuse, Phase.generate))
        @given(st.lists(case, min_size=batch, max_size=batch))
        def drawn(cases: list[ModelSpec]) -> None:
            compare(cases)

        drawn()

    return test
