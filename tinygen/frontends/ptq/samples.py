"""Calibration inputs from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.arrays import input_names, read_arrays
from tinygen.frontends.layouts import Layout, Rows
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Tensor

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Noise:
    """Calibration inputs to try a model with: standard normal numbers; integers are 0 or 1."""

    count: int = 2

    def samples(self, graph: Graph) -> list[Sample]:
        rng = np.random.default_rng(0)
        tensors = [graph.tensors[name] for name in graph.inputs]
        return [[_noise(rng, tensor) for tensor in tensors] for _ in range(self.count)]


def _noise(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    drawn = rng.standard_normal(tensor.shape) if tensor.is_float else rng.integers(0, 2, tensor.shape)
    return drawn.astype(tensor.dtype)


def read_samples(path: Path | Noise, graph: Graph, native: Mapping[str, Layout], layout: Layout | None) -> list[Sample]:
    """Samples as the graph takes them, one array per input.

    Args:
        path: .npy or .npz: `x`, or `x0`, `x1`, ..., or arrays named after the inputs; see `Rows.take`.
        graph: its images are NHWC.
        native: layout of each input that is an image, as the model's format has it.
        layout: of images in the file; None: the native one.

    Raises:
        TinygenError: arrays are missing, or do not fit.
    """
    if isinstance(path, Noise):
        return path.samples(graph)
    arrays = read_arrays(path)
    found = []
    for name, key in zip(graph.inputs, input_names(arrays, graph.inputs, str(path)), strict=True):
        stored = graph.tensors[name].shape
        own = native.get(name, Layout.NHWC)
        shape = tuple(stored[axis] for axis in NHWC_TO_NCHW) if own is Layout.NCHW else stored
        rows = Rows(f"input '{name}'", shape, own).take(arrays[key], layout, str(path))
        turned = rows.transpose(0, *(1 + axis for axis in NCHW_TO_NHWC)) if own is Layout.NCHW else rows
        found.append(turned.reshape(len(rows), *stored).astype(graph.tensors[name].dtype))
    counts = {len(rows) for rows in found}
    if len(counts) > 1:
        raise TinygenError(
            f"its arrays have {', '.join(map(str, sorted(counts)))} samples",
            where=str(path),
            fix="Give as many of each.",
        )
    return [[rows[index] for rows in found] for index in range(counts.pop())]
