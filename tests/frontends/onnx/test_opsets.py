"""Opsets 10 to 24: operators whose attributes became inputs, or whose meaning changed, beside ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.onnx_models import OnnxNet, _session
from tinygen.frontends.onnx.file import read_model
from tinygen.ir.interpreter import evaluate

SHAPE = (1, 4, 6, 5)


class Writer(OnnxNet):
    """A model of one opset; `since` is the opset in which an attribute became an input."""

    def __init__(self, opset: int) -> None:
        super().__init__()
        self.opset = opset

    def listed(self, kind: str, x: str, name: str, values: list[int], since: int, **attributes: Any) -> str:
        if self.opset < since:
            return self.node(kind, x, **{name: values}, **attributes)
        return self.node(kind, x, self.constant(values, "int64"), **attributes)

    def clipped_and_padded(self, x: str) -> str:
        if self.opset < 11:
            return self.node("Pad", self.node("Clip", x, min=-0.7, max=0.9), pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.25)
        x = self.node("Clip", x, self.constant(-0.7), self.constant(0.9))
        return self.node("Pad", x, self.constant([0, 0, 1, 0, 0, 0, 0, 2], "int64"), self.constant(0.25))

    def resized(self, x: str) -> str:
        scales = self.constant([1, 1, 2, 2])
        if self.opset < 11:
            return self.node("Resize", x, scales)
        roi = [self.constant(np.zeros(0))] if self.opset < 13 else [""]
        return self.node(
            "Resize", x, *roi, scales, coordinate_transformation_mode="asymmetric", nearest_mode="floor", mode="nearest"
        )

    def halves(self, x: str) -> list[str]:
        if self.opset < 13:
            return self.several("Split", 2, x, axis=1, split=[1, 3])
        given = {"num_outputs": 2} if self.opset >= 18 else {}
        return self.several("Split", 2, x, axis=1, **given)


def network(opset: int) -> bytes:
    n = Writer(opset)
    x = n.resized(n.clipped_and_padded(n.input(*SHAPE)))
    first, second = n.halves(x)
    total = n.listed("ReduceSum", second, "axes", [1], 13, keepdims=1)
    mean = n.listed("ReduceMean", first, "axes", [1], 18, keepdims=1)
    x = n.node("Mul", total, n.node("Dropout", mean))
    x = n.listed("Unsqueeze", n.listed("Squeeze", x, "axes", [1], 13), "axes", [0], 13)
    x = n.node("Softmax", n.node("Flatten", x, axis=2)) if opset >= 13 else n.node("Softmax", x, axis=2)
    x = n.listed("ReduceMax", n.node("Sqrt", x), "axes", [-1], 18, keepdims=0)
    return n.model(x, opset=opset).SerializeToString()


@pytest.mark.parametrize("opset", range(10, 25))
def test_network(opset: int) -> None:
    content = network(opset)
    model = read_model(content)
    feed = np.random.default_rng(opset).normal(0, 1, SHAPE).astype(np.float32)
    wanted = _session(content).run(None, {"x": feed})[0]
    found = evaluate(model.graph, [model.inputs["x"].to_memory(feed).reshape(model.graph.tensors["x"].shape)])[0]
    assert np.abs(found.reshape(-1) - model.outputs[0].to_memory(wanted).reshape(-1)).max() < 1e-6


def test_weights_behind_identities_and_shape_arithmetic() -> None:
    """Initializers behind Identity, Cast and Constant; a shape computed from the input's own."""
    n = OnnxNet()
    x = n.input("batch", 4, 6, 5)
    weights = n.node("Cast", n.node("Identity", n.constant(np.linspace(-1, 1, 21 * 120).reshape(120, 21))), to=1)
    rows = n.node("Gather", n.node("Shape", x), n.constant([0], "int64"))
    shape = n.node("Concat", rows, n.constant([-1], "int64"), axis=0)
    filled = n.node("ConstantOfShape", n.constant([21], "int64"))
    content = n.content(n.node("Add", n.node("MatMul", n.node("Reshape", x, shape), weights), filled))
    model = read_model(content)
    assert "add" not in [op.KIND for op in model.simplified().ops]
    feed = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    wanted = _session(content).run(None, {"x": feed})[0]
    found = evaluate(model.graph, [model.inputs["x"].to_memory(feed).reshape(1, 6, 5, 4)])[0]
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("opset", [18, 20, 21, 23])
def test_group_normalization(opset: int) -> None:
    """Gain and offset are per group before opset 21, per channel from there on."""
    n = OnnxNet()
    count = 2 if opset < 21 else 4
    gain, offset = np.linspace(0.5, 2, count), np.linspace(-1, 1, count)
    x = n.node("GroupNormalization", n.input(*SHAPE), n.constant(gain), n.constant(offset), num_groups=2)
    model = read_model(n.model(x, opset=opset).SerializeToString())
    feed = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    parts = feed.astype(np.float64).reshape(2, -1)
    rest = (parts - parts.mean(1, keepdims=True)) / np.sqrt(parts.var(1, keepdims=True) + 1e-5)
    gain, offset = (np.repeat(each, 4 // count).reshape(1, 4, 1, 1) for each in (gain, offset))
    wanted = rest.reshape(SHAPE) * gain + offset
    found = evaluate(model.graph, [model.inputs["x"].to_memory(feed).reshape(1, 6, 5, 4)])[0]
    assert np.abs(found - wanted.transpose(0, 2, 3, 1)).max() < 1e-5
