"""What the differential tests draw from."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType

from tests.support.differential import Board, compare, compare_built
from tests.support.tflite_builder import ModelSpec, build

ACTIVATIONS = [
    ActivationFunctionType.NONE,
    ActivationFunctionType.RELU,
    ActivationFunctionType.RELU6,
    ActivationFunctionType.RELU_N1_TO_1,
]
SOME = 20
"""How many models of each case the default run compares."""

_Option = TypeVar("_Option")


class Draw:
    """Random choices, the same for the same seed.

    Hypothesis begins with the smallest example and grows slowly: what runs eight examples sees eight times nearly
    nothing. Here the first model is as large and as odd as any other. Nothing shrinks: each attempt would compile.
    """

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """Both ends are possible."""
        return int(self.rng.integers(low, high + 1))

    def yes(self, chance: float = 0.5) -> bool:
        return bool(self.rng.random() < chance)

    def choice(self, options: Sequence[_Option]) -> _Option:
        return options[int(self.rng.integers(len(options)))]

    def sizes(self, largest: int, least: int, most: int) -> tuple[int, ...]:
        """Between `least` and `most` dimensions of 1 to `largest`; not all of them are 1."""
        while True:
            found = tuple(self.integer(1, largest) for _ in range(self.integer(least, most)))
            if max(found, default=0) > 1:
                return found

    def zero_point(self, dtype: str) -> int:
        """Any legal one: 16-bit activations are symmetric."""
        return {"int8": lambda: self.integer(-128, 127), "uint8": lambda: self.integer(0, 255)}.get(dtype, int)()


Case = Callable[[Draw], ModelSpec]


def any_type(case: Callable[..., ModelSpec], count: int, types: Sequence[str], **fields: str) -> tuple[Case, int]:
    """A case whose models each have one of the types, drawn, and how many there are."""
    return lambda draw: case(draw, dtype=draw.choice(types), **fields), count


def log_uniform(rng: np.random.Generator, low: float, high: float, size: Any = None) -> Any:
    """A value (or array) whose logarithm is uniform: scales of all magnitudes."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def scale_of(rng: np.random.Generator, dtype: str, low: float = 1e-3, high: float = 1.0) -> float | None:
    """A scale for a quantized tensor, None for floats."""
    if dtype not in ("int8", "uint8", "int16"):
        return None
    return float(np.float32(log_uniform(rng, low, high) / (256 if dtype == "int16" else 1)))


def draws(name: str, count: int) -> Iterator[Draw]:
    """The same at every run, so that a change is what turns a test red; TINYGEN_RANDOM=1, 2, ... looks for others."""
    seed = zlib.crc32(f"{name}{os.environ.get('TINYGEN_RANDOM', '')}".encode())
    return (Draw(seed, index) for index in range(count))


def models(name: str, case: Case, count: int) -> list[ModelSpec]:
    """`count` models, no two the same."""
    return list(built_models(name, case, count).values())


def built_models(name: str, case: Case, count: int) -> dict[bytes, ModelSpec]:
    """The same with their files."""
    found: dict[bytes, ModelSpec] = {}
    for draw in draws(name, 20 * count):
        spec = case(draw)
        found.setdefault(build(spec), spec)
        if len(found) == count:
            return found
    raise AssertionError(f"{name}: only {len(found)} different models in {20 * count}")


def _id(name: str) -> str:
    return name.replace(" ", "-")


def differential(
    cases: Mapping[str, tuple[Case, int]],
) -> tuple[Callable[[str], None], Callable[[str], None], Callable[[], None]]:
    """Three tests: some models of each case; in the long run many others; and a few of each in the emulated core.

    Args:
        cases: by name, with the number of models in the long run.
    """

    @pytest.mark.parametrize("name", cases, ids=_id)
    def some(name: str) -> None:
        compare_built(built_models(name, cases[name][0], SOME), board=Board.NONE)

    @pytest.mark.long
    @pytest.mark.parametrize("name", cases, ids=_id)
    def many(name: str) -> None:
        case, count = cases[name]
        compare_built(built_models(f"many {name}", case, count), board=Board.SHARE)

    def core() -> None:
        compare(
            [spec for name, (case, _) in cases.items() for spec in models(f"core {name}", case, 2)], board=Board.ONLY
        )

    return some, many, core
