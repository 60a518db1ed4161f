"""MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN against LiteRT's reference kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

from tests.support.cases import Draw, differential, log_uniform, models, scale_of
from tests.support.differential import Board, compare_code, random_codes
from tests.support.litert import outputs_of, reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.variants import check_variants
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.reduce import Mean, Sum
from tinygen.ir.tensor import Tensor
from tinygen.lowering.select import choose


def reduce_case(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    # Products of many floats are beyond the type.
    shape = draw.sizes(3, 2, 3) if name == "REDUCE_PROD" and dtype == "float32" else draw.sizes(9, 2, 4)
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
    if name in ("MEAN", "SUM", "REDUCE_PROD") and scale is not None:
        y_scale, y_zero = float(np.float32(scale * log_uniform(rng, 0.2, 3))), draw.zero_point(dtype)
    indices = TensorSpec((len(axes),), "int32", data=np.array(axes, np.int32))
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype, scale, zero), indices],
        [TensorSpec(out, dtype, y_scale, y_zero)],
        **options("ReducerOptions", keepDims=keep),
        label=f"{name} {dtype}",
        version=2 if dtype in ("int8", "int16") and name not in ("REDUCE_ANY", "REDUCE_ALL") else 1,
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
        for name in ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD")
        for dtype, count in (("int8", 56), ("float32", 32), ("int16", 32), ("int32", 16))
    },
    **{f"SUM {dtype}": (partial(reduce_case, name="SUM", dtype=dtype), 16) for dtype in ("float32", "int32", "int64")},
    **{f"{name} bool": (partial(reduce_case, name=name, dtype="bool"), 16) for name in ("REDUCE_ANY", "REDUCE_ALL")},
    **{
        f"{name} {dtype}": (partial(arg_case, name=name, dtype=dtype), count)
        for name in ("ARG_MAX", "ARG_MIN")
        for dtype, count in (("int8", 40), ("float32", 32))
    },
}
test_models, test_many, test_on_the_core = differential(CASES)


def _in(kind: str, spec: ModelSpec) -> ModelSpec:
    """The model with codes of another type: zero points of uint8 are 128 higher."""
    apart = 128 if kind == "uint8" else 0
    x, y = (
        TensorSpec(t.shape, kind, t.scale, np.asarray(t.zero_point).item() + apart)
        for t in (spec.inputs[0], spec.outputs[0])
        if t is not None
    )
    return replace(spec, inputs=[x, spec.inputs[1]], outputs=[y])


def _compare_c(specs: list[ModelSpec], feeds: list[list[np.ndarray]], label: str) -> None:
    """Compares the C with the semantics, on the host and in the core."""
    graphs = [read_tflite(build(spec), name=f"m{i}") for i, spec in enumerate(specs)]
    expected = [[evaluate(graph, feed)] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, [[feed] for feed in feeds], expected, [label] * len(specs), on_board=Board.SHARE)


def test_sums_of_codes() -> None:
    """LiteRT's reference kernel of SUM takes int8 for uint8: it is right for that, and codes are 128 higher there."""
    rng = np.random.default_rng(3)
    specs = models("SUM int8", partial(reduce_case, name="SUM", dtype="int8"), 40)
    feeds = [[random_codes(t, rng) for t in spec.runtime_inputs] for spec in specs]
    for spec, feed in zip(specs, feeds, strict=True):
        [[want]] = reference_outputs(build(_in("uint8", spec)), [[(feed[0].astype(np.int16) + 128).astype(np.uint8)]])
        got = evaluate(read_tflite(build(spec)), feed)[0]
        assert np.array_equal(got, (want.astype(np.int16) - 128).astype(np.int8))
    _compare_c(specs, feeds, "SUM int8")


def test_sums_of_16_bits() -> None:
    """As LiteRT's other kernel, which rounds in float: where that is not near a tie, to the same code."""
    rng = np.random.default_rng(4)
    specs = models("SUM int16", partial(reduce_case, name="SUM", dtype="int16"), 40)
    feeds = [[random_codes(t, rng) for t in spec.runtime_inputs] for spec in specs]
    for spec, feed in zip(specs, feeds, strict=True):
        [[want]] = outputs_of(build(spec), [feed], OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        graph = read_tflite(build(spec))
        [op], [x, *_], y = graph.ops, graph.tensors.values(), graph.tensors[graph.outputs[0]]
        assert isinstance(op, Sum)
        exact = feed[0].sum(axis=op.axes, dtype=np.int64).reshape(y.shape) * x.scale / y.scale
        # Fixed point rounds twice, the first time to half a code at least.
        far = np.abs(exact - np.floor(exact) - 0.5) > 0.26
        got = evaluate(graph, feed)[0].astype(np.int64)
        assert np.array_equal(got[far], want[far]) and np.max(np.abs(got - want)) <= 1
    _compare_c(specs, feeds, "SUM int16")


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
