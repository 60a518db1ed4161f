"""Operators that copy, choose and rearrange, and those that convert types, against LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.cases import ACTIVATIONS, Draw, any_type, differential, models, scale_of
from tests.support.differential import random_codes
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.passes.pipeline import simplify

ALL = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
NUMBERS = ALL[:-1]


def integers(*values: int, dtype: str = "int32") -> TensorSpec:
    return TensorSpec((len(values),), dtype, data=np.array(values, dtype))


def encoded(draw: Draw, dtype: str) -> Callable[..., TensorSpec]:
    """Tensors of one encoding."""
    scale, zero = scale_of(draw.rng, dtype), draw.zero_point(dtype)
    return partial(TensorSpec, dtype=dtype, scale=scale, zero_point=zero)


def perhaps_constant(draw: Draw, spec: TensorSpec, codes: np.ndarray | None = None) -> TensorSpec:
    if draw.yes():
        return spec
    data = random_codes(spec, draw.rng) if codes is None else codes
    return TensorSpec(spec.shape, spec.dtype, spec.scale, spec.zero_point, data=data)


def gather(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(5, 1, 4)
    batch = draw.integer(0, len(shape) - 1) if draw.yes(0.4) else 0
    axis = draw.integer(batch, len(shape) - 1)
    own = (*shape[:batch], *draw.sizes(4, 1, 2))
    kind = draw.choice(["int32", "int64", "int16"])
    places = draw.rng.integers(0, shape[axis], own).astype(kind)
    out = (*shape[:axis], *own[batch:], *shape[axis + 1 :])
    given = axis if draw.yes() else axis - len(shape)
    return ModelSpec(
        BuiltinOperator.GATHER,
        [perhaps_constant(draw, like(shape)), TensorSpec(own, kind, data=places)],
        [like(out)],
        **options("GatherOptions", axis=given, batchDims=batch if draw.yes() else batch - len(own)),
        label=f"GATHER {dtype}",
        version=5,
    )


def gather_nd(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(5, 1, 4)
    count = draw.integer(1, len(shape))
    lead, kind = draw.sizes(4, 1, 2), draw.choice(["int32", "int64", "int16"])
    places = np.stack([draw.rng.integers(0, size, lead) for size in shape[:count]], axis=-1).astype(kind)
    return ModelSpec(
        BuiltinOperator.GATHER_ND,
        [perhaps_constant(draw, like(shape)), TensorSpec(places.shape, kind, data=places)],
        [like((*lead, *shape[count:]))],
        **options("GatherNdOptions"),
        label=f"GATHER_ND {dtype}",
        version=5,
    )


def scatter_nd(draw: Draw, dtype: str) -> ModelSpec:
    shape = draw.sizes(4, 1, 3)
    count, lead = draw.integer(1, len(shape)), draw.sizes(5, 1, 2)
    places = np.stack([draw.rng.integers(0, size, lead) for size in shape[:count]], axis=-1).astype(np.int32)
    return ModelSpec(
        BuiltinOperator.SCATTER_ND,
        [
            TensorSpec(places.shape, "int32", data=places),
            TensorSpec((*lead, *shape[count:]), dtype),
            integers(*shape),
        ],
        [TensorSpec(shape, dtype)],
        **options("ScatterNdOptions"),
        label=f"SCATTER_ND {dtype}",
    )


def update_slice(draw: Draw, dtype: str) -> ModelSpec:
    """Places outside are moved inside."""
    like, shape = encoded(draw, dtype), draw.sizes(6, 1, 4)
    block = tuple(draw.integer(1, size) for size in shape)
    start = TensorSpec((len(shape),), draw.choice(["int32", "int64"]))
    start = perhaps_constant(draw, start, draw.rng.integers(-3, 8, len(shape)).astype(start.dtype))
    return ModelSpec(
        BuiltinOperator.DYNAMIC_UPDATE_SLICE,
        [perhaps_constant(draw, like(shape)), like(block), start],
        [like(shape)],
        **options("DynamicUpdateSliceOptions"),
        label=f"DYNAMIC_UPDATE_SLICE {dtype}",
        version=2,
    )


def one_hot(draw: Draw, dtype: str) -> ModelSpec:
    """Indices of which few are inside."""
    shape, depth = draw.sizes(5, 1, 3), draw.integer(1, 6)
    axis = draw.integer(-1, len(shape))
    place = len(shape) if axis == -1 else axis
    kind = draw.choice(["int32", "int64"])
    data = draw.rng.integers(-1, depth + 1, shape).astype(kind)
    given = [TensorSpec((), dtype), TensorSpec((), dtype)]
    given = [perhaps_constant(draw, one) for one in given]
    indices = TensorSpec(shape, kind, data=data) if given[0].data is None or given[1].data is None else None
    return ModelSpec(
        BuiltinOperator.ONE_HOT,
        [indices or TensorSpec(shape, kind), TensorSpec((), "int32", data=np.array(depth, np.int32)), *given],
        [TensorSpec((*shape[:place], depth, *shape[place:]), dtype)],
        **options("OneHotOptions", axis=axis),
        label=f"ONE_HOT {dtype}",
    )


def cast(draw: Draw, dtype: str) -> ModelSpec:
    """To any type."""
    shape, out = draw.sizes(7, 1, 4), draw.choice(ALL)
    return ModelSpec(
        BuiltinOperator.CAST,
        [encoded(draw, dtype)(shape)],
        [encoded(draw, out)(shape)],
        **options("CastOptions"),
        label=f"CAST {dtype}",
    )


def tile(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(4, 1, 4)
    counts = [draw.integer(1, 3) for _ in shape]
    return ModelSpec(
        BuiltinOperator.TILE,
        [like(shape), integers(*counts, dtype=draw.choice(["int32", "int64"]))],
        [like([a * b for a, b in zip(shape, counts, strict=True)])],
        **options("TileOptions"),
        label=f"TILE {dtype}",
    )


def broadcast_to(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(5, 1, 4)
    own = [size if draw.yes() else 1 for size in shape][draw.integer(0, len(shape) - 1) :]
    return ModelSpec(
        BuiltinOperator.BROADCAST_TO,
        [like(own), integers(*shape, dtype=draw.choice(["int32", "int64"]))],
        [like(shape)],
        **options("BroadcastToOptions"),
        label=f"BROADCAST_TO {dtype}",
        version=2,
    )


def fill(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(5, 1, 4)
    return ModelSpec(
        BuiltinOperator.FILL,
        [integers(*shape, dtype=draw.choice(["int32", "int64"])), like(())],
        [like(shape)],
        **options("FillOptions"),
        label=f"FILL {dtype}",
    )


def select(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(6, 1, 4)
    own = draw.choice([shape, shape[:1], ()])
    return ModelSpec(
        BuiltinOperator.SELECT,
        [TensorSpec(own, "bool"), like(shape), perhaps_constant(draw, like(shape))],
        [like(shape)],
        **options("SelectOptions"),
        label=f"SELECT {dtype}",
    )


def broadcast(draw: Draw, shape: Sequence[int]) -> list[int]:
    """A shape that broadcasts to another."""
    return [size if draw.yes(0.7) else 1 for size in shape][draw.integer(0, len(shape) - 1) if draw.yes(0.3) else 0 :]


def select_v2(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(6, 1, 4)
    own = [broadcast(draw, shape) for _ in range(3)]
    out = np.broadcast_shapes(*own)
    return ModelSpec(
        BuiltinOperator.SELECT_V2,
        [TensorSpec(own[0], "bool"), like(own[1]), perhaps_constant(draw, like(own[2]))],
        [like(out)],
        **options("SelectV2Options"),
        label=f"SELECT_V2 {dtype}",
    )


def logical(draw: Draw, name: str) -> ModelSpec:
    shape = draw.sizes(6, 1, 4)
    own = [broadcast(draw, shape) for _ in range(1 if name == "LOGICAL_NOT" else 2)]
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(one, "bool") for one in own],
        [TensorSpec(np.broadcast_shapes(*own), "bool")],
        label=name,
    )


def reverse(draw: Draw, dtype: str) -> ModelSpec:
    like, shape = encoded(draw, dtype), draw.sizes(5, 1, 4)
    first = draw.integer(0, len(shape) - 1)
    axes = list(range(first, draw.integer(first, len(shape) - 1) + 1))
    draw.rng.shuffle(axes)
    return ModelSpec(
        BuiltinOperator.REVERSE_V2,
        [like(shape), integers(*(axis - len(shape) if draw.yes() else axis for axis in axes))],
        [like(shape)],
        **options("ReverseV2Options"),
        label=f"REVERSE_V2 {dtype}",
    )


def rearrange(draw: Draw, name: str, dtype: str) -> ModelSpec:
    like, block = encoded(draw, dtype), draw.integer(1, 3)
    batch, rows, columns, channels = (draw.integer(1, most) for most in (2, 4, 4, 3))
    deep = (batch, rows, columns, channels * block**2)
    wide = (batch, rows * block, columns * block, channels)
    table = "DepthToSpaceOptions" if name == "DEPTH_TO_SPACE" else "SpaceToDepthOptions"
    before, after = (deep, wide) if name == "DEPTH_TO_SPACE" else (wide, deep)
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [like(before)],
        [like(after)],
        **options(table, blockSize=block),
        label=f"{name} {dtype}",
    )


def blocks(draw: Draw, name: str, dtype: str) -> ModelSpec:
    like, spatial = encoded(draw, dtype), draw.integer(1, 2)
    steps = [draw.integer(1, 3) for _ in range(spatial)]
    parts = [draw.integer(1, 4) for _ in range(spatial)]
    margins = [(draw.integer(0, 2), draw.integer(0, 2)) for _ in range(spatial)]
    whole = [step * part for step, part in zip(steps, parts, strict=True)]
    inner = [size - sum(pair) for size, pair in zip(whole, margins, strict=True)]
    if min(inner) < 1:
        margins, inner = [(0, 0)] * spatial, whole
    batch, channels = draw.integer(1, 2), draw.integer(1, 3)
    small = (batch * int(np.prod(steps)), *parts, channels)
    large = (batch, *inner, channels)
    amounts = TensorSpec((spatial, 2), "int32", data=np.array(margins, np.int32))
    before, after = (large, small) if name == "SPACE_TO_BATCH_ND" else (small, large)
    table = "SpaceToBatchNDOptions" if name == "SPACE_TO_BATCH_ND" else "BatchToSpaceNDOptions"
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [like(before), integers(*steps), amounts],
        [like(after)],
        **options(table),
        label=f"{name} {dtype}",
        version=2,
    )


def cumulative(draw: Draw, dtype: str) -> ModelSpec:
    shape = draw.sizes(6, 1, 4)
    axis = draw.integer(-len(shape), len(shape) - 1)
    return ModelSpec(
        BuiltinOperator.CUMSUM,
        [TensorSpec(shape, dtype), TensorSpec((), "int32", data=np.array(axis, np.int32))],
        [TensorSpec(shape, dtype)],
        **options("CumsumOptions", exclusive=draw.yes(), reverse=draw.yes()),
        label=f"CUMSUM {dtype}",
    )


def top_k(draw: Draw, dtype: str) -> ModelSpec:
    """Few different values, so that there are ties."""
    like, shape = encoded(draw, dtype), draw.sizes(7, 1, 3)
    count, kind = draw.integer(1, shape[-1]), draw.choice(["int32", "int16"])
    out = (*shape[:-1], count)
    return ModelSpec(
        BuiltinOperator.TOPK_V2,
        [like(shape), TensorSpec((), kind, data=np.array(count, kind))],
        [like(out), TensorSpec(out, draw.choice(["int32", "int16"]))],
        **options("TopKV2Options"),
        label=f"TOPK_V2 {dtype}",
        version=3,
    )


def arithmetic(draw: Draw, name: str, dtype: str) -> ModelSpec:
    """Integers without a scale."""
    shape = draw.sizes(6, 1, 4)
    own = [broadcast(draw, shape) for _ in range(2)]
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(one, dtype) for one in own],
        [TensorSpec(np.broadcast_shapes(*own), dtype)],
        **options(f"{name.title()}Options", fusedActivationFunction=draw.choice(ACTIVATIONS)),
        label=f"{name} {dtype}",
    )


def single(draw: Draw, name: str, dtype: str) -> ModelSpec:
    shape = draw.sizes(6, 1, 4)
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype)],
        [TensorSpec(shape, dtype)],
        **options(f"{name.title()}Options"),
        label=f"{name} {dtype}",
    )


CASES = {
    "GATHER": any_type(gather, 120, ALL),
    "GATHER_ND": any_type(gather_nd, 120, ALL),
    "SCATTER_ND": any_type(scatter_nd, 100, ("float32", "int8", "uint8", "int32", "int64", "bool")),
    "DYNAMIC_UPDATE_SLICE": any_type(update_slice, 100, ALL),
    "ONE_HOT": any_type(one_hot, 80, ("float32", "int8", "uint8", "int32", "int64", "bool")),
    "CAST": any_type(cast, 200, ALL),
    "TILE": any_type(tile, 80, ALL),
    "BROADCAST_TO": any_type(broadcast_to, 80, ALL),
    "FILL": any_type(fill, 60, ALL),
    "SELECT": any_type(select, 80, ALL),
    "SELECT_V2": any_type(select_v2, 120, ALL),
    **{name: (partial(logical, name=name), 40) for name in ("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT")},
    "REVERSE_V2": any_type(reverse, 80, ALL),
    "DEPTH_TO_SPACE": any_type(rearrange, 60, ("float32", "int8", "uint8", "int32", "int64"), name="DEPTH_TO_SPACE"),
    "SPACE_TO_DEPTH": any_type(rearrange, 60, ("float32", "int8", "uint8", "int32", "int64"), name="SPACE_TO_DEPTH"),
    "SPACE_TO_BATCH_ND": any_type(blocks, 90, ALL, name="SPACE_TO_BATCH_ND"),
    "BATCH_TO_SPACE_ND": any_type(blocks, 90, ALL, name="BATCH_TO_SPACE_ND"),
    "CUMSUM": any_type(cumulative, 90, ("float32", "int32", "int64")),
    "TOPK_V2": any_type(top_k, 90, NUMBERS),
    **{name: any_type(arithmetic, 60, ("int32", "int64"), name=name) for name in ("ADD", "SUB", "MUL")},
    "NEG": any_type(single, 30, ("int32", "int64"), name="NEG"),
    "ABS": any_type(single, 20, ("int32",), name="ABS"),
}
test_models, test_many, test_on_the_core = differential(CASES)


@pytest.mark.parametrize("name", CASES)
def test_saved(name: str) -> None:
    """Into a .tg file and back, as read and as built."""
    [spec] = models(f"saved {name}", CASES[name][0], 1)
    graph = read_tflite(build(spec))
    for one in (graph, simplify(graph)):
        assert repr(read_tg(write_tg(one)).ops) == repr(one.ops)
