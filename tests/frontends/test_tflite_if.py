"""TFLite's IF: what LiteRT gives, for both conditions, one IF within the other; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType
from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType

from tests.support.differential import compare_models
from tests.support.litert import outputs_of, reference_outputs
from tests.support.networks import Network
from tests.support.tflite_builder import ModelSpec, Subgraph, TensorSpec, build_chain, options
from tinygen.errors import TinygenError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.branch import Branch
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Rounding
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network as Switches
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.paths import path_of
from tinygen.passes.litert_arithmetic import optimized_arithmetic
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

SCALE, ZERO = 0.05, -20
SHAPE = (1, 5, 4, 3)


def image(dtype: str = "int8", scale: float = SCALE) -> TensorSpec:
    return TensorSpec(SHAPE, "float32") if dtype == "float32" else TensorSpec(SHAPE, dtype, scale, ZERO)


def flag() -> TensorSpec:
    return TensorSpec((1,), "bool")


def when(condition: TensorSpec, inputs: list[TensorSpec], y: TensorSpec, then: int, otherwise: int) -> ModelSpec:
    chosen = options("IfOptions", thenSubgraphIndex=then, elseSubgraphIndex=otherwise)
    return ModelSpec(BuiltinOperator.IF, [condition, *inputs], [y], **chosen)


def convolution(seed: int, dtype: str, filters: int = 6) -> Subgraph:
    """Two layers; the second input, a flag, is not read."""
    net, x = Network(seed, dtype), image(dtype)
    return _ended(net, x, net.conv(net.conv(x, filters, 3), SHAPE[3]), dtype)


def rectified(dtype: str) -> Subgraph:
    net, x = Network(0, dtype), image(dtype)
    return _ended(net, x, net.relu(x), dtype)


def _ended(net: Network, x: TensorSpec, y: TensorSpec, dtype: str) -> Subgraph:
    out = y
    if dtype != "float32":
        out = image(dtype)
        net.layers.append(ModelSpec(BuiltinOperator.QUANTIZE, [y], [out], version=2, **options("QuantizeOptions")))
    return Subgraph(net.layers, [x, flag()], [out])


def handing_on(dtype: str) -> Subgraph:
    x = image(dtype)
    return Subgraph([], [x, flag()], [x])


def nested(dtype: str, then: int, otherwise: int) -> Subgraph:
    x, inner, y = image(dtype), flag(), image(dtype)
    return Subgraph([when(inner, [x, inner], y, then, otherwise)], [x, inner], [y])


def model(branches: list[Subgraph], dtype: str = "int8", then: int = 1, otherwise: int = 2) -> bytes:
    """A layer, IF, and a layer."""
    outer, inner, x, net = flag(), flag(), image(dtype), Network(9, dtype)
    middle, y = image(dtype), image(dtype)
    if dtype == "float32":
        middle = net.relu(x)
    else:
        chosen = options("QuantizeOptions")
        net.layers.append(ModelSpec(BuiltinOperator.QUANTIZE, [net.relu(x)], [middle], version=2, **chosen))
    net.layers.append(when(outer, [middle, inner], y, then, otherwise))
    end = net.conv(y, 2)
    return build_chain(net.layers, inputs=[outer, inner, x], outputs=[end], branches=branches)


MODELS = {
    "two": lambda dtype: model([convolution(1, dtype), rectified(dtype)], dtype),
    "exchanged": lambda dtype: model([convolution(1, dtype), rectified(dtype)], dtype, then=2, otherwise=1),
    "handing on": lambda dtype: model([handing_on(dtype), convolution(2, dtype)], dtype),
    "same": lambda dtype: model([convolution(2, dtype)], dtype, otherwise=1),
    "nested": lambda dtype: model(
        [nested(dtype, 2, 3), convolution(3, dtype), rectified(dtype), nested(dtype, 3, 2)], dtype, otherwise=4
    ),
}


def samples(dtype: str) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(4)
    found = []
    for outer in (False, True):
        for inner in (False, True):
            x = rng.normal(size=SHAPE).astype(np.float32) if dtype == "float32" else rng.integers(-128, 128, SHAPE)
            found.append([np.array([outer]), np.array([inner]), x.astype(dtype)])
    return found


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_as_litert(dtype: str) -> None:
    contents = [make(dtype) for make in MODELS.values()]
    compare_models(contents, [samples(dtype)] * len(contents), [f"IF {dtype}"] * len(contents))


def computed(dtype: str, name: str) -> bytes:
    """A condition that the model computes: its largest value against a constant, or which of two is largest."""
    x, y, condition, net = image(dtype), image(dtype), flag(), Network(9, dtype)
    scales = () if dtype == "float32" else (SCALE, ZERO)
    axes = TensorSpec((3,), "int32", data=np.array([1, 2, 3], np.int32))
    version = 2 if dtype == "int8" else 1
    if name == "ARG_MAX":
        most, index = TensorSpec((1, SHAPE[3]), dtype, *scales), TensorSpec((1,), "int32")
        axes = TensorSpec((2,), "int32", data=np.array([1, 2], np.int32))
        last = TensorSpec((1,), "int32", data=np.array([1], np.int32))
        one = TensorSpec((1,), "int32", data=np.array([1], np.int32))
        chosen = options("ArgMaxOptions", outputType=TensorType.INT32)
        layers = [
            ModelSpec(BuiltinOperator.ARG_MAX, [most, last], [index], version=version, **chosen),
            ModelSpec(BuiltinOperator.EQUAL, [index, one], [condition], **options("EqualOptions")),
        ]
    else:
        most = TensorSpec((1,), dtype, *scales)
        value = np.array([70], np.int8) if scales else np.array([1.3], np.float32)
        limit = TensorSpec((1,), dtype, *((0.03, 5) if scales else ()), data=value)
        table = {"GREATER": "GreaterOptions", "LESS_EQUAL": "LessEqualOptions"}[name]
        code = getattr(BuiltinOperator, name)
        layers = [ModelSpec(code, [most, limit], [condition], version=version, **options(table))]
    reduced = options("ReducerOptions", keepDims=False)
    net.layers += [ModelSpec(BuiltinOperator.REDUCE_MAX, [x, axes], [most], version=version, **reduced), *layers]
    net.layers.append(when(condition, [x, condition], y, 1, 2))
    end = net.conv(y, 2)
    return build_chain(net.layers, inputs=[x], outputs=[end], branches=[convolution(1, dtype), rectified(dtype)])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_computed_conditions_as_litert(dtype: str) -> None:
    contents = [computed(dtype, name) for name in ("GREATER", "LESS_EQUAL", "ARG_MAX")]
    rng = np.random.default_rng(6)
    rows = [
        [
            rng.integers(-128, top, SHAPE).astype(dtype)
            if dtype == "int8"
            else rng.normal(size=SHAPE).astype(dtype) / div
        ]
        for top, div in ((128, 1), (-20, 9), (40, 2), (0, 5), (30, 2), (20, 3))
    ]
    graphs = [read_tflite(content) for content in contents]
    for graph in graphs:
        assert {path_of(graph, row)[0][1] for row in rows} == {0, 1}
    compare_models(contents, [rows] * len(contents), [f"computed IF {dtype}"] * len(contents))


def test_conditions_choose() -> None:
    """`then` if it holds: both runtimes give another answer then."""
    content = MODELS["two"]("int8")
    rows = [[np.array([hold]), np.array([False]), samples("int8")[0][2]] for hold in (False, True)]
    (no,), (yes,) = reference_outputs(content, rows)
    assert (no != yes).any()
    np.testing.assert_array_equal(evaluate(read_tflite(content), rows[1])[0], yes)


def test_verified(tmp_path: Path) -> None:
    """By every pair of runtimes, on a board, with the condition as an input."""
    (tmp_path / "if.tflite").write_bytes(MODELS["two"]("int8"))
    rows = samples("int8")
    columns = {f"x{i}": np.concatenate([row[i] for row in rows]) for i in range(3)}
    np.savez(tmp_path / "x.npz", **columns)
    report = verify(tmp_path / "if.tflite", tmp_path / "x.npz", BuildOptions(board="f746zg"))
    assert report.identical and len(report.comparisons) >= 3


def test_optimised_arithmetic_holds_in_branches() -> None:
    content = MODELS["two"]("int8")
    graph = optimized_arithmetic(Switches.of(read_tflite(content))).first
    (op,) = [op for op in graph.ops if isinstance(op, Branch)]
    layers = [inner.epilogue for branch in op.branches for inner in branch.ops if isinstance(inner, Conv2D)]
    assert [one.rounding for one in layers if isinstance(one, Tflite)] == [Rounding.UPWARDS] * 2
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    for row, (want,) in zip(samples("int8"), outputs_of(content, samples("int8"), kernels), strict=True):
        np.testing.assert_array_equal(evaluate(graph, row)[0], want)


def test_what_is_refused() -> None:
    wide = image(scale=0.1)
    net, x = Network(1), image()
    net.layers.append(ModelSpec(BuiltinOperator.QUANTIZE, [x], [wide], version=2, **options("QuantizeOptions")))
    other = Subgraph(net.layers, [x, flag()], [wide])
    cases = {
        "is damaged: subgraph 7 cannot be called": model([convolution(1, "int8")], otherwise=7),
        "is damaged: subgraph 0 cannot be called": model([convolution(1, "int8")], otherwise=0),
        "subgraph 1 cannot be called in subgraph 1": model([nested("int8", 1, 2), rectified("int8")]),
        "subgraph 2 cannot be called in subgraph 1": model([nested("int8", 2, 2), nested("int8", 1, 1)]),
        "outside it is int8": model([convolution(1, "int8"), other]),
        "8 subgraphs within each other": model([nested("int8", i + 2, 12) for i in range(11)] + [rectified("int8")]),
        "256 in all": model(_many()),
    }
    for message, content in cases.items():
        with pytest.raises(TinygenError) as caught:
            read_tflite(content)
        assert message in str(caught.value), (message, str(caught.value))


def _many() -> list[Subgraph]:
    """Each calls the next in both branches: 2 to the 8th in all."""
    return [nested("int8", i + 2, i + 2) for i in range(7)] + [rectified("int8")]


def test_the_operator() -> None:
    graph = read_tflite(MODELS["nested"]("int8"))
    (op,) = [op for op in graph.ops if isinstance(op, Branch)]
    assert op.name == "if_2" and len(op.branches) == 2
    assert [type(inner).KIND for inner in op.branches[0].ops] == ["branch"]
