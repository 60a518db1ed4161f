"""A float graph, and the encodings that are known before quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph


@dataclass(frozen=True)
class FloatModel:
    """A float network before it is quantized.

    Attributes:
        graph: all tensors are Float32. A `Quantize` in it marks where the model itself quantizes: `activations` has an
            encoding for its output.
        activations: encodings of tensors computed at run time.
        weights: encodings of constants that have been quantized already.
    """

    graph: Graph
    activations: Mapping[str, Affine] = field(default_factory=dict)
    weights: Mapping[str, Affine] = field(default_factory=dict)

    @property
    def is_quantized(self) -> bool:
        """Whether the model has encodings of its own."""
        return bool(self.activations)
