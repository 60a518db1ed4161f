"""Constants as TensorFlow Lite Micro's compression tool stores them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tests.support.tflm import needs_tflm, run_tflm, tflm_outputs
from tinygen.errors import TinygenError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.verbs.options import BuildOptions
from tinygen.verbs.verify import verify

SHAPE, FILTERS = (1, 5, 5, 3), (8, 3, 3, 3)
_COMPRESS = """
from tflite_micro.tensorflow.lite.micro.compression import compress, spec
for scales, mode in ((1, spec.PerTensor()), (8, spec.PerChannel(0))):
    for bits in range(1, 8):
        found = [spec.Tensor(0, 1, [spec.LookUpTableCompression(bits, mode)])]
        content = open(f"plain_{bits}_{scales}.tflite", "rb").read()
        open(f"packed_{bits}_{scales}.tflite", "wb").write(compress(content, found))
"""


def weights(bits: int) -> np.ndarray:
    """int8 codes, as many different ones as an index of so many bits has; 0 among them."""
    rng = np.random.default_rng(bits)
    values = np.append(rng.choice(np.arange(1, 128), 2**bits - 1, replace=False), 0)
    return rng.permutation(np.resize(values, np.prod(FILTERS))).reshape(FILTERS).astype(np.int8)


def model(codes: np.ndarray, *decode: np.ndarray, scales: int = 1, kept: bool = False) -> bytes:
    """A convolution, its weights as they are, or of these two inputs of a decoder: with their scales, if kept."""
    x, y = TensorSpec(SHAPE, "int8", 0.5, 3, name="x"), TensorSpec((1, 3, 3, 8), "int8", 9.0, -7, name="y")
    scale = np.linspace(0.1, 0.2, scales).astype(np.float32).tolist()
    constant = TensorSpec(FILTERS, "int8", scale, [0] * scales, 0, None if decode else codes, name="w")
    chain = []
    if decode:
        stored = [TensorSpec(part.shape, "uint8", data=part) for part in decode]
        stored[0] = replace(stored[0], scale=scale, zero_point=[0] * scales) if kept else stored[0]
        chain = [ModelSpec(BuiltinOperator.CUSTOM, stored, [constant], custom="TFLM_DECODE")]
    chosen = options("Conv2DOptions", padding=1, strideH=1, strideW=1)
    bias = TensorSpec((8,), "int32", data=np.arange(-4, 4, dtype=np.int32))
    return build_chain([*chain, ModelSpec(BuiltinOperator.CONV_2D, [x, constant, bias], [y], **chosen)])


def read(content: bytes) -> str:
    """The weights that a file's convolution has."""
    graph = read_tflite(content)
    (layer,) = graph.ops
    found = graph.tensors[layer.inputs[1]]
    assert found.data is not None
    return f"{found.encoding} {found.data.tolist()}"


def tables(codes: np.ndarray, bits: int, *, channels: bool = False, axis: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of a decoder: indices, the highest bit first, and the header with a table, or one for each filter."""
    parts = [np.unique(part, return_inverse=True) for part in (codes if channels else codes[None])]
    indices = np.concatenate([part.reshape(-1) for _, part in parts])
    digits = (indices[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    table = np.zeros((len(parts), 2**bits), np.int8)
    for row, (values, _) in zip(table, parts, strict=True):
        row[: len(values)] = values
    header = np.array([0, 1, 0, 0, 1, axis << 4 | bits, 2**bits, *[0] * 9], np.uint8)
    return np.packbits(digits.astype(np.uint8)), np.append(header, table.reshape(-1).view(np.uint8))


def pruned(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    header = np.array([2, 1, 0, 0, 1, *[0] * 11], np.uint8)
    return np.packbits(codes.reshape(-1) != 0), np.append(header, codes[codes != 0].view(np.uint8))


@pytest.mark.parametrize("bits", range(1, 8))
def test_tables(bits: int) -> None:
    codes = weights(bits)
    # Files of 2025 name no axis.
    for axis in (15, 0):
        assert read(model(codes, *tables(codes, bits, axis=axis))) == read(model(codes))
    of_filters = tables(codes, bits, channels=True, axis=0)
    for scales in (1, 8):
        assert read(model(codes, *of_filters, scales=scales)) == read(model(codes, scales=scales))


def test_pruned() -> None:
    codes = weights(2)
    assert read(model(codes, *pruned(codes))) == read(model(codes))


@pytest.mark.parametrize("scales", [1, 8])
def test_scales_of_packed_bytes(scales: int) -> None:
    """The tool leaves those of the weights."""
    codes = weights(3)
    kept = model(codes, *tables(codes, 3), scales=scales, kept=True)
    assert read(kept) == read(model(codes, scales=scales))


def test_through_verify(tmp_path: Path) -> None:
    codes = weights(4)
    (tmp_path / "net.tflite").write_bytes(model(codes, *tables(codes, 4)))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(-128, 128, (4, *SHAPE[1:])).astype(np.int8))
    report = verify(tmp_path / "net.tflite", tmp_path / "x.npy", BuildOptions(board="host"))
    assert report.identical and "LiteRT lacks the operator TFLM_DECODE" in " ".join(report.warnings)


def _changed(place: int, value: int) -> tuple[np.ndarray, np.ndarray]:
    indices, stored = tables(weights(3), 3)
    stored[place] = value
    return indices, stored


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        (_changed(0, 1), "type 1"),
        (_changed(1, 2), "type 0"),
        (_changed(4, 3), "type 0"),
        (_changed(5, 15 << 4), "are too few"),
        (_changed(6, 0), "are too few"),
        (_changed(6, 4), "are too few"),
        (_changed(6, 200), "are too few"),
        ((tables(weights(3), 3)[0][:-1], tables(weights(3), 3)[1]), "are too few"),
        ((tables(weights(3), 3)[0], tables(weights(3), 3)[1][:9]), "type -1"),
        ((pruned(weights(3))[0], pruned(weights(3))[1][:-1]), "are too few"),
        ((pruned(weights(3))[0][:-1], pruned(weights(3))[1]), "are too few"),
    ],
)
def test_damaged(stored: tuple[np.ndarray, np.ndarray], what: str) -> None:
    with pytest.raises(TinygenError) as caught:
        read_tflite(model(weights(3), *stored))
    assert what in caught.value.what and "custom_0" in str(caught.value)


@needs_tflm
def test_as_tflm_decodes_it(tmp_path: Path) -> None:
    """Files that its own tool compressed, and what its runtime computes of them."""
    for bits, scales in product(range(1, 8), (1, 8)):
        (tmp_path / f"plain_{bits}_{scales}.tflite").write_bytes(model(weights(bits), scales=scales))
    run_tflm(_COMPRESS, tmp_path)
    rng = np.random.default_rng(0)
    feeds = [[rng.integers(-128, 128, SHAPE).astype(np.int8)] for _ in range(2)]
    compressed = sorted(tmp_path.glob("packed_*.tflite"))
    assert len(compressed) == 14
    for file in compressed:
        graph = read_tflite(file.read_bytes())
        want = tflm_outputs(file.read_bytes(), feeds, tmp_path)
        assert np.array_equal(np.stack([evaluate(graph, sample)[0] for sample in feeds]), want), file.name
