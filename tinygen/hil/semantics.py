"""Expected outputs of a firmware: the integer semantics of the model in its build directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tinygen.builds.compare import Mismatch, correct, decision_threshold, differing
from tinygen.builds.kept_model import read_kept_model
from tinygen.builds.library import library_semantics
from tinygen.builds.manifest import ProgramEntry, read_manifest
from tinygen.ir.graph import Graph
from tinygen.ir.paths import PathStream, trace, writers
from tinygen.ir.thresholds import network_with_thresholds
from tinygen.passes.pipeline import simplify


class Semantics:
    """The expected outputs of one switch; layers that call a vendor's library follow that library's arithmetic.

    Args:
        graph: of the model as it was read.
        program: what the manifest says of the switch.
    """

    def __init__(self, graph: Graph, program: ProgramEntry) -> None:
        self.graph = graph
        self._library = library_semantics(graph, program)
        self._stream = self._library or PathStream(graph)
        self._threshold = decision_threshold(graph)

    def outputs(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the codes of each model output, continuing with the states from the last call."""
        return self._stream.step(sample)

    @property
    def path(self) -> dict[str, int]:
        """The branches that the last call of `outputs` ran, by operator."""
        return dict(self._stream.path)

    def reset(self) -> None:
        """Resets the states: the next inference is the first."""
        self._stream.reset()

    def first_output(self, index: int, wanted: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> Mismatch | None:
        """The first output that differs; for a later inference of a stream, no layer can be named.

        Args:
            index: of the sample, for the result.
            wanted: what `outputs` gave for it.
            outputs: of the device.
        """
        for name, ours, theirs in zip(self.graph.outputs, wanted, outputs, strict=True):
            element = differing(ours, theirs)
            if element is not None:
                values = ours[element].item(), theirs.reshape(ours.shape)[element].item()
                return Mismatch(index, "", name, element, values)
        return None

    def is_right(self, outputs: Sequence[np.ndarray], label: int) -> bool:
        """Whether a classifier's answer is the label."""
        return correct(outputs[0], label, self._threshold)

    def first_difference(
        self, index: int, sample: Sequence[np.ndarray], theirs: Mapping[str, np.ndarray]
    ) -> Mismatch | None:
        """The first layer whose codes differ, for a first inference of a stream; None if everything comparable agrees.

        Args:
            index: of the sample, for the result.
            sample: the inputs.
            theirs: codes by tensor, of the simplified graph, as a device has them.
        """
        graph = simplify(self.graph)
        ours = self._library.tensors(sample) if self._library else trace(graph, sample).values
        for name, writer in writers(graph):
            if name in theirs and name in ours:
                element = differing(ours[name], theirs[name])
                if element is not None:
                    found = theirs[name].reshape(ours[name].shape)[element]
                    return Mismatch(index, writer, name, element, (ours[name][element].item(), found.item()))
        return None


def semantics_of(folder: Path, switch: str | None, thresholds: Mapping[str, int] = MappingProxyType({})) -> Semantics:
    """The expected outputs of a build directory's firmware, for one switch and these thresholds.

    Raises:
        TinygenError: the directory keeps no model, or there is no such switch or threshold.
    """
    manifest = read_manifest(folder)
    network = network_with_thresholds(read_kept_model(folder, manifest), thresholds)
    graph = network.first if switch is None else network.switch(switch).graph
    return Semantics(graph, manifest.section(switch))
