"""Normalizations and softmax spelled out in operators of one thing each, as converters leave them, against LiteRT."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import Draw
from tests.support.differential import Board, compare_models, random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options

_OP = BuiltinOperator
_OPTIONS = {
    _OP.MEAN: "ReducerOptions",
    _OP.SUM: "ReducerOptions",
    _OP.REDUCE_MAX: "ReducerOptions",
    _OP.SQUARED_DIFFERENCE: "SquaredDifferenceOptions",
    _OP.ADD: "AddOptions",
    _OP.SUB: "SubOptions",
    _OP.MUL: "MulOptions",
    _OP.DIV: "DivOptions",
}
_VERSIONS = {"float32": 1, "int8": 2}


class _Chain:
    """Operators that all compute in one type; those that reduce do so over the last axis and keep it."""

    def __init__(self, draw: Draw, dtype: str) -> None:
        self._draw, self._dtype = draw, dtype
        self.specs: list[ModelSpec] = []

    def tensor(self, shape: tuple[int, ...], scale: float, *, positive: bool = False) -> TensorSpec:
        if self._dtype == "float32":
            return TensorSpec(shape, "float32")
        zero = -128 if positive else self._draw.integer(-60, 60)
        return TensorSpec(shape, self._dtype, self._near(scale), zero)

    def constant(self, numbers: np.ndarray, scale: float) -> TensorSpec:
        if self._dtype == "float32":
            return TensorSpec(numbers.shape, "float32", data=numbers.astype(np.float32))
        scale = self._near(scale)
        codes = np.clip(np.rint(numbers / scale), -127, 127).astype(np.int8)
        return TensorSpec(numbers.shape, self._dtype, scale, data=codes)

    def _near(self, scale: float) -> float:
        return float(np.float32(scale * 2.0 ** self._draw.rng.uniform(-1, 1)))

    def add(self, opcode: int, *inputs: TensorSpec, scale: float = 1.0, positive: bool = False) -> TensorSpec:
        shape = np.broadcast_shapes(*(tuple(x.shape) for x in inputs))
        name = _OPTIONS.get(opcode)
        chosen = options(name) if name else {}
        operands = list(inputs)
        if name == "ReducerOptions":
            operands.append(TensorSpec((1,), "int32", data=np.array([len(shape) - 1], np.int32)))
            shape, chosen = (*shape[:-1], 1), options(name, keepDims=True)
        y = self.tensor(shape, scale, positive=positive)
        self.specs.append(ModelSpec(opcode, operands, [y], version=_VERSIONS[self._dtype], **chosen))
        return y


def layer_norm(draw: Draw, dtype: str) -> list[ModelSpec]:
    chain, shape = _Chain(draw, dtype), (1, *draw.sizes(24, 1, 3))
    x = chain.tensor(shape, 0.03)
    mean = chain.add(_OP.MEAN, x, scale=0.01)
    squares = chain.add(_OP.SQUARED_DIFFERENCE, x, mean, scale=0.04)
    variance = chain.add(_OP.MEAN, squares, scale=0.02, positive=True)
    return _scaled(draw, chain, chain.add(_OP.SUB, x, mean, scale=0.03), variance)


def rms_norm(draw: Draw, dtype: str) -> list[ModelSpec]:
    chain, shape = _Chain(draw, dtype), (1, *draw.sizes(24, 1, 3))
    x = chain.tensor(shape, 0.03)
    return _scaled(draw, chain, x, chain.add(_OP.MEAN, chain.add(_OP.MUL, x, x, scale=0.06), scale=0.03, positive=True))


def _scaled(draw: Draw, chain: _Chain, x: TensorSpec, variance: TensorSpec) -> list[ModelSpec]:
    """Of `x`: divided by the root of `variance`, times a factor for each channel, plus an offset for each."""
    # LiteRT ends the inference at the root of a negative code: these have none.
    above = chain.add(_OP.ADD, variance, chain.constant(np.array(1e-3), 1e-4), scale=0.02, positive=True)
    y = chain.add(_OP.MUL, x, chain.add(_OP.RSQRT, above, scale=0.02), scale=0.02)
    y = chain.add(_OP.MUL, y, chain.constant(draw.rng.normal(size=x.shape[-1]), 0.02), scale=0.03)
    chain.add(_OP.ADD, y, chain.constant(draw.rng.normal(size=x.shape[-1]), 0.02), scale=0.03)
    return chain.specs


def softmax(draw: Draw, dtype: str) -> list[ModelSpec]:
    chain, shape = _Chain(draw, dtype), (1, *draw.sizes(24, 1, 3))
    x = chain.tensor(shape, 0.05)
    powers = chain.add(_OP.EXP, chain.add(_OP.SUB, x, chain.add(_OP.REDUCE_MAX, x)))
    chain.add(_OP.DIV, powers, chain.add(_OP.SUM, powers))
    return chain.specs


_CASES = {
    "layer norm float32": partial(layer_norm, dtype="float32"),
    "layer norm int8": partial(layer_norm, dtype="int8"),
    "RMS norm float32": partial(rms_norm, dtype="float32"),
    "RMS norm int8": partial(rms_norm, dtype="int8"),
    "softmax float32": partial(softmax, dtype="float32"),
}


@pytest.mark.parametrize("name", _CASES)
def test_spelled_out(name: str) -> None:
    draws = [Draw(31, seed) for seed in range(12)]
    chains = [_CASES[name](draw) for draw in draws]
    feeds = [
        [[random_codes(chain[0].inputs[0], draw.rng)] for _ in range(3)]
        for chain, draw in zip(chains, draws, strict=True)
    ]
    models = [build_chain(chain) for chain in chains]
    compare_models(models, feeds, [f"{name}, spelled out"] * len(models), board=Board.SHARE)
