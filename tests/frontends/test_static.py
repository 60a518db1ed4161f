"""What depends on constants alone is known when a .tflite file has been read, and so are the shapes that follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.differential import Board, compare_models, random_codes
from tests.support.model_files import packed, unpacked
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.builds.oracle import LiteRt
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.ops.fully_connected import FullyConnected

_OP = BuiltinOperator


def parameter(values: object, dtype: str = "int32", name: str = "") -> TensorSpec:
    data = np.array(values, dtype)
    return TensorSpec(data.shape, dtype, data=data, name=name)


def spec(name: str, inputs: list[TensorSpec], *outputs: TensorSpec, table: str = "", **values: Any) -> ModelSpec:
    """An operator in version 1, or 2 where that has the types."""
    version = 2 if name in ("BROADCAST_TO", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND") else 1
    chosen = options(table, **values) if table else {}
    return ModelSpec(getattr(_OP, name), inputs, outputs, **chosen, version=version)


def opened(content: bytes, *names: str) -> bytes:
    """The model with shapes that the file leaves to operators: these tensors are said to have one element."""
    model = unpacked(content)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name.decode() in names:
            tensor.shapeSignature = [-1] * len(tensor.shape)
            tensor.shape = [1] * len(tensor.shape)
    return packed(model)


def integers(shape: Sequence[int] = ()) -> TensorSpec:
    return TensorSpec(shape, "int32")


def check(model: bytes, feed: TensorSpec, count: int) -> None:
    """As LiteRT, with so many operators."""
    graph = read_tflite(model)
    assert len(graph.ops) == count, [op.KIND for op in graph.ops]
    rng = np.random.default_rng(1)
    feeds = [[random_codes(feed, rng)] for _ in range(2)]
    compare_models([model], [feeds], ["static"], board=Board.NONE)


def keras_reshape(x: TensorSpec, y: TensorSpec) -> list[ModelSpec]:
    """What TensorFlow writes for a Reshape layer: the batch is taken from the input."""
    shape, batch, target = integers([len(x.shape)]), integers(), integers([len(y.shape)])
    one = parameter([1])
    cut = [shape, parameter([0]), one, one]
    sizes = [batch, *(parameter(size) for size in y.shape[1:])]
    return [
        spec("SHAPE", [x], shape, table="ShapeOptions", outType=2),
        spec("STRIDED_SLICE", cut, batch, table="StridedSliceOptions", shrinkAxisMask=1),
        spec("PACK", sizes, target, table="PackOptions", valuesCount=len(y.shape)),
        spec("RESHAPE", [x, target], y, table="ReshapeOptions"),
    ]


def test_reshape_layers() -> None:
    x, y = TensorSpec((1, 6), "int8", 0.5, 3, name="x"), TensorSpec((1, 2, 3), "int8", 0.5, 3, name="y")
    model = build_chain(keras_reshape(x, y))
    check(model, x, 1)
    check(opened(model, "y"), x, 1)


def test_arithmetic_of_sizes() -> None:
    """Products, quotients and choices among sizes, of 32 and 64 bits, with a dimension that only they give."""
    x, y = TensorSpec((1, 2, 3, 4), "float32"), TensorSpec((3, 8), "float32", name="y")
    shape, rows, rest, product = integers([4]), integers([1]), integers([3]), integers()
    long, most, half, hit = (TensorSpec((), kind) for kind in ("int64", "int64", "int64", "bool"))
    chosen, short, column, target = TensorSpec((), "int64"), integers(), integers([1]), integers([2])
    two, nothing = parameter(2, "int64"), parameter(0, "int64")
    model = build_chain(
        [
            spec("SHAPE", [x], shape, table="ShapeOptions", outType=2),
            spec("GATHER", [shape, parameter([2])], rows, table="GatherOptions"),
            spec("GATHER", [shape, parameter([0, 1, 3])], rest, table="GatherOptions"),
            spec("REDUCE_PROD", [rest, parameter([0])], product, table="ReducerOptions"),
            spec("CAST", [product], long, table="CastOptions"),
            spec("MAXIMUM", [long, two], most, table="MaximumMinimumOptions"),
            spec("MUL", [most, two], half, table="MulOptions"),
            spec("GREATER", [half, nothing], hit, table="GreaterOptions"),
            spec("SELECT", [hit, most, nothing], chosen, table="SelectOptions"),
            spec("CAST", [chosen], short, table="CastOptions"),
            spec("RESHAPE", [short, parameter([1])], column, table="ReshapeOptions"),
            spec("CONCATENATION", [rows, column], target, table="ConcatenationOptions"),
            spec("RESHAPE", [x, target], y, table="ReshapeOptions"),
        ]
    )
    check(model, x, 1)
    check(opened(model, "y"), x, 1)


@pytest.mark.parametrize(
    ("name", "values", "want"),
    [
        ("REDUCE_PROD", [[3, 4, 5]], 60),
        ("REDUCE_MAX", [[3, 9, 5]], 9),
        ("REDUCE_MIN", [[3, 9, 5]], 3),
        ("SUM", [[3, 9, 5]], 17),
        ("FLOOR_DIV", [[7, -7], 2], [3, -4]),
        ("FLOOR_MOD", [[7, -7], 3], [1, 2]),
    ],
)
def test_of_integers(name: str, values: list[Any], want: Any) -> None:
    """What no kernel computes is a constant, as LiteRT computes it."""
    inputs, data = [parameter(value) for value in values], np.array(want, np.int32)
    if len(inputs) == 1:
        inputs.append(parameter([0]))
    y = TensorSpec(data.shape, "int32")
    table = "" if name.startswith("FLOOR") else "ReducerOptions"
    _of_constants(spec(name, inputs, y, table=table), data)


@pytest.mark.parametrize(
    ("name", "inputs", "table", "want"),
    [
        ("RANGE", [parameter(9), parameter(2), parameter(-3)], "RangeOptions", np.array([9, 6, 3], np.int32)),
        (
            "RANGE",
            [parameter(value, "float32") for value in (0.1, 1.0, 0.3)],
            "RangeOptions",
            np.array([0.1, 0.4, 0.7], np.float32),
        ),
        ("RANK", [parameter([[1, 2]])], "RankOptions", np.array(2, np.int32)),
        ("ZEROS_LIKE", [TensorSpec((2, 3), "float32")], "ZerosLikeOptions", np.zeros((2, 3), np.float32)),
        ("BROADCAST_ARGS", [parameter([3, 1]), parameter([2])], "", np.array([3, 2], np.int32)),
        ("WHERE", [parameter([[0, 7], [1, 0]])], "WhereOptions", np.array([[0, 1], [1, 0]], np.int64)),
        ("FILL", [parameter([2, 2]), parameter(5, "int8")], "FillOptions", np.full((2, 2), 5, np.int8)),
    ],
)
def test_constants(name: str, inputs: list[TensorSpec], table: str, want: np.ndarray) -> None:
    _of_constants(spec(name, inputs, TensorSpec(want.shape, want.dtype.name), table=table), want)


def _of_constants(operator: ModelSpec, want: np.ndarray) -> None:
    """A model with a constant output, which its input does not change."""
    given = next((x for x in operator.inputs if x is not None and x.data is None), TensorSpec((2, 3), "float32"))
    last = spec("NEG", [given], TensorSpec(given.shape, given.dtype), table="NegOptions")
    model = build_chain([operator, last])
    graph = read_tflite(model)
    [tensor] = [graph.tensors[name] for name in graph.outputs if graph.tensors[name].is_constant]
    assert tensor.data is not None
    np.testing.assert_allclose(tensor.data, want, rtol=1e-6)
    assert tensor.data.dtype == want.dtype
    check(model, given, 1)


def test_weights_that_are_computed() -> None:
    """Floats: int8 weights made real, scaled and transposed; a bias filled with a value."""
    rng = np.random.default_rng(4)
    codes = TensorSpec((6, 4), "int8", 0.1, 3, data=rng.integers(-128, 128, (6, 4)).astype(np.int8))
    real, scaled, turned = (TensorSpec(shape, "float32") for shape in ((6, 4), (6, 4), (4, 6)))
    bias, x, y = TensorSpec((4,), "float32"), TensorSpec((1, 6), "float32"), TensorSpec((1, 4), "float32")
    model = build_chain(
        [
            spec("DEQUANTIZE", [codes], real),
            spec("MUL", [real, parameter(0.5, "float32")], scaled, table="MulOptions"),
            spec("TRANSPOSE", [scaled, parameter([1, 0])], turned, table="TransposeOptions"),
            spec("FILL", [parameter([4]), parameter(0.25, "float32")], bias, table="FillOptions"),
            ModelSpec(_OP.FULLY_CONNECTED, [x, turned, bias], [y], **options("FullyConnectedOptions"), version=1),
        ]
    )
    [op] = read_tflite(model).ops
    assert isinstance(op, FullyConnected)
    check(model, x, 1)


def test_shapes_that_the_file_leaves_open() -> None:
    """A chain of operators whose outputs have any size in the file: each gives its own."""
    x = TensorSpec((1, 5, 6, 2), "float32")
    rng = np.random.default_rng(4)
    weights = TensorSpec((3, 2, 2, 2), "float32", data=rng.normal(size=(3, 2, 2, 2)).astype(np.float32))
    shapes = {
        "padded": (1, 7, 8, 2),
        "conv": (1, 6, 7, 3),
        "squeezed": (6, 7, 3),
        "wide": (1, 6, 7, 3),
        "flat": (1, 126),
    }
    outs = {name: TensorSpec(shape, "float32", name=name) for name, shape in shapes.items()}
    model = build_chain(
        [
            spec("PAD", [x, parameter([[0, 0], [1, 1], [1, 1], [0, 0]])], outs["padded"], table="PadOptions"),
            spec(
                "CONV_2D",
                [outs["padded"], weights, parameter([0.1, 0.2, 0.3], "float32")],
                outs["conv"],
                table="Conv2DOptions",
                padding=1,
                strideH=1,
                strideW=1,
                dilationHFactor=1,
                dilationWFactor=1,
            ),
            spec("SQUEEZE", [outs["conv"]], outs["squeezed"], table="SqueezeOptions", squeezeDims=[0]),
            spec("EXPAND_DIMS", [outs["squeezed"], parameter(0)], outs["wide"], table="ExpandDimsOptions"),
            spec("RESHAPE", [outs["wide"], parameter([1, -1])], outs["flat"], table="ReshapeOptions"),
        ]
    )
    check(opened(model, *shapes), x, 5)
    with pytest.raises(ModelError, match="has shape"):
        read_tflite(_closed(opened(model, *shapes)))


def _closed(content: bytes) -> bytes:
    """The model without what says that shapes are open."""
    model = unpacked(content)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    return packed(model)


def test_scalars() -> None:
    """The shape of a scalar is a parameter without elements."""
    x, y = TensorSpec((1, 1), "float32"), TensorSpec((), "float32")
    none = TensorSpec((0,), "int32", data=np.zeros(0, np.int32))
    check(build_chain([spec("RESHAPE", [x, none], y, table="ReshapeOptions")]), x, 1)


def test_tensors_between_are_none_of_litert(tmp_path: Path) -> None:
    """LiteRT has tensors of its kernels behind those of the file: here of a mean."""
    x, mid = TensorSpec((1, 2, 3), "float32"), TensorSpec((1, 4, 3), "float32", name="mid")
    file = tmp_path / "model.tflite"
    tiles = spec("TILE", [x, parameter([1, 2, 1])], mid, table="TileOptions")
    mean = spec("MEAN", [mid, parameter([1])], TensorSpec((1, 3), "float32", name="y"), table="ReducerOptions")
    file.write_bytes(build_chain([tiles, mean]))
    graph = read_tflite(file.read_bytes())
    litert = LiteRt(file, keep=True)
    litert.infer([np.ones((1, 2, 3), np.float32)])
    names = [name for op in graph.ops for name in op.outputs]
    assert len(names) == 4 and set(litert.intermediate(graph, names)) == {"mid", "y"}


def test_inferences_that_litert_ends(tmp_path: Path) -> None:
    """An input that no kernel of LiteRT's takes is an error with its words."""
    y, file = TensorSpec((2,), "float32"), tmp_path / "model.tflite"
    table = parameter([1.0, 2.0, 3.0], "float32")
    file.write_bytes(build_chain([spec("GATHER", [table, integers([2])], y, table="GatherOptions")]))
    litert = LiteRt(file)
    assert litert.infer([np.array([2, 0], np.int32)])[0].tolist() == [3.0, 1.0]
    with pytest.raises(TinygenError, match="gather index out of bounds; node number 0") as refusal:
        litert.infer([np.array([3, 0], np.int32)])
    assert "indices within their tables" in refusal.value.fix


def _read(*operators: ModelSpec) -> None:
    read_tflite(build_chain(list(operators)))


def test_what_is_not_known() -> None:
    x, sizes = TensorSpec((2, 3), "float32"), integers([2])
    y = TensorSpec((2, 3), "float32")
    with pytest.raises(UnsupportedError, match=r"its shape \('t1'\) is computed at run time") as refusal:
        _read(spec("BROADCAST_TO", [x, sizes], y, table="BroadcastToOptions"))
    assert "static shapes" in refusal.value.fix
    with pytest.raises(UnsupportedError, match="its condition"):
        _read(spec("WHERE", [x], TensorSpec((6, 2), "int64"), table="WhereOptions"))


REFUSED = {
    "from 1 to 5 in steps of -1": spec(
        "RANGE", [parameter(v) for v in (1, 5, -1)], integers([4]), table="RangeOptions"
    ),
    "are too many for a constant": spec(
        "RANGE", [parameter(v) for v in (0, 2**30, 1)], integers([4]), table="RangeOptions"
    ),
    "gives [2], its output 't1' has shape [3]": spec(
        "SHAPE", [TensorSpec((4, 4), "int8", 1.0)], integers([3]), table="ShapeOptions", outType=2
    ),
    "its option out_type is int64, its output int32": spec(
        "SHAPE", [TensorSpec((4, 4), "int8", 1.0)], integers([2]), table="ShapeOptions", outType=4
    ),
    "it divides by 0": spec("FLOOR_MOD", [parameter([1, 2]), parameter([1, 0])], integers([2])),
    "cannot broadcast [3] to [2]": spec(
        "BROADCAST_TO",
        [TensorSpec((3,), "float32"), parameter([2])],
        TensorSpec((2,), "float32"),
        table="BroadcastToOptions",
    ),
    "multiples [2, 0]": spec(
        "TILE",
        [TensorSpec((3, 3), "float32"), parameter([2, 0])],
        TensorSpec((6, 3), "float32"),
        table="TileOptions",
    ),
    "reach outside of [3]": spec(
        "GATHER", [TensorSpec((3,), "float32"), parameter([3])], TensorSpec((1,), "float32"), table="GatherOptions"
    ),
    "they must be neighbours": spec(
        "REVERSE_V2",
        [TensorSpec((2, 2, 2), "float32"), parameter([0, 2])],
        TensorSpec((2, 2, 2), "float32"),
        table="ReverseV2Options",
    ),
    "blocks of [2] do not fill": spec(
        "SPACE_TO_BATCH_ND",
        [TensorSpec((1, 5, 1), "float32"), parameter([2]), parameter([[0, 0]])],
        TensorSpec((2, 3, 1), "float32"),
        table="SpaceToBatchNDOptions",
    ),
    "4 channels do not fill blocks of 3 x 3": spec(
        "DEPTH_TO_SPACE",
        [TensorSpec((1, 1, 1, 4), "float32")],
        TensorSpec((1, 3, 3, 1), "float32"),
        table="DepthToSpaceOptions",
        blockSize=3,
    ),
    "its condition has shape [3]": spec(
        "SELECT",
        [TensorSpec((3,), "bool"), *(TensorSpec((2, 3), "float32") for _ in range(2))],
        TensorSpec((2, 3), "float32"),
        table="SelectOptions",
    ),
    "a block [3, 2] does not fit [2, 2]": spec(
        "DYNAMIC_UPDATE_SLICE",
        [TensorSpec((2, 2), "float32"), TensorSpec((3, 2), "float32"), integers([2])],
        TensorSpec((2, 2), "float32"),
        table="DynamicUpdateSliceOptions",
    ),
    "9 of [1, 4]": spec(
        "TOPK_V2",
        [TensorSpec((1, 4), "float32"), parameter(9)],
        TensorSpec((1, 9), "float32"),
        integers([1, 9]),
        table="TopKV2Options",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    with pytest.raises((ModelError, UnsupportedError)) as refusal:
        _read(REFUSED[what])
    assert what in str(refusal.value)
