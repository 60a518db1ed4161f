"""A tensor: a name, a shape, an encoding, and its codes when it is a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir.encodings import Affine, Encoding, Float32

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One value of the graph.

    Attributes:
        name: unique in its graph.
        shape: static shape; activations NHWC, convolution weights OHWI.
        encoding: what the codes stand for.
        data: the codes, for constants; None for what is computed at run time.
    """

    name: str
    shape: Shape
    encoding: Encoding
    data: np.ndarray | None = field(default=None, repr=False)

    @property
    def dtype(self) -> np.dtype:
        return self.encoding.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_float(self) -> bool:
        return isinstance(self.encoding, Float32)

    @property
    def affine(self) -> Affine:
        """The encoding, known to be affine.

        Raises:
            TypeError: it is not; operators check encodings before they ask.
        """
        if not isinstance(self.encoding, Affine):
            raise TypeError(f"{self.name} is {self.encoding}, not affine")
        return self.encoding

    @property
    def scale(self) -> float:
        """The per-tensor scale of an affine tensor."""
        return self.affine.scale[0]

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point of an affine tensor."""
        return self.affine.zero_point[0]

    def describe(self) -> str:
        """`int8 [1,49,10,1]`, for messages and comments in the C."""
        return f"{self.dtype.name} [{','.join(map(str, self.shape))}]"
