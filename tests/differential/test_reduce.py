"""MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

from tests.support.cases import Draw, differential, log_uniform, scale_of
from tests.support.tflite_builder import ModelSpec, TensorSpec, options
from tests.support.variants import check_variants
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.tensor import Tensor
from tinygen.lowering.select import choose


def reduce_case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape = draw.sizes(9, 2, 4)
    axes = draw.choice(
        [
            a
            for a in ((1, 2), (0,), (1,), (-1,), (1, 0), (2, 3), (1, 2, 3))
            if all(-len(shape) <= i < len(shape) for i in a)
        ]
    )
    keep = draw.yes()
    gone = {a % len(shape) for a in axes}
    out = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
    scale, zero = scale_of(rng, dtype), draw.zero_point(dtype)
    y_scale, y_zero = scale, zero
    if name == "MEAN" and scale is not None:
        y_scale, y_zero = float(np.float32(scale * log_uniform(rng, 0.2, 3))), draw.zero_point(dtype)
    indices = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype, scale, zero), indices],
        [TensorSpec(out, dtype, y_scale, y_zero)],
        **options("ReducerOptions", keepDims=keep),
        label=f"{name} {dtype}",
        version=2 if dtype == "int8" else 1,
    )


def arg_case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape = draw.sizes(9, 2, 4)
    axis = draw.integer(-len(shape), len(shape) - 1)
    out = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    kind = draw.choice(["int32", "int64"])
    table = {"ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions"}[name]
    chosen = options(table, outputType=getattr(TensorType, kind.upper()))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [
            TensorSpec(shape, dtype, scale_of(rng, dtype), draw.zero_point(dtype)),
            TensorSpec((1,), "int32", data=np.array([axis], np.int32)),
        ],
        [TensorSpec(out, kind)],
        **chosen,
        label=f"{name} {dtype}",
        version=2 if dtype == "int8" else 1,
    )


CASES = {
    **{
        f"{name} {dtype}": (partial(reduce_case, name=name, dtype=dtype), count)
        for name in ("MEAN", "REDUCE_MAX", "REDUCE_MIN")
        for dtype, count in (("int8", 56), ("float32", 32))
    },
    **{
        f"{name} {dtype}": (partial(arg_case, name=name, dtype=dtype), count)
        for name in ("ARG_MAX", "ARG_MIN")
        for dtype, count in (("int8", 40), ("float32", 32))
    },
}
test_models, test_many, test_on_the_core = differential(CASES)


def long_means() -> tuple[list[Graph], list[list[list[np.ndarray]]]]:
    """Sums of one output, and of several, that leave 16 bits."""
    rng = np.random.default_rng(1)
    graphs, feeds = [], []
    for i, (shape, axes) in enumerate(
        [((2, 1100), (1,)), ((3, 1031), (1,)), ((1, 20, 30, 5), (1, 2)), ((2, 263, 4), (1,)), ((1, 5, 12), (1,))]
    ):
        x = Tensor("x", shape, Affine("int8", (0.05,), (-7,)))
        out = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        y = Tensor("y", out, Affine("int8", (0.061 if i % 2 else 0.0123,), (4,)))
        op = Mean(name="mean", inputs=("x",), outputs=("y",), axes=axes, keep_dims=False)
        graphs.append(Graph(f"mean{i}", {"x": x, "y": y}, (op,), ("x",), ("y",)))
        ends = [np.full(shape, code, np.int8) for code in (-128, 127)]
        feeds.append([[x] for x in (*ends, rng.integers(-128, 128, shape).astype(np.int8))])
    return graphs, feeds


def test_long_means() -> None:
    graphs, feeds = long_means()
    assert check_variants(graphs, feeds, isa=("c99",), cores=[]) == len(graphs)
    some = graphs[::3], feeds[::3]  # a Cortex-M0+ takes whole words
    assert check_variants(*some, isa=("armv6m",), cores=[]) == 2


@pytest.mark.parametrize(
    ("axes", "tuned"),
    [((1, 2), True), ((1,), True), ((3,), True), ((2, 3), True), ((1, 3), False), ((0, 1), True)],
)
def test_which_means_are_tuned(axes: tuple[int, ...], tuned: bool) -> None:
    """Those whose axes lie side by side, axes of one element aside."""
    x, y = (Tensor(name, (1, 6, 5, 8), Affine("int8", (0.05,), (3,))) for name in "xy")
    op = Mean(name="mean", inputs=("x",), outputs=("y",), axes=axes, keep_dims=False)
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    kernel = choose(Node(op, (x,), (replace(y, shape=shape),)), "tinygen", ("c99", "dsp")).kernel
    assert (kernel.family == "tinygen") == tuned
