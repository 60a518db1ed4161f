"""Values at the ends of their types, and indices that are computed at run time, outside of their tables too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.differential import Board, compare_code, compare_models
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

_OP = BuiltinOperator
_FLOATS = np.array(
    [
        *(
            np.nan,
            np.inf,
            -np.inf,
            3e38,
            -3e38,
            2.0**63,
            -(2.0**63),
            2.0**31,
            2.0**31 - 128,
            -(2.0**31),
            -(2.0**31) - 256,
        ),
        *(32768, -32769, 256, 255.9, 128, 127.9, -128.9, -129, 0.5, -0.9, -1, 1e-40, -0.0, 70000.3),
    ],
    np.float32,
)
_INTEGERS = np.array([0, 1, -1, 127, 128, -129, 255, 300, 32767, -32769, 2**24 + 1, 2**31 - 1, -(2**31)], np.int64)
_LONG = np.array([*_INTEGERS, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)], np.int64)


def cast(values: np.ndarray, out: str) -> bytes:
    x, y = TensorSpec(values.shape, values.dtype.name), TensorSpec(values.shape, out)
    return build(ModelSpec(_OP.CAST, [x], [y], **options("CastOptions")))


def exact(models: Sequence[bytes], feeds: Sequence[list[np.ndarray]], folder: Path) -> None:
    """LiteRT = semantics = C, bit for bit, floats too."""
    graphs = [read_tflite(model, name=f"m{i}") for i, model in enumerate(models)]
    found = run_on_host([lower(graph) for graph in graphs], [[feed] for feed in feeds], folder)
    for model, graph, feed, [got] in zip(models, graphs, feeds, found, strict=True):
        [want] = reference_outputs(model, [feed])
        for ours in (evaluate(graph, feed), got):
            for a, b in zip(want, ours, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b, str(graph.ops))
                if a.dtype.kind == "f":
                    np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(a)]))


@pytest.mark.parametrize("values", [_FLOATS, _INTEGERS.astype(np.int32), _LONG], ids=lambda values: values.dtype.name)
def test_casts(values: np.ndarray, tmp_path: Path) -> None:
    outs = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
    exact([cast(values, out) for out in outs], [[values]] * len(outs), tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_sums_that_wrap(dtype: str, tmp_path: Path) -> None:
    info = np.iinfo(dtype)
    a = np.array([info.max, info.min, info.max, info.min, 7, -7], dtype)
    b = np.array([1, -1, info.max, info.min, info.min, 3], dtype)
    models = [
        build(
            ModelSpec(
                getattr(_OP, name),
                [TensorSpec(a.shape, dtype), TensorSpec(a.shape, dtype)],
                [TensorSpec(a.shape, dtype)],
                **options(f"{name.title()}Options", fusedActivationFunction=activation),
            )
        )
        for name in ("ADD", "SUB", "MUL")
        for activation in range(4)
    ]
    exact(models, [[a, b]] * len(models), tmp_path)


def _compare(graph: Graph, feed: list[np.ndarray], want: np.ndarray) -> None:
    """What LiteRT ends with an error: semantics = C = what is documented."""
    [got] = evaluate(graph, feed)
    np.testing.assert_array_equal(got, want)
    compare_code([graph], [[feed]], [[[want]]], ["beyond"], on_board=Board.ALL)


def test_largest_of_what_is_no_number(tmp_path: Path) -> None:
    x = np.array([[1, np.nan, 3, 3, -np.inf, np.nan, np.inf, 0.0, -0.0]], np.float32)
    models = [
        build(
            ModelSpec(
                _OP.TOPK_V2,
                [TensorSpec(x.shape, "float32"), TensorSpec((), "int32", data=np.array(k, np.int32))],
                [TensorSpec((1, k), "float32"), TensorSpec((1, k), "int32")],
                **options("TopKV2Options"),
            )
        )
        for k in (3, 7, 9)
    ]
    exact(models, [[x]] * len(models), tmp_path)


def gather(dtype: str, shape: tuple[int, ...], axis: int, batch: int, indices: np.ndarray, **more: bool) -> bytes:
    """A constant table with indices that are an input."""
    table = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    own, nd = TensorSpec(indices.shape, indices.dtype.name), bool(more)
    if nd:
        out = (*indices.shape[:-1], *shape[indices.shape[-1] :])
        chosen = options("GatherNdOptions")
    else:
        out = (*shape[:axis], *indices.shape[batch:], *shape[axis + 1 :])
        chosen = options("GatherOptions", axis=axis, batchDims=batch)
    operands = [TensorSpec(shape, dtype, data=table), own]
    return build(
        ModelSpec(_OP.GATHER_ND if nd else _OP.GATHER, operands, [TensorSpec(out, dtype)], **chosen, version=5)
    )


def test_indices_at_run_time() -> None:
    models, feeds = [], []
    rng = np.random.default_rng(3)
    for kind in ("int32", "int64", "int16"):
        for shape, axis, batch, own in (
            ((50, 3), 0, 0, (2, 4)),
            ((2, 6, 4), 1, 1, (2, 3)),
            ((2, 6, 4), 2, 1, (2, 3)),
            ((3, 5), 1, 0, (4,)),
            ((7,), 0, 0, ()),
        ):
            indices = rng.integers(0, shape[axis], own).astype(kind)
            models.append(gather("float32", shape, axis, batch, indices))
            feeds.append([[indices]])
        pairs = np.stack([rng.integers(0, 4, 5), rng.integers(0, 6, 5)], axis=-1).astype(kind)
        models.append(gather("int8", (4, 6, 2), 0, 0, pairs, nd=True))
        feeds.append([[pairs]])
    compare_models(models, feeds, ["GATHER at run time"] * len(models), board=Board.ALL)


@pytest.mark.parametrize("kind", ["int16", "int32", "int64"])
def test_indices_outside_take_the_nearest(kind: str) -> None:
    """Nothing outside of the table is read: the sanitizers and the core's memory map would tell."""
    info = np.iinfo(kind)
    indices = np.array([info.min, -1, 0, 2, 3, info.max], kind)
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    _compare(read_tflite(gather("float32", (3, 2), 0, 0, indices), "m"), [indices], table[[0, 0, 0, 2, 2, 2]])
    pairs = np.stack([indices, indices[::-1]], axis=-1)
    graph = read_tflite(gather("float32", (3, 2), 0, 0, pairs, nd=True), "n")
    _compare(graph, [pairs], table[[0, 0, 0, 2, 2, 2], [1, 1, 1, 0, 0, 0]])


def test_updates_outside_are_left_out() -> None:
    places = np.array([[-1, 0], [0, 1], [1, 2], [2, 0], [0, 1], [-(2**31), 2**31 - 1]], np.int32)
    updates = np.array([1, 2, 4, 8, 16, 32], np.int32)
    graph = read_tflite(
        build(
            ModelSpec(
                _OP.SCATTER_ND,
                [
                    TensorSpec(places.shape, "int32"),
                    TensorSpec(updates.shape, "int32"),
                    TensorSpec((2,), "int32", data=np.array([2, 3], np.int32)),
                ],
                [TensorSpec((2, 3), "int32")],
                **options("ScatterNdOptions"),
            )
        ),
        "m",
    )
    _compare(graph, [places, updates], np.array([[0, 18, 0], [0, 0, 4]], np.int32))
