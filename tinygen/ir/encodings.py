"""What real value a tensor's codes stand for (DESIGN.md, "Values and encodings")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Float32:
    """IEEE single precision; a code stands for itself."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __str__(self) -> str:
        return "float32"


@dataclass(frozen=True)
class Affine:
    """real = scale * (code - zero_point), per tensor or per channel (TFLite's rules).

    Attributes:
        storage: NumPy name of the code's type: "int8", "int16", "int32", "int64" or "uint8".
        scale: one value, or one per channel. Exact float32 values held as Python floats.
        zero_point: as many as scales.
        axis: the channel axis when there is one scale per channel, else None.
    """

    storage: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage)

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    def __str__(self) -> str:
        if self.per_channel:
            return f"{self.storage} per-channel x{len(self.scale)}"
        return f"{self.storage} scale {self.scale[0]:.6g} zero {self.zero_point[0]}"


@dataclass(frozen=True)
class Plain:
    """Integers or booleans that stand for themselves: shapes, indices, positions."""

    storage: str

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.storage)

    def __str__(self) -> str:
        return self.storage


Encoding = Float32 | Affine | Plain
