"""ONNX's If: what ONNX Runtime gives, for both conditions, one If within the other; and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.differential import compare_code
from tests.support.onnx_models import OnnxNet, _session
from tinygen.errors import TinygenError
from tinygen.frontends.onnx import read_onnx
from tinygen.ir.branch import Branch
from tinygen.ir.interpreter import evaluate
from tinygen.passes.pipeline import simplify

SCALE = 0.05
SHAPE = (1, 3, 6, 5)
Body = Callable[[OnnxNet], str]


def quantized(net: OnnxNet, x: str) -> str:
    return net.quantize(x, SCALE, -20)


def conv(seed: int) -> Body:
    """A layer with constants of its own."""

    def body(net: OnnxNet) -> str:
        rng = np.random.default_rng(seed)
        weights = net.weights(rng.integers(-127, 128, (3, 3, 3, 3)).astype(np.int8), 0.003)
        return quantized(net, net.node("Conv", "x_q", weights, pads=[1, 1, 1, 1]))

    return body


def outer_weights(net: OnnxNet) -> str:
    """A layer with a constant of the graph outside."""
    return quantized(net, net.node("Conv", "x_q", "shared"))


def relu(net: OnnxNet) -> str:
    return quantized(net, net.node("Relu", "x_q"))


def same(net: OnnxNet) -> str:
    return net.node("Identity", "x_q")


def chosen(then: Body, otherwise: Body, condition: str = "inner") -> Body:
    def body(net: OnnxNet) -> str:
        graphs = {f"{kind}_branch": graph(part, kind) for kind, part in (("then", then), ("else", otherwise))}
        return net.node("If", condition, **graphs)

    return body


_COUNT = [0]


def graph(body: Body, name: str) -> onnx.GraphProto:
    """Names in it are of no other graph."""
    net = OnnxNet()
    _COUNT[0] += 1
    number = _COUNT[0]
    net._fresh = lambda prefix: f"g{number}_{prefix}_{len(net.nodes) + len(net.constants)}"  # type: ignore[method-assign]
    output = body(net)
    infos = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    return helper.make_graph(net.nodes, f"{name}{number}", [], infos, net.constants)


def model(then: Body, otherwise: Body) -> bytes:
    """Two conditions and an image; a layer follows."""
    net = OnnxNet()
    net.input(1, dtype=TensorProto.BOOL, name="outer")
    net.input(1, dtype=TensorProto.BOOL, name="inner")
    x = net.quantize(net.input(*SHAPE), SCALE, -20)
    net.node("Identity", x)
    net.nodes[-1].output[0] = "x_q"
    codes = np.random.default_rng(8).integers(-127, 128, (3, 3, 1, 1)).astype(np.int8)
    net.weights(codes, 0.01)
    net.nodes[-1].output[0] = "shared"
    y = chosen(then, otherwise, "outer")(net)
    last = net.weights(np.random.default_rng(9).integers(-127, 128, (2, 3, 1, 1)).astype(np.int8), 0.01)
    return net.content(net.quantize(net.node("Conv", y, last), SCALE, 3))


MODELS = {
    "two": (conv(1), relu),
    "exchanged": (relu, conv(1)),
    "outer weights": (outer_weights, same),
    "nested": (chosen(conv(1), relu), chosen(same, conv(2))),
}
USES_INNER = ("nested",)


def without_inner(content: bytes) -> bytes:
    """ONNX Runtime feeds it, tinygen refuses inputs that nothing reads."""
    model = onnx.load_from_string(content)
    for entry in [entry for entry in model.graph.input if entry.name == "inner"]:
        model.graph.input.remove(entry)
    return bytes(model.SerializeToString())


def test_as_onnx_runtime() -> None:
    rng = np.random.default_rng(4)
    graphs, feeds, expected = [], [], []
    for number, (name, parts) in enumerate(MODELS.items()):
        content = model(*parts) if name in USES_INNER else without_inner(model(*parts))
        session = _session(content)
        ours = read_onnx(content, f"m{number}")
        assert sum(isinstance(op, Branch) for op in ours.ops) == 1
        rows, wanted = [], []
        for outer in (False, True):
            for inner in (False, True):
                x = rng.integers(-128, 128, SHAPE).astype(np.int8)
                real = ((x.astype(np.float32) + 20) * np.float32(SCALE)).astype(np.float32)
                fed = {"outer": np.array([outer]), "inner": np.array([inner]), "x": real}
                (y,) = session.run(None, {one.name: fed[one.name] for one in session.get_inputs()})
                codes = np.rint(y / np.float32(SCALE)).astype(np.int32) + 3
                row = {**fed, "x": x.transpose(0, 2, 3, 1)}
                rows.append([row[name] for name in ours.inputs])
                wanted.append([codes.transpose(0, 2, 3, 1).astype(np.int8)])
        for row, want in zip(rows, wanted, strict=True):
            found = evaluate(ours, row)[0]
            # Floats at ties: a code may be one off.
            assert found.shape == want[0].shape and np.abs(found.astype(int) - want[0]).max() <= 1
            assert (found == want[0]).mean() > 0.9
        graphs.append(ours)
        feeds.append(rows)
        expected.append([evaluate(ours, row) for row in rows])
    labels = ["ONNX If"] * len(graphs)
    compare_code([simplify(one) for one in graphs], feeds, expected, labels, on_board=False)


def unquantized(net: OnnxNet) -> str:
    return net.node("Relu", "x_q")


def other_scale(net: OnnxNet) -> str:
    return net.quantize(net.node("Relu", "x_q"), 0.1, 3)


def reads_nothing_known(net: OnnxNet) -> str:
    return net.node("Relu", "nowhere")


def reads_a_float(net: OnnxNet) -> str:
    return quantized(net, net.node("Relu", "x"))


def deep(levels: int) -> Body:
    return relu if levels == 0 else chosen(deep(levels - 1), relu)


REFUSED = {
    "gives a float that nothing quantizes": (relu, unquantized),
    "other shapes or quantization": (relu, other_scale),
    "a branch reads 'nowhere'": (relu, reads_nothing_known),
    "more than 8 branches within each other": (deep(8), relu),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str) -> None:
    with pytest.raises(TinygenError) as caught:
        read_onnx(model(*REFUSED[message]))
    assert message in str(caught.value)


def test_a_branch_reads_a_float() -> None:
    """An input that is quantized for one branch only stays float."""
    graph = read_onnx(without_inner(model(relu, reads_a_float)))
    image = graph.tensors["x"]
    assert image.is_float and [op.KIND for op in graph.ops][:2] == ["quantize", "branch"]
    feed = np.random.default_rng(1).normal(0, 1, image.shape).astype(np.float32)
    codes = [evaluate(graph, [np.array([flag]), feed]) for flag in (False, True)]
    assert np.abs(codes[0][0].astype(int) - codes[1][0]).max() <= 1


def test_a_computed_condition_is_refused() -> None:
    net = OnnxNet()
    net.input(1, dtype=TensorProto.BOOL, name="outer")
    x = net.quantize(net.input(*SHAPE), SCALE, -20)
    net.node("Identity", x)
    net.nodes[-1].output[0] = "x_q"
    content = net.content(chosen(relu, conv(1), "x_q")(net))
    with pytest.raises(TinygenError, match="its condition is no bool"):
        read_onnx(content)


def test_branches_that_order_dimensions_otherwise() -> None:
    """An image flattened in one of them, where channels lie last; a dense layer in the other."""
    rng = np.random.default_rng(6)
    size = int(np.prod(SHAPE))
    codes = rng.integers(-127, 128, (size, size)).astype(np.int8)

    def flat(net: OnnxNet) -> str:
        return net.node("Flatten", "x_q")

    def dense(net: OnnxNet) -> str:
        return quantized(net, net.node("MatMul", net.node("Flatten", "x_q"), net.weights(codes, 0.001, axis=1)))

    for then, otherwise in ((flat, dense), (dense, flat)):
        net = OnnxNet()
        net.input(1, dtype=TensorProto.BOOL, name="outer")
        x = net.quantize(net.input(*SHAPE), SCALE, -20)
        net.node("Identity", x)
        net.nodes[-1].output[0] = "x_q"
        content = net.content(chosen(then, otherwise, "outer")(net))
        session, ours = _session(content), read_onnx(content)
        image = rng.integers(-128, 128, SHAPE).astype(np.int8)
        real = (image.astype(np.float32) + 20) * np.float32(SCALE)
        for hold in (False, True):
            (y,) = session.run(None, {"outer": np.array([hold]), "x": real})
            fed = {"outer": np.array([hold]), "x": image.transpose(0, 2, 3, 1)}
            (found,) = evaluate(ours, [fed[name] for name in ours.inputs])
            want = np.rint(y / np.float32(SCALE)).astype(np.int32) - 20
            assert np.abs(found - want).max() <= 1 and (found == want).mean() > 0.9
