"""Data movers, resizing and PRELU against LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, MirrorPadMode

from tests.support.cases import Case, Draw, any_type, differential, log_uniform, scale_of
from tests.support.differential import compare, random_codes
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower

TYPES = ("int8", "float32", "int16", "int32")


def _version(dtype: str) -> int:
    return 2 if dtype == "int8" else 1


def integers(*values: int) -> TensorSpec:
    return TensorSpec((len(values),), "int32", data=np.array(values, np.int32))


def twins(draw: Draw, rng: np.random.Generator, dtype: str) -> tuple[float | None, int]:
    """One encoding for input and output."""
    return scale_of(rng, dtype), draw.zero_point(dtype)


def concatenation(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 4), twins(draw, rng, dtype)
    axis = draw.integer(-len(shape), len(shape) - 1)
    sizes = draw.sizes(5, 1, 4)
    inputs = []
    for size in sizes:
        own = list(shape)
        own[axis] = size
        inputs.append(TensorSpec(own, dtype, *q))
    total = list(shape)
    total[axis] = sum(sizes)
    return ModelSpec(
        BuiltinOperator.CONCATENATION,
        inputs,
        [TensorSpec(total, dtype, *q)],
        **options("ConcatenationOptions", axis=axis),
        label=f"CONCATENATION {dtype}",
        version=_version(dtype),
    )


def pack(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 3), twins(draw, rng, dtype)
    axis, count = draw.integer(0, len(shape)), draw.integer(1, 4)
    inputs = [TensorSpec(shape, dtype, *q) for _ in range(count)]
    out = (*shape[:axis], count, *shape[axis:])
    return ModelSpec(
        BuiltinOperator.PACK,
        inputs,
        [TensorSpec(out, dtype, *q)],
        **options("PackOptions", axis=axis, valuesCount=count),
        label=f"PACK {dtype}",
        version=_version(dtype),
    )


def unpack(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(5, 2, 4), twins(draw, rng, dtype)
    axis = draw.integer(-len(shape), len(shape) - 1)
    rest = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    outputs = [TensorSpec(rest, dtype, *q) for _ in range(shape[axis])]
    return ModelSpec(
        BuiltinOperator.UNPACK,
        [TensorSpec(shape, dtype, *q)],
        outputs,
        **options("UnpackOptions", axis=axis, num=shape[axis]),
        label=f"UNPACK {dtype}",
        version=_version(dtype),
    )


def split(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    q, parts = twins(draw, rng, dtype), draw.integer(1, 4)
    shape = list(draw.sizes(6, 1, 4))
    axis = draw.integer(-len(shape), len(shape) - 1)
    each = shape[axis]
    shape[axis] = each * parts
    part = [each if i == axis % len(shape) else n for i, n in enumerate(shape)]
    return ModelSpec(
        BuiltinOperator.SPLIT,
        [integers(axis), TensorSpec(shape, dtype, *q)],
        [TensorSpec(part, dtype, *q) for _ in range(parts)],
        **options("SplitOptions", numSplits=parts),
        label=f"SPLIT {dtype}",
        version=_version(dtype),
    )


def split_v(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    q, sizes = twins(draw, rng, dtype), draw.sizes(4, 1, 4)
    shape = list(draw.sizes(6, 1, 4))
    axis = draw.integer(-len(shape), len(shape) - 1)
    shape[axis] = sum(sizes)
    given = [-1 if i == 0 and draw.yes() else n for i, n in enumerate(sizes)]
    outputs = [TensorSpec([n if i == axis % len(shape) else m for i, m in enumerate(shape)], dtype, *q) for n in sizes]
    return ModelSpec(
        BuiltinOperator.SPLIT_V,
        [TensorSpec(shape, dtype, *q), integers(*given), integers(axis)],
        outputs,
        **options("SplitVOptions", numSplits=len(sizes)),
        label=f"SPLIT_V {dtype}",
        version=_version(dtype),
    )


def pad(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 4), twins(draw, rng, dtype)
    symmetric = draw.yes()
    limit = [3] * len(shape) if name != "MIRROR_PAD" else [n - (0 if symmetric else 1) for n in shape]
    pairs = [(draw.integer(0, m), draw.integer(0, m)) for m in limit]
    out = tuple(n + a + b for n, (a, b) in zip(shape, pairs, strict=True))
    amounts = TensorSpec((len(shape), 2), "int32", data=np.array(pairs, np.int32))
    inputs = [TensorSpec(shape, dtype, *q), amounts]
    chosen = options("PadOptions")
    if name == "PADV2":
        value = TensorSpec((1,), dtype, *q)
        inputs.append(TensorSpec((1,), dtype, *q, data=random_codes(value, rng)))
        chosen = options("PadV2Options")
    if name == "MIRROR_PAD":
        mode = MirrorPadMode.SYMMETRIC if symmetric else MirrorPadMode.REFLECT
        chosen = options("MirrorPadOptions", mode=mode)
    version = 2 if dtype == "int8" and name != "MIRROR_PAD" else 1
    return ModelSpec(
        getattr(BuiltinOperator, name),
        inputs,
        [TensorSpec(out, dtype, *q)],
        **chosen,
        label=f"{name} {dtype}",
        version=version,
    )


def slice_(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 4), twins(draw, rng, dtype)
    begin = [draw.integer(0, n - 1) for n in shape]
    size = [draw.choice([-1, *range(1, n - b + 1)]) for n, b in zip(shape, begin, strict=True)]
    out = tuple(n - b if s == -1 else s for n, b, s in zip(shape, begin, size, strict=True))
    return ModelSpec(
        BuiltinOperator.SLICE,
        [TensorSpec(shape, dtype, *q), integers(*begin), integers(*size)],
        [TensorSpec(out, dtype, *q)],
        **options("SliceOptions"),
        label=f"SLICE {dtype}",
        version=_version(dtype),
    )


def walk(draw: Draw, size: int) -> slice:
    """A slice that takes something of `size` elements; its ends may be missing, negative or outside."""
    step = draw.choice([1, 1, 2, 3, -1, -2])
    first, last = draw.integer(0, size - 1), draw.integer(0, size - 1)
    first, last = (min(first, last), max(first, last)) if step > 0 else (max(first, last), min(first, last))
    start: int | None = draw.choice([first, first - size])
    stop: int | None = last + 1 if step > 0 else last - 1
    if step > 0 and last == size - 1:
        stop = draw.choice([stop, None, size + 3])
    elif step < 0 and last == 0:
        stop = draw.choice([None, -size - 1, -size - 5])
    if first == (0 if step > 0 else size - 1) and draw.yes():
        start = None if draw.yes() else (-size - 2 if step > 0 else size + 2)
    return slice(start, stop, step)


def strided_slice(draw: Draw, dtype: str) -> ModelSpec:
    """A Python index expression, written down as begin, end, strides and masks."""
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 4), twins(draw, rng, dtype)
    index: list[object] = [
        walk(draw, n) if draw.yes(0.67) else draw.integer(-n, n - 1) for n in shape[: draw.integer(1, len(shape))]
    ]
    if draw.choice([True, False, False]):
        # An ellipsis in place of at least one dimension.
        first = draw.integer(0, len(index) - 1)
        index[first : draw.integer(first + 1, len(index))] = [...]
        tail = index[first + 1 :]
        index[first + 1 :] = [walk(draw, n) for n in shape[len(shape) - len(tail) :]]
    if draw.choice([True, False, False]):
        index.insert(draw.integer(0, len(index)), None)
    entries, masks = [], dict.fromkeys(("begin", "end", "shrinkAxis", "newAxis", "ellipsis"), 0)
    for i, entry in enumerate(index):
        begin, end, step = draw.integer(-3, 3), draw.integer(-3, 3), 1
        if isinstance(entry, slice):
            step = entry.step
            masks["begin"] |= (entry.start is None) << i
            masks["end"] |= (entry.stop is None) << i
            begin, end = (given if given is not None else 0 for given in (entry.start, entry.stop))
        elif isinstance(entry, int):
            # The begin mask goes first: the first element, whatever `begin` says.
            masked = draw.yes(0.25)
            masks["shrinkAxis"] |= 1 << i
            masks["begin"] |= masked << i
            begin = begin if masked else entry
        else:
            masks["newAxis" if entry is None else "ellipsis"] |= 1 << i
        entries.append((begin, end, step))
    begins, ends, steps = zip(*entries, strict=True)
    out = np.empty(shape)[tuple(index)].shape
    return ModelSpec(
        BuiltinOperator.STRIDED_SLICE,
        [TensorSpec(shape, dtype, *q), integers(*begins), integers(*ends), integers(*steps)],
        [TensorSpec(out, dtype, *q)],
        **options("StridedSliceOptions", **{f"{name}Mask": mask for name, mask in masks.items()}),
        label=f"STRIDED_SLICE {dtype}",
        version=4,
    )


def transpose(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape = draw.sizes(5, 1, 6)
    q, order = twins(draw, rng, dtype), draw.rng.permutation(len(shape)).tolist()
    return ModelSpec(
        BuiltinOperator.TRANSPOSE,
        [TensorSpec(shape, dtype, *q), integers(*order)],
        [TensorSpec([shape[i] for i in order], dtype, *q)],
        **options("TransposeOptions"),
        label=f"TRANSPOSE {dtype}",
        version=2 if dtype == "int8" else 1,
    )


def reshape(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape, q = draw.sizes(6, 1, 4), twins(draw, rng, dtype)
    if name == "SQUEEZE":
        source, target = (1, *shape, 1)[:4], tuple(n for n in (1, *shape, 1)[:4] if n != 1)
        chosen, inputs = options("SqueezeOptions"), [TensorSpec(source, dtype, *q)]
    elif name == "EXPAND_DIMS":
        axis = draw.integer(0, len(shape))
        target = (*shape[:axis], 1, *shape[axis:])
        chosen, inputs = options("ExpandDimsOptions"), [TensorSpec(shape, dtype, *q), integers(axis)]
    else:
        target = (int(np.prod(shape)),)
        chosen = options("ReshapeOptions", newShape=list(target))
        inputs = [TensorSpec(shape, dtype, *q), integers(*target)]
    return ModelSpec(
        getattr(BuiltinOperator, name),
        inputs,
        [TensorSpec(target, dtype, *q)],
        **chosen,
        label=f"{name} {dtype}",
    )


def resize(draw: Draw, name: str, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape = (draw.choice([1, 2]), draw.integer(1, 9), draw.integer(1, 9), draw.integer(1, 4))
    size, q = (draw.integer(1, 14), draw.integer(1, 14)), twins(draw, rng, dtype)
    mode = draw.choice(["plain", "align", "half", "both"][: 3 if name == "RESIZE_BILINEAR" else 4])
    table = "ResizeBilinearOptions" if name == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    return ModelSpec(
        getattr(BuiltinOperator, name),
        [TensorSpec(shape, dtype, *q), integers(*size)],
        [TensorSpec((shape[0], *size, shape[3]), dtype, *q)],
        **options(table, alignCorners=mode in ("align", "both"), halfPixelCenters=mode in ("half", "both")),
        label=f"{name} {dtype}",
        version=4 if dtype == "int16" else 3,
    )


def prelu(draw: Draw, dtype: str) -> ModelSpec:
    rng = draw.rng
    shape = (1, draw.integer(1, 5), draw.integer(1, 5), draw.integer(1, 6))
    alpha_shape = draw.choice([(1, 1, shape[3]), shape[1:], (1, 1, 1)])
    slopes = "int8" if dtype == "int16" else dtype
    x, a = scale_of(rng, dtype, 1e-6, 1e3), scale_of(rng, slopes, 1e-3, 0.05)
    alpha = TensorSpec(alpha_shape, slopes, a, draw.zero_point(slopes))
    if draw.yes():
        alpha = TensorSpec(alpha_shape, slopes, a, alpha.zero_point, data=random_codes(alpha, rng))
    y = None if x is None else float(np.float32(x * log_uniform(rng, 0.3, 3)))
    return ModelSpec(
        BuiltinOperator.PRELU,
        [TensorSpec(shape, dtype, x, draw.zero_point(dtype)), alpha],
        [TensorSpec(shape, dtype, y, draw.zero_point(dtype))],
        label=f"PRELU {dtype}",
    )


def cases(name: str, case: Callable[..., ModelSpec], count: int, *types: str) -> dict[str, tuple[Case, int]]:
    """One case for each type, which share `count` models."""
    return {f"{name} {dtype}": (partial(case, dtype=dtype), count // len(types)) for dtype in types}


CASES = {
    **cases("CONCATENATION", concatenation, 66, "int8", "float32", "int16"),
    **cases("PACK", pack, 40, "int8", "float32"),
    **cases("UNPACK", unpack, 40, "int8", "float32"),
    **cases("SPLIT", split, 40, "int8", "float32"),
    **cases("SPLIT_V", split_v, 40, "int8", "float32"),
    **cases("PAD", partial(pad, name="PAD"), 66, "int8", "float32", "int32"),
    **cases("PADV2", partial(pad, name="PADV2"), 48, "int8", "float32"),
    **cases("MIRROR_PAD", partial(pad, name="MIRROR_PAD"), 48, "int8", "float32"),
    **cases("SLICE", slice_, 48, "int8", "float32", "int32"),
    **cases("STRIDED_SLICE", strided_slice, 128, "int8", "float32", "int16", "int32"),
    **cases("TRANSPOSE", transpose, 64, "int8", "float32"),
    **cases("RESHAPE", partial(reshape, name="RESHAPE"), 24, "int8", "float32"),
    **cases("SQUEEZE", partial(reshape, name="SQUEEZE"), 24, "int8", "float32"),
    **cases("EXPAND_DIMS", partial(reshape, name="EXPAND_DIMS"), 24, "int8", "float32"),
    **cases("RESIZE_NEAREST", partial(resize, name="RESIZE_NEAREST_NEIGHBOR"), 96, "int8", "float32", "int16", "int32"),
    **cases("RESIZE_BILINEAR", partial(resize, name="RESIZE_BILINEAR"), 180, "int8", "float32", "int16"),
    **cases("PRELU", prelu, 144, "int8", "float32", "int16"),
    # All other types that LiteRT moves.
    "CONCATENATION others": any_type(concatenation, 40, ("uint8", "int32", "int64", "bool")),
    "PACK others": any_type(pack, 30, ("uint8", "int16", "int32", "int64")),
    "UNPACK others": any_type(unpack, 30, ("uint8", "int16", "int32", "bool")),
    "SPLIT others": any_type(split, 30, ("uint8", "int16", "int32")),
    "SPLIT_V others": any_type(split_v, 30, ("uint8", "int16", "int32", "int64")),
    "SLICE others": any_type(slice_, 40, ("uint8", "int16", "int64", "bool")),
    "STRIDED_SLICE others": any_type(strided_slice, 40, ("uint8", "int64", "bool")),
    "TRANSPOSE others": any_type(transpose, 40, ("uint8", "int16", "int32", "int64", "bool")),
    "RESHAPE others": any_type(reshape, 20, ("uint8", "int16", "int32", "int64", "bool"), name="RESHAPE"),
    "SQUEEZE others": any_type(reshape, 20, ("uint8", "int16", "int32", "int64", "bool"), name="SQUEEZE"),
    "EXPAND_DIMS others": any_type(reshape, 20, ("uint8", "int16", "int32", "int64", "bool"), name="EXPAND_DIMS"),
}
test_models, test_many, test_on_the_core = differential(CASES)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan, np.finfo(np.float32).min])
def test_padding_that_is_no_number(value: float, tmp_path: Path) -> None:
    """-inf around the input of a maximum is usual; the C has no <math.h> to name it."""
    amounts = TensorSpec((2, 2), "int32", data=np.ones((2, 2), np.int32))
    border = TensorSpec((1,), "float32", data=np.array([value], np.float32))
    model = build(
        ModelSpec(
            BuiltinOperator.PADV2,
            [TensorSpec((2, 3), "float32"), amounts, border],
            [TensorSpec((4, 5), "float32")],
            **options("PadV2Options"),
        )
    )
    feeds = [[np.arange(6, dtype=np.float32).reshape(2, 3)]]
    graph = read_tflite(model, name="m")
    [[want]] = reference_outputs(model, feeds)
    np.testing.assert_array_equal(evaluate(graph, feeds[0])[0], want)
    [[[got]]] = run_on_host([lower(graph)], [feeds], tmp_path)
    np.testing.assert_array_equal(got, want)


def test_padding_with_the_most_negative_number() -> None:
    amounts = TensorSpec((1, 2), "int32", data=np.ones((1, 2), np.int32))
    specs = [
        ModelSpec(
            BuiltinOperator.PADV2,
            [TensorSpec((3,), dtype), amounts, TensorSpec((1,), dtype, data=np.full(1, np.iinfo(dtype).min, dtype))],
            [TensorSpec((5,), dtype)],
            **options("PadV2Options"),
            label=f"PADV2 {dtype}",
        )
        for dtype in ("int32", "int64")
    ]
    compare(specs)


def _scales_with_ratio(ratio: float) -> tuple[float, float]:
    """Two scales whose quotient is `ratio` in single precision, and less in double precision."""
    for y in np.linspace(0.1, 0.3, 100, dtype=np.float32):
        x = np.nextafter(np.float32(y * ratio), np.float32(0))
        if x / y == np.float32(ratio) and float(x) / float(y) < ratio:
            return float(x), float(y)
    raise AssertionError(ratio)


@pytest.mark.parametrize("negative", [False, True])
def test_prelu_scales_in_single_precision(negative: bool) -> None:
    """Half a code is rounded away from zero if the ratio of scales is 1.5, and towards zero if it is a little less."""
    x, y = _scales_with_ratio(1.5)
    slope = TensorSpec((1, 1, 1), "int8", 1.0, 0, data=np.ones((1, 1, 1), np.int8))
    spec = ModelSpec(
        BuiltinOperator.PRELU,
        [TensorSpec((1, 1, 16, 1), "int8", x, 0), slope],
        [TensorSpec((1, 1, 16, 1), "int8", y, 0)],
        label="PRELU int8",
    )
    model, codes = build(spec), np.arange(16, dtype=np.int8).reshape(1, 1, 16, 1) * (-1 if negative else 1)
    [[want]] = reference_outputs(model, [[codes]])
    np.testing.assert_array_equal(evaluate(read_tflite(model, name="m"), [codes])[0], want)
