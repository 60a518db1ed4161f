"""What lies between quantizers and has no quantizers of its own: tables, integer forms, floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.frontends.onnx.qdq_layers import q, weights_of
from tests.frontends.onnx.test_qdq import codes_in
from tests.support.host_batch import run_on_host
from tests.support.onnx_models import OnnxNet, _session
from tinygen.frontends.onnx.file import OnnxModel, read_model
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.lookup import Lookup
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

Build = Callable[[OnnxNet, str], str]
IMAGE = (1, 4, 6, 5)


def i64(net: OnnxNet, *values: int) -> str:
    return net.constant(list(values), "int64")


def added(n: OnnxNet, x: str, number: float) -> str:
    return n.node("Add", x, n.constant(number))


def model_of(build: Build, shape: tuple[int, ...] = IMAGE, scale: float = 0.05, dtype: str = "int8") -> bytes:
    """A model of one quantized input."""
    net = OnnxNet()
    x = net.quantize(net.input(*shape), scale, 3 if dtype == "int8" else 131, dtype)
    return net.model(build(net, x), opset=23).SerializeToString()


def compared(content: bytes, count: int = 4) -> tuple[OnnxModel, list[np.ndarray], list[np.ndarray]]:
    """(model, our outputs, ONNX Runtime's as the graph stores them)."""
    model = read_model(content, "net")
    graph, session = model.graph, _session(content)
    shape = tuple(int(size) for size in session.get_inputs()[0].shape)
    feeds = [np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32) for seed in range(count)]
    own, other = [], []
    for feed in feeds:
        output = graph.tensors[graph.outputs[0]]
        own.append(evaluate(graph, [codes_in(graph, feed)])[0])
        real = model.outputs[0].to_memory(session.run(None, {"x": feed})[0]).reshape(output.shape)
        if not output.is_float:
            real = np.clip(np.rint(real / np.float32(output.scale)) + output.zero_point, *output.code_range)
        other.append(real)
    return model, own, other


FUNCTIONS: dict[str, Build] = {
    **{
        kind: lambda n, x, kind=kind: n.node(kind, x)
        for kind in (
            *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Softsign", "Erf", "Elu", "Selu"),
            *("Abs", "Neg", "Sign", "Floor", "Exp", "Sin", "Tan", "Atan", "Sinh", "ThresholdedRelu", "Shrink"),
        )
    },
    "CELU": lambda n, x: n.node("Celu", x, alpha=0.7),
    "GELU": lambda n, x: n.node("Gelu", x, approximate="tanh"),
    "one slope": lambda n, x: n.node("PRelu", x, n.constant([[[0.2]]])),
    "of what is not positive": lambda n, x: n.node("Log", n.node("Relu", x)),
    "reciprocal": lambda n, x: n.node("Reciprocal", added(n, n.node("Abs", x), 0.3)),
    "power": lambda n, x: n.node("Pow", n.node("Abs", x), n.constant(0.3)),
    "bounded by another": lambda n, x: n.node("Min", n.node("Exp", x), n.constant(3.0)),
    "swish": lambda n, x: n.node("Mul", x, n.node("Sigmoid", x)),
    "swish of PyTorch": lambda n, x: n.node("Mul", x, n.node("HardSigmoid", x, alpha=1 / 6)),
    "GELU spelled out": lambda n, x: n.node(
        "Mul", n.node("Mul", x, added(n, n.node("Erf", n.node("Div", x, n.constant(2**0.5))), 1.0)), n.constant(0.5)
    ),
    "scaled and shifted": lambda n, x: n.node(
        "Clip", added(n, n.node("Tanh", x), 0.2), n.constant(-0.5), n.constant(1.0)
    ),
    "number over": lambda n, x: n.node("Div", n.constant(2.0), added(n, n.node("Exp", x), 1.0)),
}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_tables(name: str, dtype: str) -> None:
    """One look-up, and ONNX Runtime's codes; of transcendental functions, its own are not rounded to the last bit."""
    content = model_of(lambda n, x: n.quantize(FUNCTIONS[name](n, x), 0.0617, -7 if dtype == "int8" else 121, dtype))
    model, own, other = compared(content)
    assert [op.KIND for op in model.graph.ops] == ["lookup"] and not model.notes
    gaps = np.abs(np.array(own, float) - other)
    assert gaps.max() <= 1 and np.count_nonzero(gaps) <= 0.001 * gaps.size


def test_tables_in_c(tmp_path: Path) -> None:
    programs, samples, expected = [], [], []
    for index, build in enumerate(FUNCTIONS.values()):
        graph = read_model(model_of(lambda n, x, build=build: q(n, build(n, x))), f"layer{index}").graph
        assert isinstance(graph.ops[0], Lookup)
        programs.append(lower(simplify(graph), isa=("c99",)))
        samples.append([[np.arange(-128, 128).astype(np.int8).repeat(2)[: 6 * 5 * 4].reshape(1, 6, 5, 4)]])
        expected.append(evaluate(graph, samples[-1][0])[0])
    for found, wanted in zip(run_on_host(programs, samples, tmp_path), expected, strict=True):
        assert np.array_equal(found[0][0], wanted)


INTEGERS: dict[str, tuple[tuple[str, ...], float, Build]] = {
    "mean over channels": (("mean",), 0.3, lambda n, x: q(n, n.node("ReduceMean", x, i64(n, 1)))),
    "sum over rows": (("sum",), 0.3, lambda n, x: q(n, n.node("ReduceSum", x, i64(n, 2)), 0.2)),
    "instance norm": (
        ("normalization",),
        0.01,
        lambda n, x: q(
            n, n.node("InstanceNormalization", x, n.constant(np.ones(4) * 1.5), n.constant(np.ones(4) * 0.3))
        ),
    ),
    "layer norm, channels last": (
        ("normalization",),
        0.01,
        lambda n, x: q(
            n,
            n.node(
                "Transpose",
                n.node(
                    "LayerNormalization",
                    n.node("Transpose", x, perm=[0, 2, 3, 1]),
                    n.constant(np.ones(4) * 1.5),
                    n.constant(np.ones(4) * 0.3),
                ),
                perm=[0, 3, 1, 2],
            ),
        ),
    ),
    "softmax over channels": (("softmax", "quantize"), 0.4, lambda n, x: q(n, n.node("Softmax", x, axis=1), 0.01)),
    "bilinear": (
        ("resize_bilinear", "quantize"),
        0.3,
        lambda n, x: q(n, n.node("Resize", x, "", n.constant([1, 1, 2, 2]), mode="linear")),
    ),
    "larger of two": (
        ("lookup", "quantize", "quantize", "maximum"),
        0.05,
        lambda n, x: q(n, n.node("Max", x, n.quantize(n.node("Sigmoid", x), 0.004))),
    ),
    "quotient of two": (
        ("lookup", "div"),
        0.05,
        lambda n, x: q(n, n.node("Div", x, n.quantize(added(n, n.node("Sigmoid", x), 1.0), 0.01))),
    ),
    "weights first": (
        ("reshape", "transpose", "reshape", "fully_connected", "reshape", "transpose", "reshape"),
        0.01,
        lambda n, x: q(n, n.node("MatMul", weights_of(n, 7, 6), x)),
    ),
    "signal": (
        ("max_pool_2d", "conv_2d", "reshape"),
        0.01,
        lambda n, x: q(
            n, n.node("Conv", n.node("Squeeze", n.node("GlobalMaxPool", x), i64(n, 3)), weights_of(n, 5, 4, 1))
        ),
    ),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_forms(name: str) -> None:
    """TFLite's operators: their codes are ONNX Runtime's or next to them."""
    wanted, share, build = INTEGERS[name]
    model, own, other = compared(model_of(build))
    kinds = tuple(op.KIND for op in model.graph.ops)
    assert kinds == wanted or (name in ("weights first", "signal") and not any("quantize" in kind for kind in kinds))
    gaps = np.abs(np.array(own, float) - other)
    assert gaps.max() <= 1 and np.count_nonzero(gaps) <= share * gaps.size
    assert not model.notes


FLOATS: dict[str, tuple[str, Build]] = {
    "tail": ("softmax 'softmax_", lambda n, x: n.node("Softmax", n.node("Flatten", x))),
    "tail behind sums": (
        "softmax 'softmax_",
        lambda n, x: n.node("Softmax", n.node("Gemm", n.node("Flatten", x), weights_of(n, 7, 120), transB=1)),
    ),
    "several operators": (
        "softmax 'softmax_",
        lambda n, x: q(n, n.node("Sqrt", n.node("Softmax", n.node("Flatten", x))), 0.01),
    ),
    "layer left in float": (
        "conv_2d 'conv_",
        lambda n, x: q(n, n.node("Conv", x, n.constant(np.random.default_rng(0).normal(0, 0.2, (5, 4, 3, 3))))),
    ),
    "constant that varies": (
        "add 'add_",
        lambda n, x: n.node("Add", x, n.constant(np.linspace(-1, 1, 24).reshape(1, 4, 6, 1))),
    ),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_told(name: str) -> None:
    """What nothing quantizes computes in float, as ONNX Runtime does, and a note says so."""
    note, build = FLOATS[name]
    model, own, other = compared(model_of(build))
    assert len(model.notes) == 1 and note in model.notes[0] and "computed in float" in model.notes[0]
    if model.graph.tensors[model.graph.outputs[0]].is_float:
        assert np.abs(np.array(own) - other).max() <= 1e-5
    else:
        gaps = np.abs(np.array(own, float) - other)
        assert gaps.max() <= 1 and np.count_nonzero(gaps) <= 0.001 * gaps.size


def test_an_input_that_is_quantized_twice_stays_float() -> None:
    def build(n: OnnxNet, x: str) -> str:
        return q(n, n.node("Add", n.quantize("x", 0.1), n.quantize("x", 0.07)))

    net = OnnxNet()
    content = net.content(build(net, net.input(*IMAGE)))
    model = read_model(content, "net")
    assert model.graph.tensors["x"].is_float and not model.is_float
    assert [op.KIND for op in model.graph.ops] == ["quantize", "quantize", "add"]
