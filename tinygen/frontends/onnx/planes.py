"""Windows of three dimensions, of which one covers a single element: windows over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.node import Operator
from tinygen.ir.tensor import Shape

_PER_SIDE = ("strides", "dilations", "kernel_shape", "output_padding", "output_shape")


@dataclass(frozen=True)
class Plane:
    """Which dimensions of a value are an image's.

    Attributes:
        operator: with attributes of these dimensions alone.
        dropped: the dimension left out; None for images and signals.
    """

    operator: Operator
    dropped: int | None = None

    def window(self, array: np.ndarray) -> np.ndarray:
        """Weights without the dimension."""
        return array if self.dropped is None else array.squeeze(self.dropped)

    def flat(self, layout: Layout) -> Layout:
        """The layout without the dimension."""
        if self.dropped is None:
            return layout
        shape = layout.shape
        return _viewed(layout, (*shape[: self.dropped], *shape[self.dropped + 1 :]))

    def whole(self, layout: Layout) -> Layout:
        """The layout with the dimension."""
        if self.dropped is None:
            return layout
        shape = layout.shape
        return _viewed(layout, (*shape[: self.dropped], 1, *shape[self.dropped :]))


def _viewed(layout: Layout, shape: Shape) -> Layout:
    found = layout.viewed(shape)
    assert found is not None
    return found


def plane_of(operator: Operator, kernel: Sequence[int]) -> Plane:
    """The plane of the first input's windows.

    Raises:
        UnsupportedError: all three dimensions of a window reach over several elements.
    """
    shape = operator.value(0).shape
    if len(shape) != 5:
        return Plane(operator)
    pads = operator.integers_of("pads", (0,) * 6)
    padded = [len(pads) == 6 and any(pads[side::3]) for side in range(3)]
    single = [side for side in range(3) if shape[2 + side] == 1 == kernel[side] and not padded[side]]
    operator.require(
        bool(single),
        f"windows of {list(kernel)} over {list(shape)}",
        "Of three dimensions, one must have one element: tinygen has two-dimensional windows.",
    )
    side = single[0]
    kept = {**operator.attributes}
    for name, count in (*((name, 3) for name in _PER_SIDE), ("pads", 6)):
        if len(kept.get(name, ())) == count:
            kept[name] = [value for i, value in enumerate(kept[name]) if i % 3 != side]
    return Plane(replace(operator, attributes=kept), 2 + side)
