"""DIV, FLOOR_DIV, FLOOR_MOD, SQUARED_DIFFERENCE, POW and ATAN2 against LiteRT's reference kernels."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.differential.test_binary import shapes
from tests.support.cases import ACTIVATIONS, Draw, differential, log_uniform, scale_of
from tests.support.differential import compare_models
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

_TABLES = {"POW": "PowOptions", "FLOOR_DIV": "FloorDivOptions", "FLOOR_MOD": "FloorModOptions", "ATAN2": ""}
_UNSCALED = ("FLOOR_DIV", "FLOOR_MOD")


def case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    a_shape, b_shape = shapes(draw)
    if name == "ATAN2":
        b_shape = a_shape
    scales: tuple[float | None, ...] = (None, None, None)
    zeros = [0, 0, 0]
    if dtype in ("int8", "int16") and name not in _UNSCALED:
        a_scale, b_scale = (scale_of(rng, dtype, 1e-3, 1.0) or 1.0 for _ in range(2))
        y = _output_scale(draw, name, a_scale, b_scale, dtype)
        scales, zeros = (a_scale, b_scale, y), [draw.zero_point(dtype) for _ in range(3)]
    # Nor is the least code divided, since -1 may be the divisor.
    least = 1e-3 if name == "POW" else np.iinfo(dtype).min + 1 if name in _UNSCALED and dtype != "float32" else None
    a = TensorSpec(a_shape, dtype, scales[0], zeros[0], least=least)
    # Nothing is divided by zero: LiteRT ends the inference.
    positive = {"DIV": zeros[1] + 1 if dtype != "float32" else 1e-3, "FLOOR_DIV": 1, "FLOOR_MOD": 1}.get(name)
    b = TensorSpec(b_shape, dtype, scales[1], min(zeros[1], 120), least=positive)
    if name == "POW":
        b = TensorSpec(b_shape, dtype, data=rng.uniform(-3, 3, b_shape).astype(np.float32))
    if positive is not None and dtype in ("int8", "int16") and draw.yes():
        b = TensorSpec(b_shape, dtype, scales[1], b.zero_point, data=_without(b, rng))
    y_shape = np.broadcast_shapes(a_shape, b_shape)
    if name == "DIV":
        chosen = options("DivOptions", fusedActivationFunction=draw.choice(ACTIVATIONS))
    elif name == "SQUARED_DIFFERENCE":
        chosen = options("SquaredDifferenceOptions")
    else:
        chosen = options(_TABLES[name]) if _TABLES[name] else {}
    version = {"int16": 2, "int8": 2}.get(dtype, 1) if name != "FLOOR_DIV" else 3
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [a, b],
        [TensorSpec(y_shape, dtype, scales[2], zeros[2])],
        **chosen,
        label=f"{name} {dtype}",
        version=version,
    )


def _output_scale(draw: Draw, name: str, a: float, b: float, dtype: str) -> float:
    if name == "SQUARED_DIFFERENCE":
        return float(np.float32((2 * max(a, b)) ** 2 * log_uniform(draw.rng, 0.02, 300)))
    # Of smaller multipliers, LiteRT shifts words of 32 bits by more than 31.
    return float(np.float32(a / b / 2.0 ** draw.rng.uniform(*((6, 14) if dtype == "int8" else (14, 15)))))


def _without(b: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Codes of both signs, but none that stands for zero."""
    info = np.iinfo(b.dtype)
    codes = rng.integers(info.min, info.max, tuple(b.shape), endpoint=True)
    return np.where(codes == b.zero_point, codes + 1, codes).astype(b.dtype)


CASES = {
    **{
        f"{name} float32": (partial(case, name=name, dtype="float32"), 40)
        for name in ("DIV", "FLOOR_DIV", "FLOOR_MOD", "SQUARED_DIFFERENCE", "POW", "ATAN2")
    },
    **{f"{name} int32": (partial(case, name=name, dtype="int32"), 20) for name in ("DIV", "SQUARED_DIFFERENCE")},
    **{f"{name} int8": (partial(case, name=name, dtype="int8"), 40) for name in ("DIV", "SQUARED_DIFFERENCE")},
    "DIV int16": (partial(case, name="DIV", dtype="int16"), 40),
    **{
        f"{name} {dtype}": (partial(case, name=name, dtype=dtype), 20)
        for name, dtype in product(_UNSCALED, ("int8", "int16", "int32"))
    },
}
test_models, test_many, test_on_the_core = differential(CASES)


_SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.5, 2.5, 1e30, np.inf, -np.inf, np.nan], np.float32)


@pytest.mark.parametrize("name", ["DIV", "FLOOR_MOD", "POW", "ATAN2"])
def test_ends_of_floats(name: str, tmp_path: Path) -> None:
    """Zeros of both signs, infinities, and numbers that are none."""
    size = (len(_SPECIAL), len(_SPECIAL))
    a, b, y = (TensorSpec(size, "float32") for _ in range(3))
    model = build(ModelSpec(getattr(BuiltinOperator, name), [a, b], [y], version=1))
    feed = [np.ascontiguousarray(side) for side in np.meshgrid(_SPECIAL, _SPECIAL)]
    [[want]] = reference_outputs(model, [feed])
    graph = read_tflite(model, name="m")
    [[[got]]] = run_on_host([lower(graph)], [[feed]], tmp_path)
    for found in (evaluate(graph, feed)[0], got):
        np.testing.assert_allclose(found, want, rtol=1e-6)


def test_all_quotients_of_int8() -> None:
    """Of every pair of codes but those with a divisor of zero, with the least multiplier that LiteRT is sound for."""
    codes = np.arange(-128, 128).astype(np.int8)
    a, y = TensorSpec((256, 1), "int8", 0.1, 3), TensorSpec((256, 255), "int8", 0.1 / 0.1 / 64.5, -5)
    models = []
    for zero in (0, -7):
        divisors = codes[codes != zero].reshape(1, 255)
        b = TensorSpec((1, 255), "int8", 0.1, zero, data=divisors)
        models.append(build(ModelSpec(BuiltinOperator.DIV, [a, b], [y], **options("DivOptions"), version=2)))
    compare_models(models, [[[codes.reshape(256, 1)]]] * 2, ["DIV int8"] * 2)
