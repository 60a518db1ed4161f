"""float16 constants become float32, and sparse ones dense, when a file is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.differential import Board, compare_models
from tests.support.model_files import packed, unpacked
from tests.support.tflite_builder import Levels, ModelSpec, TensorSpec, build, build_chain, options
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite import read_tflite

OP = BuiltinOperator
LEVELS = {
    "rows of lists": Levels((0, 1), compressed=(1,)),
    "lists of bytes": Levels((0, 1), compressed=(1,), vector="Uint8Vector"),
    "lists of lists": Levels((0, 1), compressed=(0, 1), vector="Uint16Vector"),
    "columns of lists": Levels((1, 0), compressed=(1,)),
    "blocks": Levels((0, 1, 2, 3), blocks=((0, 2), (1, 4)), compressed=(1,)),
    "blocks in turn": Levels((1, 0, 3, 2), blocks=((0, 2), (1, 4)), compressed=(1,)),
    "blocks of columns": Levels((0, 1, 2), blocks=((1, 4),), compressed=(1,)),
    "all dense": Levels((0, 1)),
}


def sparse(dtype: str = "float32", shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.where(rng.random(shape) < 0.2, rng.integers(-9, 10, shape), 0).astype(dtype)


def added(constant: TensorSpec, *between: ModelSpec, scale: float | None = None) -> bytes:
    """A constant, and what makes another of it, added to an input."""
    last = between[-1].outputs[0] if between else constant
    x, y = (TensorSpec(last.shape, last.dtype, scale, name=name) for name in "xy")
    return build_chain([*between, ModelSpec(OP.ADD, [x, last], [y], **options("AddOptions"))])


def densified(data: np.ndarray, levels: Levels, dtype: str, scale: float | None = None) -> bytes:
    constant = TensorSpec(data.shape, dtype, scale, data=data, levels=levels)
    whole = TensorSpec(data.shape, dtype, scale)
    steps = [ModelSpec(OP.DENSIFY, [constant], [whole])]
    if dtype == "float16":
        steps.append(ModelSpec(OP.DEQUANTIZE, [whole], [TensorSpec(data.shape, "float32")]))
    return added(constant, *steps, scale=scale)


def check(models: list[bytes], shape: tuple[int, ...], dtype: str) -> None:
    """Against LiteRT; what depends on constants alone leaves no operator behind."""
    rng = np.random.default_rng(1)
    feeds = [[[(rng.normal(size=shape) * 9).astype(dtype)]] for _ in models]
    compare_models(models, feeds, ["constants"] * len(models), board=Board.NONE)
    for model in models:
        assert [op.KIND for op in read_tflite(model).ops] == ["add"]


def test_halves_are_widened() -> None:
    data = np.array([[1.5, -0.1, 65504, 6e-8], [0, -0.0, 3.14, 1e-5]], np.float16)
    constant, whole = TensorSpec((2, 4), "float16", data=data), TensorSpec((2, 4), "float32")
    model = added(constant, ModelSpec(OP.DEQUANTIZE, [constant], [whole]))
    check([model], (2, 4), "float32")
    graph = read_tflite(model)
    weights = graph.tensors[graph.ops[0].inputs[1]]
    assert weights.data is not None and weights.data.tolist() == data.astype(np.float32).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_sparse_constants_become_dense(dtype: str) -> None:
    scale = 0.5 if dtype == "int8" else None
    check(
        [densified(sparse(dtype), levels, dtype, scale) for levels in LEVELS.values()],
        (6, 8),
        "int8" if dtype == "int8" else "float32",
    )


def test_four_dimensions() -> None:
    data = sparse(shape=(12, 8)).reshape(3, 2, 2, 8)
    model = densified(data, Levels((0, 1, 2, 3), compressed=(3,), vector="Uint8Vector"), "float32")
    check([model], data.shape, "float32")


def damaged(change: Callable[[Any], None], levels: Levels = LEVELS["rows of lists"]) -> bytes:
    model = unpacked(densified(sparse(), levels, "float32"))
    change(model.subgraphs[0].tensors[0].sparsity)
    return packed(model)


def entry(at: int, value: int) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        table.dimMetadata[1].arrayIndices.values[at] = value

    return change


def segments(values: list[int]) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        table.dimMetadata[1].arraySegments.values = values

    return change


def order(values: list[int]) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        table.traversalOrder = values

    return change


def size(value: int) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        table.dimMetadata[0].denseSize = value

    return change


@pytest.mark.parametrize(
    "change, reason",
    [
        (entry(0, 8), "does not fit its 8 places"),
        (entry(0, -1), "does not fit its 8 places"),
        (segments([0, 99]), "does not fit its 8 places"),
        (segments([]), "does not fit its 8 places"),
        (size(7), "does not fit its 6 places"),
        (order([0, 0]), "levels [0, 0]"),
        (order([0]), "levels [0]"),
    ],
)
def test_damaged_levels(change: Callable[[Any], None], reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(damaged(change))
    assert reason in caught.value.what


def test_elements_that_the_levels_lack() -> None:
    model = unpacked(densified(sparse(), LEVELS["rows of lists"], "float32"))
    buffer = next(buffer for buffer in model.buffers if buffer.data is not None)
    buffer.data = buffer.data[:-4]
    with pytest.raises(ModelError, match="elements of data, its levels have"):
        read_tflite(packed(model))


def test_blocks_that_do_not_fit() -> None:
    def change(table: Any) -> None:
        table.dimMetadata[2].denseSize = 5

    with pytest.raises(ModelError, match="has blocks of"):
        read_tflite(damaged(change, LEVELS["blocks"]))


def test_more_elements_than_any_board_holds() -> None:
    model = unpacked(densified(sparse(), LEVELS["rows of lists"], "float32"))
    model.subgraphs[0].tensors[0].shape = [1 << 20, 8]
    with pytest.raises(UnsupportedError, match="8388608 elements") as caught:
        read_tflite(packed(model))
    assert "smaller layers" in caught.value.fix


def test_a_dense_constant_is_not_densified() -> None:
    constant, whole = TensorSpec((6, 8), "float32", data=sparse()), TensorSpec((6, 8), "float32")
    with pytest.raises(ModelError, match="no sparse constant"):
        read_tflite(added(constant, ModelSpec(OP.DENSIFY, [constant], [whole])))


@pytest.mark.parametrize("name", ["DEQUANTIZE", "MAXIMUM"])
def test_halves_are_not_computed(name: str) -> None:
    x, y = TensorSpec((2, 4), "float16"), TensorSpec((2, 4), "float32" if name == "DEQUANTIZE" else "float16")
    spec = ModelSpec(getattr(OP, name), [x] if name == "DEQUANTIZE" else [x, x], [y])
    with pytest.raises(UnsupportedError, match="computed at run time") as caught:
        read_tflite(build(spec))
    assert "float16 for weights" in caught.value.fix
