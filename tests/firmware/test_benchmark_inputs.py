"""Inputs as the benchmark's runner sends them and results as it reads them, for each kind of model, on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.sparse_layers import int8_dense
from tests.targets.wire import Wire
from tinygen.emit import benchmark
from tinygen.emit.model import emit_app_model, emit_model
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.project.firmware import write_firmware_project
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import build_elf, find_toolchain


def firmware(graph: Graph, folder: Path, *, has_db: bool = True) -> Path:
    """The host's program for a graph."""
    program = lower(graph)
    (folder / "model").mkdir()
    for name, text in emit_model(program, "test").files.items():
        (folder / "model" / name).write_text(text)
    (folder / "app_model.c").write_text(emit_app_model(program, "test", "0" * 16, has_db=has_db))
    board = load_board("host")
    return build_elf(write_firmware_project(board, folder), find_toolchain(None, board)).elf


def send(wire: Wire, data: bytes) -> list[float]:
    """The results of one inference on `data`, sent as the runner does."""
    assert wire.ask(f"db load {len(data)}%") == [f"m-[Expecting {len(data)} bytes]"]
    for start in range(0, len(data), 31):
        last = wire.ask(f"db {data[start : start + 31].hex()}%")
    assert last == ["m-load-done"]
    line = wire.ask("infer 2 1%")[-1]
    return [float(value) for value in line.removeprefix("m-results-[").removesuffix("]").split(",")]


def scale_of(graph: Graph, name: str) -> tuple[np.float32, int]:
    encoding = graph.tensors[name].encoding
    assert isinstance(encoding, Affine)
    return np.float32(encoding.scale[0]), encoding.zero_point[0]


def test_autoencoder(tmp_path: Path) -> None:
    """ad01: floats in, quantized by the model's own scale; out comes the mean squared distance."""
    live = np.random.default_rng(1).random((640, 640)) < 0.05
    graph = int8_dense("ad", live).graph
    (x_scale, x_zero), (y_scale, y_zero) = scale_of(graph, "x"), scale_of(graph, "y")
    with Wire([str(firmware(graph, tmp_path))]) as wire:
        wire.reply()
        assert "m-model-[ad01]" in wire.ask("profile%")
        for seed in range(3):
            x = np.random.default_rng(seed).normal(0, 3, 640).astype(np.float32)
            x[:8] = x_scale * np.array([0.5, -0.5, 1.5, 2.4999, -2.5001, 1e9, -1e9, 0.0], np.float32)
            (distance,) = send(wire, x.tobytes())
            steps = (x / x_scale).astype(np.float64)
            nearest = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
            codes = np.clip(nearest + x_zero, -128, 127).astype(np.int8)
            (y,) = evaluate(graph, [codes.reshape(1, 640)])
            assert wire.read(0) == y.tobytes()
            difference = y_scale * (y.reshape(-1).astype(np.float32) - np.float32(y_zero)) - x
            total = np.float32(0)
            for value in difference:
                total += np.float32(value * value)
            assert distance == pytest.approx(float(total / np.float32(640)), rel=1e-6, abs=0.000501)
        x[0] = np.nan
        assert len(send(wire, x.tobytes())) == 1


def test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ic01 and vww01: pixels in, 128 more than the codes; out come the values."""
    monkeypatch.setitem(benchmark._MODELS, "ic01", ((96,), (10,)))
    graph = int8_dense("ic", np.ones((10, 96), bool), zero=-128).graph
    y_scale, y_zero = scale_of(graph, "y")
    with Wire([str(firmware(graph, tmp_path))]) as wire:
        wire.reply()
        assert "m-model-[ic01]" in wire.ask("profile%")
        for seed in range(3):
            pixels = np.random.default_rng(seed).integers(0, 256, 96).astype(np.uint8)
            results = send(wire, pixels.tobytes())
            (y,) = evaluate(graph, [(pixels.astype(np.int16) - 128).astype(np.int8).reshape(1, 96)])
            assert wire.read(0) == y.tobytes()
            assert results == pytest.approx(float(y_scale) * (y.reshape(-1).astype(float) - y_zero), abs=0.000501)


def test_neither_inputs_nor_results(tmp_path: Path) -> None:
    """Inputs for which RAM has no room, and outputs that are not printed."""
    x, y = (Tensor(name, shape, Plain("bool")) for name, shape in (("x", (1, 6)), ("y", (2, 3))))
    layer = Reshape(name="flat", inputs=("x",), outputs=("y",), shape=(2, 3))
    graph = Graph("flags", {"x": x, "y": y}, (layer,), ("x",), ("y",))
    with Wire([str(firmware(graph, tmp_path, has_db=False))]) as wire:
        wire.reply()
        assert "m-model-[flags]" in wire.ask("profile%")
