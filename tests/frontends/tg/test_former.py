"""Files that earlier versions wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygen.frontends.tg import load_tg, read_tg, write_tg
from tinygen.ir.epilogue import Rescale, Tflite
from tinygen.ir.fixed_point import Activation, Rounding
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.pool_2d import AveragePool2D, MaxPool2D

LAYERS = Path(__file__).parent / "former" / "layers.tg"
"""Six layers: a convolution, a depthwise and a transposed one and a dense layer of TFLite, a convolution of codes with
kernel scales, and a dense one without an epilogue; beside it inputs, and the outputs that were computed then."""
POOLS = LAYERS.with_name("pools.tg")
"""Five pools of one input, two of TFLite and three of codes; the same beside it."""


def test_layers() -> None:
    graph = load_tg(LAYERS, "m")
    endings = {op.name: op.epilogue for op in graph.ops}  # type: ignore[attr-defined]
    assert isinstance(endings.pop("codes"), Rescale)
    assert endings == {
        "conv": Tflite(Activation.RELU6, Rounding.UPWARDS),
        "depthwise": Tflite(Activation.RELU, None, 5),
        "transposed": Tflite(),
        "sums": None,
        "dense": Tflite(rounding=Rounding.UPWARDS),
    }
    known = np.load(LAYERS.with_suffix(".npz"))
    for x, first, second in zip(known["x"], known["f"], known["y"], strict=True):
        sums, codes = evaluate(graph, [x])
        assert np.array_equal(sums, first) and np.array_equal(codes, second)
    assert read_tg(write_tg(graph), "m").ops == graph.ops


def test_pools() -> None:
    graph = load_tg(POOLS, "m")
    mean, largest, either, sums, codes = graph.ops
    assert isinstance(mean, AveragePool2D) and mean.epilogue == Tflite(Activation.RELU)
    assert isinstance(largest, MaxPool2D) and largest.activation is Activation.RELU6
    assert isinstance(either, MaxPool2D) and either.sign == (1, -1, 1)
    assert isinstance(sums, AveragePool2D) and sums.epilogue is None
    assert isinstance(codes, AveragePool2D) and isinstance(codes.epilogue, Rescale)
    known = np.load(POOLS.with_suffix(".npz"))
    for index, x in enumerate(known["x"]):
        outputs = evaluate(graph, [x])
        assert all(np.array_equal(known[name][index], y) for name, y in zip(graph.outputs, outputs, strict=True))
    assert read_tg(write_tg(graph), "m").ops == graph.ops
