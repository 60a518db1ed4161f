"""Sliding windows: output sizes, SAME/VALID padding, patch extraction (TFLite's padding rules)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from tinygen.errors import ModelError

# Far beyond any real window: the padding of a broken file must not exhaust the memory.
_LARGEST_REACH = 0xFFFF


class Padding(Enum):
    """How a window is placed at the border."""

    SAME = "same"
    VALID = "valid"


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a sliding window.

    Attributes:
        input, output: sizes.
        kernel, stride, dilation: of the window.
        before: padded elements before the first (those after the last follow from the sizes).
    """

    input: int
    output: int
    kernel: int
    stride: int
    dilation: int
    before: int

    @property
    def after(self) -> int:
        """Padded elements after the last; never negative."""
        reach = (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        return max(reach - self.before - self.input, 0)

    @property
    def padded(self) -> bool:
        return self.before > 0 or self.after > 0


def axis(
    size: int, kernel: int, stride: int, dilation: int, padding: Padding, explicit: tuple[int, int] | None = None
) -> Axis:
    """Geometry of one axis.

    Args:
        size, kernel, stride, dilation: positive.
        padding: the rule, unless `explicit` gives the padded elements (before, after).

    Raises:
        ModelError: the window does not fit or spans too much, or a parameter is not positive.
    """
    reach = (kernel - 1) * dilation + 1
    if min(size, kernel, stride, dilation) < 1 or reach > _LARGEST_REACH:
        raise ModelError(f"window {kernel}, stride {stride}, dilation {dilation} over {size} elements")
    if explicit is not None:
        before, after = explicit
        output = (size + before + after - reach) // stride + 1
        if output < 1 or not (0 <= before < reach and 0 <= after < reach):
            raise ModelError(f"a window of {reach} over {size} elements, padded by {before} and {after}")
        return Axis(size, output, kernel, stride, dilation, before)
    if padding is Padding.SAME:
        output = -(-size // stride)
        total = max((output - 1) * stride + reach - size, 0)
        return Axis(size, output, kernel, stride, dilation, total // 2)
    output = (size - reach) // stride + 1
    if output < 1:
        raise ModelError(f"a window of {reach} does not fit in {size} elements")
    return Axis(size, output, kernel, stride, dilation, 0)


def window_rows(rows: Axis, first: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """((first, end) of the input rows behind output rows `first` to `end` - 1, padding (above, below) them)."""
    low = first * rows.stride - rows.before
    high = (end - 1) * rows.stride - rows.before + (rows.kernel - 1) * rows.dilation + 1
    clipped = (max(low, 0), min(high, rows.input))
    return clipped, (clipped[0] - low, high - clipped[1])


def patches(x: np.ndarray, rows: Axis, columns: Axis, fill: int | float) -> np.ndarray:
    """All windows of [N, H, W, C] as a view [N, OH, OW, KH, KW, C]; elements outside are `fill`."""
    pad = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
    padded = np.pad(x, pad, constant_values=fill)
    batch, _, _, channels = padded.shape
    s_n, s_h, s_w, s_c = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (batch, rows.output, columns.output, rows.kernel, columns.kernel, channels),
        (
            s_n,
            s_h * rows.stride,
            s_w * columns.stride,
            s_h * rows.dilation,
            s_w * columns.dilation,
            s_c,
        ),
        writeable=False,
    )
