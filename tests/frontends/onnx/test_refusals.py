"""ONNX files that are damaged or ask for what tinygen has not: errors that name node, operator and tensor."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.frontends.onnx.qdq_layers import q, weights_of
from tests.frontends.onnx.test_qdq import conv_net
from tests.frontends.onnx.test_qonnx import mixed_net
from tests.support.onnx_models import QONNX, OnnxNet
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.load import load_model
from tinygen.frontends.onnx import read_onnx
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

IMAGE = (4, 6, 5)


def layer(build: Callable[[OnnxNet, str], str], *shape: int) -> bytes:
    net = OnnxNet()
    return net.content(build(net, net.quantize(net.input(1, *(shape or IMAGE)), 0.05)))


def plain(build: Callable[[OnnxNet, str], str], *shape: int | str) -> bytes:
    """Behind an input that nothing quantizes."""
    net = OnnxNet()
    return net.content(build(net, net.input(*(shape or (1, *IMAGE)))))


def kernel(net: OnnxNet) -> str:
    return weights_of(net, 5, 4, 3, 3)


REFUSED: dict[str, Callable[[], bytes]] = {
    # Floats and integers where codes are wanted.
    "its input 0 ('x') is a float that nothing quantizes": lambda: plain(lambda n, x: n.node("Tan", x, name="first")),
    "input 'x': no output depends on it": lambda: q_of_constant(),
    "is an input": lambda: plain(lambda n, x: n.node("Identity", x)),
    "output 'relu_0': is given twice": lambda: given_twice(),
    "its input 0 ('codes') holds integers": lambda: of_integers(),
    "dequantized with another scale": lambda: plain(
        lambda n, x: n.node(
            "DequantizeLinear",
            n.node("QuantizeLinear", x, n.constant(0.1), n.constant(0, "int8")),
            n.constant(0.2),
            n.constant(0, "int8"),
        )
    ),
    # Quantized in ways that tinygen has not.
    "activations quantized with 4 scales": lambda: plain(
        lambda n, x: n.node("QuantizeLinear", x, n.constant(np.ones(4)), n.constant(np.zeros(4), "int8"), axis=1)
    ),
    "activations of type uint16": lambda: plain(lambda n, x: n.quantize(x, 0.1, 0, "uint16")),
    "blocked quantization": lambda: layer(
        lambda n, x: n.node(
            "Conv",
            x,
            n.node(
                "DequantizeLinear",
                n.constant(np.ones((5, 4, 3, 3)), "int8"),
                n.constant(np.ones((5, 2, 3, 3))),
                axis=1,
                block_size=2,
            ),
        )
    ),
    "have scales along axis 1, not along their output channels": lambda: layer(
        lambda n, x: n.node("Conv", x, weights_of(n, 5, 4, 3, 3, axis=1))
    ),
    "is not a positive number": lambda: plain(lambda n, x: n.quantize(x, -0.1)),
    "3 scales along axis 0 of shape [5, 4, 3, 3]": lambda: layer(
        lambda n, x: n.node("Conv", x, n.weights(np.ones((5, 4, 3, 3)), [1.0, 2.0, 3.0]))
    ),
    "rounding mode 'NEAREST' is not known": lambda: plain(lambda n, x: n.quant(x, 0.1, 4, rounding_mode="NEAREST")),
    "its zero point 0.5 is no integer": lambda: plain(lambda n, x: n.quant(x, 0.1, 4, zero=0.5)),
    "a bit width of 33": lambda: plain(lambda n, x: n.quant(x, 0.1, 33)),
    "codes -256 to 255 are wider than 8 bits": lambda: plain(lambda n, x: n.quant(x, 0.1, 9)),
    "a quantizer with a single code": lambda: plain(lambda n, x: n.quant(x, 0.1, 1, narrow=1)),
    "accumulators reach": lambda: layer(
        lambda n, x: n.bipolar(n.node("MatMul", x, n.weights(np.full((140000, 1), 127), 1.0))), 140000
    ),
    "cannot be followed by a quantizer to binary": lambda: layer(lambda n, x: n.bipolar(n.node("Sigmoid", x))),
    "a quantizer clamped to 5.0..5.0": lambda: plain(lambda n, x: n.clipped(x, 0.1, 5, 5)),
    # Operators and attributes.
    "mode bilinear": lambda: layer(lambda n, x: n.node("Resize", x, "", n.constant([1, 1, 2, 2]), mode="bilinear")),
    "coordinate_transformation_mode tf_crop_and_resize": lambda: layer(
        lambda n, x: n.node(
            "Resize",
            x,
            n.constant([0, 0, 0.2, 0.2, 1, 1, 0.8, 0.8]),
            n.constant([1, 1, 0.5, 0.5]),
            mode="linear",
            coordinate_transformation_mode="tf_crop_and_resize",
        )
    ),
    "a query to which every key is hidden": lambda: plain(
        lambda n, x: n.node("Attention", x, x, x, n.constant(np.eye(6, k=9), "bool")), 1, 4, 6, 5
    ),
    "its attribute softcap": lambda: plain(lambda n, x: n.node("Attention", x, x, x, softcap=2.0)),
    "a quotient of integers": lambda: quotient_of_integers(),
    "operator RNN is not supported": lambda: layer(lambda n, x: n.node("RNN", x)),
    "a reset gate in front of the recurrent product": lambda: plain(
        lambda n, x: n.node("GRU", x, weights_of(n, 1, 9, 5), weights_of(n, 1, 9, 3), hidden_size=3), 4, 1, 5
    ),
    "operator ConvInteger is not supported": lambda: layer(lambda n, x: n.node("ConvInteger", x, kernel(n))),
    f"operator FloatQuant of domain '{QONNX}' is not supported": lambda: layer(
        lambda n, x: n.node("FloatQuant", x, domain=QONNX)
    ),
    "a pool over [1, 8]": lambda: layer(lambda n, x: n.node("MaxPool", x, kernel_shape=[3]), 8),
    "a dilated pool": lambda: layer(lambda n, x: n.node("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2])),
    "padded by (0, 1) rows": lambda: layer(
        lambda n, x: q(n, n.node("AveragePool", x, kernel_shape=[3, 3], pads=[0, 0, 1, 0]))
    ),
    "mode 'fold' is not supported": lambda: layer(
        lambda n, x: n.node("Pad", x, n.constant([0, 0, 1, 1, 0, 0, 1, 1], "int64"), mode="fold")
    ),
    "ceil_mode together with count_include_pad": lambda: layer(
        lambda n, x: n.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1)
    ),
    "windows of [2, 2, 2] over [1, 4, 6, 5, 3]": lambda: layer(
        lambda n, x: n.node("MaxPool", x, kernel_shape=[2, 2, 2]), *IMAGE, 3
    ),
    "an empty result": lambda: layer(lambda n, x: n.node("Slice", x, *(n.constant([v], "int64") for v in (3, 3, 1)))),
    "positions [9] of 4 elements": lambda: layer(lambda n, x: n.node("Gather", x, n.constant([9], "int64"), axis=1)),
    "do not fit together": lambda: plain(lambda n, x: n.node("Add", x, n.constant(np.ones(7)))),
    "it is in training mode": lambda: layer(
        lambda n, x: n.node("BatchNormalization", x, *(n.constant(np.ones(4)) for _ in range(4)), training_mode=1)
    ),
    "its shape, input 1 ('x'), is computed at run time": lambda: plain(
        lambda n, x: n.node("Reshape", n.quantize(x, 0.1), x)
    ),
    # Damage.
    "4 filters of 4 channels in 2 groups over 4 channels": lambda: layer(
        lambda n, x: n.node("Conv", x, weights_of(n, 4, 4, 3, 3), group=2)
    ),
    "does not fit [6, 5]": lambda: layer(lambda n, x: n.node("Conv", x, weights_of(n, 5, 4, 7, 7))),
    "a bias of 3 elements for 5 channels": lambda: layer(
        lambda n, x: n.node("Conv", x, kernel(n), n.constant(np.ones(3)))
    ),
    "cannot be reshaped": lambda: layer(lambda n, x: n.node("Reshape", x, n.constant([7, 2], "int64"))),
    "shape [-1, 7]": lambda: layer(lambda n, x: n.node("Reshape", x, n.constant([-1, 7], "int64"))),
    "does not permute 4 dimensions": lambda: layer(lambda n, x: n.node("Transpose", x, perm=[0, 1, 1, 2])),
    "axis 9 of 4 dimensions": lambda: layer(lambda n, x: n.node("Concat", x, x, axis=9)),
    "its attribute 'axis' is missing": lambda: layer(lambda n, x: n.node("Concat", x, x)),
    "7 weights over [1, 120]": lambda: layer(
        lambda n, x: n.node("MatMul", n.node("Flatten", x), weights_of(n, 7, 3, axis=1))
    ),
    "is written by no earlier operator": lambda: layer(lambda n, x: n.node("Relu", "nowhere")),
    "is an output that no operator writes": lambda: unread().content("nothing"),
    "is not static and positive": lambda: plain(lambda n, x: n.quantize(x, 0.1), 1, 4, "rows", 5),
    "has a variance that is not positive": lambda: layer(
        lambda n, x: n.node("BatchNormalization", x, *(n.constant(v * np.ones(4)) for v in (1, 0, 0, -1)))
    ),
    "its input 0 ('') is missing": lambda: layer(lambda n, x: n.node("Relu", "")),
    "2 pads for 4 dimensions": lambda: layer(lambda n, x: n.node("Pad", x, n.constant([1, 1], "int64"))),
}


def q_of_constant() -> bytes:
    net = OnnxNet()
    net.input(1, 3, name="x")
    return net.content(net.quantize(net.input(1, 3, name="y"), 0.1))


def given_twice() -> bytes:
    net = OnnxNet()
    y = net.node("Relu", net.input(1, 3))
    return net.content(y, y)


def of_integers() -> bytes:
    net = OnnxNet()
    return net.content(net.node("Relu", net.input(1, 3, dtype=TensorProto.INT32, name="codes")))


def quotient_of_integers() -> bytes:
    net = OnnxNet()
    x = net.input(1, 3, dtype=TensorProto.INT32)
    return net.content(net.node("Div", x, net.constant([2], "int32")))


def unread() -> OnnxNet:
    net = OnnxNet()
    net.quantize(net.input(1, 3), 0.1)
    return net


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    content = REFUSED[reason]()
    with pytest.raises((ModelError, UnsupportedError)) as refusal:
        read_onnx(content, where="net.onnx")
    assert reason in str(refusal.value)
    assert refusal.value.where.startswith("net.onnx: ")


def test_message_names_the_node() -> None:
    with pytest.raises(UnsupportedError) as refusal:
        read_onnx(REFUSED["its input 0 ('x') is a float that nothing quantizes"](), where="net.onnx")
    text = str(refusal.value)
    assert "Tan 'first' (x [1,4,6,5] -> tan_0)" in text
    assert "as a table of codes" in refusal.value.fix


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("ConvInteger", "quantize_static"),
        ("DynamicQuantizeLinear", "--calibration"),
        ("NonMaxSuppression", "extract_model"),
        ("RNN", "recurrent"),
        ("Unheard", "operators.md"),
    ],
)
def test_operators_that_are_not_read_say_what_to_do(kind: str, fix: str) -> None:
    with pytest.raises(UnsupportedError, match=f"operator {kind} is not supported") as refusal:
        read_onnx(plain(lambda n, x: n.node(kind, x)))
    assert fix in refusal.value.fix or (fix == "recurrent" and "over time" in refusal.value.fix)
    assert "extract_model" not in refusal.value.fix or "['x']" in refusal.value.fix


def test_batch_without_a_size_is_one() -> None:
    graph = read_onnx(plain(lambda n, x: n.quantize(x, 0.1), "batch", 7))
    assert graph.tensors[graph.inputs[0]].shape == (1, 7)


def test_integer_input() -> None:
    """Codes come in as they are; uint8 is 128 less."""
    net = OnnxNet()
    x = net.input(1, 7, dtype=TensorProto.UINT8)
    graph = read_onnx(net.content(net.node("DequantizeLinear", x, net.constant(0.1), net.constant(100, "uint8"))))
    tensor = graph.tensors[graph.inputs[0]]
    assert (tensor.dtype, tensor.zero_point, graph.ops) == (np.int8, -28, ())


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b"not a model at all"])
def test_no_model(content: bytes) -> None:
    with pytest.raises(ModelError):
        read_onnx(content)


def test_load_by_suffix(tmp_path: Path) -> None:
    path = tmp_path / "Key-word.onnx"
    path.write_bytes(conv_net("int8", 0, True))
    assert load_model(path).name == "key_word"
    assert load_model(path, "kws").name == "kws"
    with pytest.raises(UnsupportedError, match=r"\.tflite, \.onnx"):
        load_model(path.rename(tmp_path / "net.h5"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    with pytest.raises(TinygenError, match="which is not installed") as refusal:
        load_model(path)
    assert "tinygen[onnx]" in refusal.value.fix


def outcome(content: bytes) -> str:
    """ "error" for a TinygenError, "fine" for a model that goes all the way to a program."""
    try:
        graph = simplify(read_onnx(content))
        if sum(node.op.macs(node) for node in graph.nodes()) < 1 << 27:
            lower(graph, isa=("c99", "dsp"))
    except TinygenError as error:
        assert error.what and error.where
        return "error"
    return "fine"


def run_mutations(models: list[bytes], count: int) -> Counter[str]:
    results: Counter[str] = Counter()
    for seed in range(count):
        rng = random.Random(seed)
        data = bytearray(rng.choice(models))
        for _ in range(rng.choice([1, 2, 4, 8])):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        with np.errstate(all="ignore"):
            results[outcome(bytes(data[: rng.randrange(len(data))] if seed % 10 == 0 else data))] += 1
    return results


def test_mutations() -> None:
    """Damaged bytes: an error of ours or a model, never a traceback."""
    results = run_mutations([conv_net("int8", 0, True), mixed_net()], 32)
    print(dict(results))
    assert results["error"] > 8


@pytest.mark.long
def test_many_mutations() -> None:
    results = run_mutations([conv_net("int8", 0, True), conv_net("uint8", 128, False), mixed_net()], 1000)
    print(dict(results))
    assert results["error"] > 200
