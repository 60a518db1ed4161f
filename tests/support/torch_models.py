"""PyTorch for the tests: skipped where it is missing, but not in CI; and how a graph is run beside a module."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tinygen.builds.arrays import Reading, fit
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.movement import Transpose


def need(module: str) -> Any:
    """The module, imported when it is used; the test is skipped where it is not installed, and fails in CI.

    To import torchao, scikit-learn and the like takes seconds, and every process of a test run collects all tests.
    """
    if os.environ.get("TINYGEN_CI") != "1" and importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{module} is not installed", allow_module_level=True)
    return _Module(module)


class _Module:
    """Imports the module it stands for when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


def codes_of(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    """Samples of the module's (only) input as the graph takes them."""
    stored = x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    clipped = Reading(clip=True)  # as torch's quantizers do
    return list(fit(np.ascontiguousarray(stored), graph.tensors[graph.inputs[0]], "x", clipped))


def outputs_of(graph: Graph, x: np.ndarray, index: int = 0) -> np.ndarray:
    """Codes of one of the graph's outputs, one row per sample; images as PyTorch has them."""
    rows = np.concatenate([evaluate(graph, [sample])[index] for sample in codes_of(graph, x)])
    return rows.transpose(0, 3, 1, 2) if rows.ndim == 4 else rows


def real_outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    """The same as real values."""
    output, codes = graph.tensors[graph.outputs[0]], outputs_of(graph, x)
    return codes if output.is_float else (codes.astype(np.float64) - output.zero_point) * output.scale


def transposes(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops if isinstance(op, Transpose)]


def kinds(graph: Graph) -> Sequence[str]:
    return [op.KIND for op in graph.ops]


def randomize(module: Any, seed: int = 0) -> Any:
    """Statistics and gains that are not 0 and 1, as training would leave them; in evaluation mode."""
    torch = need("torch")
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            if part.affine:
                part.weight.data.uniform_(0.5, 1.5, generator=generator)
                part.bias.data.normal_(0, 0.5, generator=generator)
    return module.eval()
