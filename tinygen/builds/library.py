"""The arithmetic of a vendor's kernels where it differs from LiteRT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tinygen.builds.manifest import ProgramEntry
from tinygen.builds.report import codes_text
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.ir.paths import Path, PathStream, trace
from tinygen.lowering.plan import Arithmetic, registered_kernels
from tinygen.passes.stripe_stage import model_layer


@dataclass
class LayerDifference:
    """Differences of one layer between library and LiteRT, for the same inputs.

    Attributes:
        layer, kernel: names.
        codes: number of codes compared.
        differing: how many of them differ.
        max_abs_diff: largest difference, in codes.
    """

    layer: str
    kernel: str
    codes: int = 0
    differing: int = 0
    max_abs_diff: int = 0

    def add(self, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
        """Compares the results of one inference."""
        for a, b in zip(ours, theirs, strict=True):
            gaps = np.abs(a.astype(np.int64) - b.astype(np.int64))
            self.codes += gaps.size
            self.differing += int(np.count_nonzero(gaps))
            self.max_abs_diff = max(self.max_abs_diff, int(gaps.max(initial=0)))

    def sentence(self) -> str:
        if not self.differing:
            return f"{self.layer} gave LiteRT's codes on these inputs, although it rounds otherwise"
        return (
            f"{self.layer} differs from LiteRT by up to {codes_text(self.max_abs_diff)}, "
            f"in {self.differing:,} of {self.codes:,}"
        )


@dataclass
class LibrarySemantics:
    """The integer semantics, with some layers as the library documents them; a runtime of `verify`.

    Attributes:
        graph: the model as it was read.
        kernels: (kernel's name, its arithmetic) by layer.
        name: of the library: the kernels' family.
        differences: found by `infer` so far, by layer.
    """

    graph: Graph
    kernels: Mapping[str, tuple[str, Arithmetic]]
    name: str = "library"
    differences: dict[str, LayerDifference] = field(init=False)

    def __post_init__(self) -> None:
        self.differences = {layer: LayerDifference(layer, kernel) for layer, (kernel, _) in self.kernels.items()}
        self._meanings = {layer: partial(self._both, layer) for layer in self.kernels}
        self._stream = PathStream(self.graph, self._meanings)

    def infer(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes of each model output; every such layer is also computed as LiteRT does, from the same inputs."""
        return evaluate(self.graph, sample, self._meanings)

    def step(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same, from the states that the last step left."""
        return self._stream.step(sample)

    @property
    def path(self) -> Path:
        """The branches that the last step ran."""
        return self._stream.path

    def reset(self) -> None:
        """Resets the states: the next step is the first."""
        self._stream.reset()

    def tensors(self, sample: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Codes of every tensor."""
        return trace(self.graph, sample, {layer: theirs for layer, (_, theirs) in self.kernels.items()}).values

    def _both(self, layer: str, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = self.kernels[layer][1](node, values)
        self.differences[layer].add(node.op.evaluate(node, values), results)
        return results


def library_semantics(graph: Graph, program: ProgramEntry) -> LibrarySemantics | None:
    """The semantics of a build if some of its layers differ from LiteRT's arithmetic; else None.

    Args:
        graph: the model as it was read.
        program: its entry in the build's manifest.
    """
    known = {kernel.name: kernel for kernel in registered_kernels()}
    layers = {op.name for op in graph.ops}
    kernels: dict[str, tuple[str, Arithmetic]] = {}
    family = ""
    for entry in program.layers:
        kernel = known[entry.kernel]
        layer = entry.name if entry.name in layers else model_layer(entry.name)
        if kernel.arithmetic is not None and layer in layers:
            kernels[layer] = (kernel.name, kernel.arithmetic)
            family = kernel.family  # a build calls one library
    return LibrarySemantics(graph, kernels, family) if kernels else None
