"""Pixels to the codes of a model's input, and the real values of black and white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.graph import Graph
from tinygen.ir.tensor import Tensor

_USUAL = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
_SLACK = 0.02
"""The ends of an input's range may be so much of it away from black and white: calibration rounds them."""


@dataclass(frozen=True)
class PixelCodes:
    """The conversion of pixels to a model's codes.

    Attributes:
        tensor: its input, (1, height, width, channels).
        black, white: real values.
    """

    tensor: Tensor
    black: float
    white: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        _, height, width, channels = self.tensor.shape
        return height, width, channels

    def codes(self, pixels: np.ndarray) -> np.ndarray:
        """Codes [..., height, width, channels] of uint8 pixels of that shape."""
        values = self.black + np.arange(256) * ((self.white - self.black) / 255)
        if self.tensor.is_float:
            return values.astype(np.float32)[pixels]
        low, high = self.tensor.code_range
        codes = round_half_away(values / self.tensor.scale) + self.tensor.zero_point
        return np.clip(codes, low, high).astype(self.tensor.dtype)[pixels]


def pixel_codes(graph: Graph, given: tuple[float, float] | None = None) -> PixelCodes:
    """The conversion of pixels for a model.

    Args:
        graph: of an image classifier.
        given: real values of black and white; None derives them from the range of the input's codes: 0 to 255, 0 to 1,
            or -1 to 1.

    Raises:
        TinygenError: the model's input is not an image, or its range is none of these.
    """
    tensor = image_input(graph)
    if given is not None:
        return PixelCodes(tensor, *given)
    fix = "Say by --pixels BLACK,WHITE which values it was trained on: --pixels 0,1"
    if tensor.is_float:
        raise TinygenError("takes real values, and does not say which are black and white", where=graph.name, fix=fix)
    low, high = (tensor.scale * (code - tensor.zero_point) for code in tensor.code_range)
    for black, white in _USUAL:
        if max(abs(low - black), abs(high - white)) <= _SLACK * (white - black):
            return PixelCodes(tensor, black, white)
    raise TinygenError(
        f"takes values from {low:.4g} to {high:.4g}, which may mean any pixels", where=graph.name, fix=fix
    )


def image_input(graph: Graph) -> Tensor:
    """The input of an image classifier.

    Raises:
        TinygenError: there are several inputs or outputs, or the input is not an image.
    """
    tensors = [graph.tensors[name] for name in graph.inputs]
    fits = len(tensors) == 1 and len(tensors[0].shape) == 4 and tensors[0].shape[0] == 1
    if not fits or tensors[0].shape[3] not in (1, 3) or not _has_scale(tensors[0]):
        found = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise TinygenError(
            f"takes {found}, which is no image",
            where=graph.name,
            fix="Give a model of one input [1, height, width, 1 or 3], float or with one scale.",
        )
    if len(graph.outputs) != 1:
        raise TinygenError(f"has {len(graph.outputs)} outputs", where=graph.name, fix="Give one that classifies.")
    return tensors[0]


def _has_scale(tensor: Tensor) -> bool:
    return tensor.is_float or (isinstance(tensor.encoding, Affine) and not tensor.encoding.per_channel)
