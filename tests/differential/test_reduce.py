"""MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN against LiteRT's reference kernels."""

from __future__ import annotations

from functools import partial

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

from tests.support.cases import Draw, differential, log_uniform, scale_of
from tests.support.tflite_builder import ModelSpec, TensorSpec, options


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
