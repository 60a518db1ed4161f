"""ADD, SUB, MUL, MAXIMUM, MINIMUM against LiteRT's reference kernels."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import ACTIVATIONS, Draw, differential, log_uniform, scale_of
from tests.support.differential import compare_models, random_codes
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

_VERSIONS = {"ADD": {"int16": 4, "int8": 2}, "SUB": {"int16": 5, "int8": 2}, "MUL": {"int8": 2, "int16": 4}}


def shapes(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast, up to the rank that LiteRT broadcasts."""
    full = draw.sizes(5, 1, 6)
    other = tuple(1 if draw.yes() else size for size in full)
    mode = draw.choice(["same", "same", "broadcast", "swapped", "scalar"])
    if mode == "same":
        return full, full
    if mode == "scalar":
        return full, (1,)
    # The shorter one may leave out what it has only one of, in front.
    while len(other) > 1 and other[0] == 1 and draw.yes():
        other = other[1:]
    return (full, other) if mode == "broadcast" else (other, full)


def scales(draw: Draw, name: str, dtype: str) -> tuple[float | None, float | None, float | None]:
    """Scales of the operands and of the output: mostly alike, at times many magnitudes apart."""
    rng = draw.rng
    spread = (1e-3, 1.0) if draw.yes() else (1e-7, 1e4)
    a, b = scale_of(rng, dtype, *spread), scale_of(rng, dtype, *spread)
    if a is None or b is None:
        return None, None, None
    if name in ("MAXIMUM", "MINIMUM"):
        return a, a, a
    if name == "MUL":
        # Multipliers up to 16. LiteRT wants the codes of a fused activation's bounds to fit 32 bits.
        return a, b, max(1e-8, float(a * b * (64 if dtype == "int8" else 16384) * log_uniform(rng, 1e-3, 4)))
    return a, b, float(max(a, b) * log_uniform(rng, 0.05, 4))


def case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    a_shape, b_shape = shapes(draw)
    extremum = name in ("MAXIMUM", "MINIMUM")
    a_scale, b_scale, y_scale = scales(draw, name, dtype)
    zeros = [draw.zero_point(dtype) for _ in range(3)]
    if extremum:
        zeros = [zeros[0]] * 3
    a, b = TensorSpec(a_shape, dtype, a_scale, zeros[0]), TensorSpec(b_shape, dtype, b_scale, zeros[1])
    where = draw.choice(["none", "none", "first", "second", "twin"])
    if where == "second":
        b = TensorSpec(b_shape, dtype, b_scale, zeros[1], data=random_codes(b, rng))
    if where == "first":
        a = TensorSpec(a_shape, dtype, a_scale, zeros[0], data=random_codes(a, rng))
    if where == "twin" and a_shape == b_shape:
        b = a
    y = TensorSpec(np.broadcast_shapes(a.shape, b.shape), dtype, y_scale, zeros[2])
    chosen = {}
    if extremum:
        chosen = options("MaximumMinimumOptions")
    else:
        values = {"fusedActivationFunction": draw.choice(ACTIVATIONS)}
        if dtype == "int16" and name != "MUL":
            # The flag has a meaning only where all scales are powers of two.
            values["potScaleInt16"] = draw.yes()
        chosen = options(f"{name.title()}Options", **values)
    version = _VERSIONS.get(name, {"int8": 2}).get(dtype, 1)
    return ModelSpec(getattr(BuiltinOperator, name), [a, b], [y], **chosen, label=f"{name} {dtype}", version=version)


def power_of_two(draw: Draw, name: str) -> ModelSpec:
    """Scales that are powers of two: one operand is shifted, the other matches the output."""
    shape, shifts = shapes(draw)[0], [0, draw.integer(0, 15)]
    if draw.yes():
        shifts.reverse()
    scale = 2.0 ** draw.integer(-15, 3)
    a, b = (TensorSpec(shape, "int16", scale * 2.0**-shift) for shift in shifts)
    chosen = options(f"{name.title()}Options", fusedActivationFunction=draw.choice(ACTIVATIONS), potScaleInt16=True)
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [a, b],
        [TensorSpec(shape, "int16", scale)],
        **chosen,
        label=f"{name} int16",
        version=_VERSIONS[name]["int16"],
    )


CASES = {
    **{f"{name} int8": (partial(case, name=name, dtype="int8"), 96) for name in ("ADD", "SUB", "MUL")},
    **{f"{name} int16": (partial(case, name=name, dtype="int16"), 48) for name in ("ADD", "SUB", "MUL")},
    **{f"{name} by shifts": (partial(power_of_two, name=name), 24) for name in ("ADD", "SUB")},
    **{
        f"{name} {dtype}": (partial(case, name=name, dtype=dtype), count)
        for name in ("MAXIMUM", "MINIMUM")
        for dtype, count in (("int8", 40), ("int16", 20), ("int32", 20))
    },
    **{
        f"{name} float32": (partial(case, name=name, dtype="float32"), 40)
        for name in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM")
    },
}
test_models, test_many, test_on_the_core = differential(CASES)


def test_operands_that_share_a_buffer() -> None:
    """A tensor and its own reshaped self lie at one address, and the result may lie there too."""
    x = TensorSpec((2, 3), "int8", 0.1, 3)
    doubled, flat, view = (TensorSpec(shape, "int8", 0.2, -7) for shape in ((2, 3), (6,), (1, 6)))
    wide, tall = TensorSpec((1, 6), "int8", 0.1, 5), TensorSpec((6, 6), "int8", 0.3, 1)
    shapes_of = [TensorSpec((len(s.shape),), "int32", data=np.array(s.shape, np.int32)) for s in (flat, view)]
    add, mul = options("AddOptions"), options("MulOptions")
    model = build_chain(
        [
            ModelSpec(BuiltinOperator.ADD, [x, x], [doubled], **add, version=2),
            ModelSpec(BuiltinOperator.RESHAPE, [doubled, shapes_of[0]], [flat], **options("ReshapeOptions")),
            ModelSpec(BuiltinOperator.RESHAPE, [flat, shapes_of[1]], [view], **options("ReshapeOptions")),
            ModelSpec(BuiltinOperator.ADD, [flat, view], [wide], **add, version=2),
            ModelSpec(
                BuiltinOperator.MUL,
                [wide, TensorSpec((6, 1), "int8", 0.1, 0, data=np.ones((6, 1), np.int8))],
                [tall],
                **mul,
                version=2,
            ),
        ]
    )
    rng = np.random.default_rng(0)
    compare_models([model], [[[random_codes(x, rng)] for _ in range(3)]], ["ADD, MUL in place"])


def test_what_is_tuned() -> None:
    """Broadcast operands, differences, and products that are rounded once or twice."""
    shapes = [((1, 5, 3, 7), (1, 5, 3, 7)), ((1, 5, 3, 8), (8,)), ((1, 5, 3, 6), (1, 5, 3, 1)), ((1, 4), (5, 1))]
    rng = np.random.default_rng(1)
    models, feeds = [], []
    for name, (first, second) in product(("ADD", "SUB", "MUL"), shapes):
        x, y = TensorSpec(first, "int8", 0.0103, -92), TensorSpec(second, "int8", 0.0039, -128)
        output = TensorSpec(np.broadcast_shapes(first, second), "int8", 0.0061, -91)
        chosen = options(f"{name.title()}Options")
        spec = ModelSpec(getattr(BuiltinOperator, name), [x, y], [output], **chosen, version=2)
        models.append(build(spec))
        feeds.append([[random_codes(x, rng), random_codes(y, rng)] for _ in range(3)])
        program = lower(read_tflite(models[-1], "model"))
        (layer,) = program.layers
        assert (layer.kernel.name, layer.plan.constants) == (f"{name.lower()}_s8", ())
    compare_models(models, feeds, ["ADD, SUB, MUL, tuned"] * len(models))


def test_products_whose_scale_is_a_half_in_single_precision_only() -> None:
    """LiteRT forms it so: odd products are ties then, which the exact scale puts on one side."""
    specs, feeds = [], []
    for scales in ((0.1, 0.3), (0.7, 0.013), (0.0123, 0.9), (0.4, 0.33)):
        a, b = (np.float32(scale) for scale in scales)
        y = float(np.float32(a * b) * 2)
        assert np.float32(a * b) / np.float32(y) == 0.5 != float(a) * float(b) / y
        row, column = TensorSpec((1, 200), "int8", float(a), 0), TensorSpec((200, 1), "int8", float(b), 0)
        output = TensorSpec((200, 200), "int8", y, 0)
        specs.append(ModelSpec(BuiltinOperator.MUL, [row, column], [output], **options("MulOptions"), version=2))
        codes = np.arange(-100, 100, dtype=np.int8)
        feeds.append([[codes.reshape(1, 200), codes.reshape(200, 1)]])
    compare_models([build(spec) for spec in specs], feeds, ["MUL int8"] * len(specs))


@pytest.mark.parametrize("name", ["MAXIMUM", "MINIMUM"])
def test_extrema_of_what_is_no_number(name: str, tmp_path: Path) -> None:
    values = np.array([np.nan, 1.0, -1.0, np.inf, -np.inf, 0.0, -0.0], np.float32)
    shape = (len(values), len(values))
    a, b, y = (TensorSpec(shape, "float32") for _ in range(3))
    spec = ModelSpec(getattr(BuiltinOperator, name), [a, b], [y], **options("MaximumMinimumOptions"), version=1)
    model = build(spec)
    feed = [np.ascontiguousarray(side) for side in np.meshgrid(values, values)]
    [[want]] = reference_outputs(model, [feed])
    graph = read_tflite(model, name="m")
    [[[got]]] = run_on_host([lower(graph)], [[feed]], tmp_path)
    for found in (evaluate(graph, feed)[0], got):
        assert np.array_equal(found.view(np.uint32) << 1, want.view(np.uint32) << 1), name
