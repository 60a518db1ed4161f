"""Compares two runtimes: how many outputs differ, by how much, and the first mismatch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph

FLOAT_RELATIVE = 1e-5
"""Largest difference of floats that counts as none, as a part of the largest finite value: sums round differently."""


@dataclass
class Mismatch:
    """The first difference between two runtimes.

    Attributes:
        sample: index of the sample.
        layer: operator whose output differs first; "" when only the model's output could be compared.
        tensor: that output's name; "" if the difference is the branch that an operator took.
        element: its index.
        values: (first runtime's, second runtime's) codes.
    """

    sample: int
    layer: str
    tensor: str
    element: tuple[int, ...]
    values: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        return {
            "sample": self.sample,
            "layer": self.layer,
            "tensor": self.tensor,
            "element": list(self.element),
            "values": list(self.values),
        }


@dataclass
class Comparison:
    """Outputs of two runtimes over all samples.

    Attributes:
        first, second: names of the runtimes.
        samples: how many were compared.
        mismatches: how many samples differ anywhere (floats: by more than 1e-5 of the output's range), or ran other
            branches.
        max_abs_diff: largest finite difference, in codes (floats: in real units).
        where: the first mismatch, when there is one.
        switch: that was run; "" if the network has only one.
    """

    first: str
    second: str
    samples: int = 0
    mismatches: int = 0
    max_abs_diff: float = 0.0
    first_bad_sample: int | None = None
    where: Mismatch | None = field(default=None)
    switch: str = ""

    def add(self, sample: int, a: list[np.ndarray], b: list[np.ndarray], *, other_path: bool = False) -> None:
        """Compares one sample's outputs; with `other_path`, other branches ran, which is a mismatch in any case."""
        self.samples += 1
        self.max_abs_diff = max([self.max_abs_diff] + [_largest(x, y) for x, y in zip(a, b, strict=True)])
        if other_path or any(differing(x, y) is not None for x, y in zip(a, b, strict=True)):
            self.mismatches += 1
            if self.first_bad_sample is None:
                self.first_bad_sample = sample

    def as_json(self) -> dict[str, Any]:
        whole = self.max_abs_diff == int(self.max_abs_diff)
        return {
            **({"switch": self.switch} if self.switch else {}),
            "pair": f"{self.first}/{self.second}",
            "samples": self.samples,
            "mismatches": self.mismatches,
            "max_abs_diff": int(self.max_abs_diff) if whole else self.max_abs_diff,
            "first_mismatch": self.where.as_json() if self.where else None,
        }


def differing(a: np.ndarray, b: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first element that differs; None if the arrays are equal."""
    b = b.reshape(a.shape)
    if a.dtype.kind == "f":
        limit = FLOAT_RELATIVE * float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        wrong = ~(_gap(a, b) <= limit) & ~((a == b) | (np.isnan(a) & np.isnan(b)))
    else:
        wrong = a != b
    places = np.argwhere(wrong)
    return tuple(int(i) for i in places[0]) if len(places) else None


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    gap = _gap(a, b.reshape(a.shape))
    return float(np.max(gap, initial=0.0, where=np.isfinite(gap)))


def _gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # two infinities
        return np.abs(a.astype(np.float64) - b.astype(np.float64))


def decision_threshold(graph: Graph) -> float:
    """The code above which a model's only output says class 1: that of 0.5."""
    output = graph.tensors[graph.outputs[0]]
    if isinstance(output.encoding, Affine):
        return 0.5 / output.scale + output.zero_point
    return 0.5


def class_count(graph: Graph) -> int:
    """Number of classes of a classifier: the size of its first output, or two for a single output element."""
    return max(graph.tensors[graph.outputs[0]].size, 2)


def correct(output: np.ndarray, label: int, threshold: float) -> bool:
    """Whether a classifier's output names the label: the largest code, or above `threshold` for one output."""
    flat = output.reshape(-1)
    if flat.size == 1:
        return int(flat[0] > threshold) == label
    return int(np.argmax(flat)) == label
