"""A float graph, and what is known of its quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph


@dataclass(frozen=True)
class FloatModel:
    """A network before it becomes integer.

    Attributes:
        graph: all tensors are Float32. A `Quantize` in it marks where the model itself quantizes: it gives the tensor
            that `activations` has an encoding for.
        activations: encodings of tensors computed at run time.
        weights: encodings of constants whose values lie on a grid already.
    """

    graph: Graph
    activations: Mapping[str, Affine] = field(default_factory=dict)
    weights: Mapping[str, Affine] = field(default_factory=dict)

    @property
    def is_quantized(self) -> bool:
        """Whether the model brings encodings of its own."""
        return bool(self.activations)
