"""Windows of convolutions and pools: ONNX's attributes as arguments of the IR's operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen.frontends.onnx.node import Operator
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Shape

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window over images.

    Attributes:
        kernel, stride, dilation: (rows, columns).
        rows, columns: padded elements (before, after).
        counts_padding: whether averages count padding, so that they always divide by the size of the window.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    rows: Pair
    columns: Pair
    counts_padding: bool = False

    @property
    def is_padded(self) -> bool:
        return any((*self.rows, *self.columns))

    @property
    def reach(self) -> Pair:
        """Rows and columns from a window's first element to behind its last."""
        sides = zip(self.kernel, self.dilation, strict=True)
        height, width = ((taps - 1) * dilation + 1 for taps, dilation in sides)
        return height, width

    def output(self, height: int, width: int) -> Pair:
        """(rows, columns) of the output: positions of the window."""
        sides = zip((height, width), (self.rows, self.columns), self.reach, self.stride, strict=True)
        rows, columns = ((size + sum(pads) - reach) // stride + 1 for size, pads, reach, stride in sides)
        return rows, columns

    def padding(self, height: int, width: int) -> dict[str, Any]:
        """Arguments `padding`, `row_padding` and `column_padding`; the last two only where no rule gives them."""
        if not self.is_padded:
            return {"padding": Padding.VALID}
        sizes = zip((height, width), self.kernel, self.stride, self.dilation, (self.rows, self.columns), strict=True)
        if all(_is_same(*entry) for entry in sizes):
            return {"padding": Padding.SAME}
        return {"padding": Padding.VALID, "row_padding": self.rows, "column_padding": self.columns}


def _is_same(size: int, kernel: int, stride: int, dilation: int, pads: Pair) -> bool:
    same = axis(size, kernel, stride, dilation, Padding.SAME)
    given = axis(size, kernel, stride, dilation, Padding.VALID, pads)
    return (same.before, same.output) == (given.before, given.output)


def window_of(operator: Operator, kernel: tuple[int, ...], height: int, width: int) -> Window:
    """The window that the attributes strides, dilations, pads, auto_pad and ceil_mode describe.

    A window of one dimension is that over an image one row high.
    """
    operator.require(len(kernel) in (1, 2), f"a window of {len(kernel)} dimensions", "tinygen has windows of two.")
    rank = len(kernel)
    stride, dilation = operator.integers_of("strides", (1,) * rank), operator.integers_of("dilations", (1,) * rank)
    operator.damaged(len(stride) != rank or len(dilation) != rank, f"strides {stride}, dilations {dilation}")
    operator.damaged(min(*kernel, *stride, *dilation) < 1, f"window {kernel}, strides {stride}, dilations {dilation}")
    pads = operator.integers_of("pads", (0,) * (2 * rank))
    operator.damaged(len(pads) != 2 * rank or min(pads) < 0, f"pads {list(pads)}")
    kernel, stride, dilation = (((1,) * (2 - rank) + sizes) for sizes in (kernel, stride, dilation))
    auto = operator.attribute("auto_pad", "NOTSET")
    rows = (pads[0], pads[2]) if rank == 2 else (0, 0)
    columns = (pads[1], pads[3]) if rank == 2 else (pads[0], pads[1])
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        rows = _same(height, kernel[0], stride[0], dilation[0], auto == "SAME_LOWER")
        columns = _same(width, kernel[1], stride[1], dilation[1], auto == "SAME_LOWER")
    elif auto == "VALID":
        rows = columns = (0, 0)
    if operator.attribute("ceil_mode", 0):
        rows = _ceiled(height, kernel[0], stride[0], dilation[0], rows)
        columns = _ceiled(width, kernel[1], stride[1], dilation[1], columns)
    return Window(
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (dilation[0], dilation[1]),
        rows,
        columns,
        bool(operator.attribute("count_include_pad", 0)),
    )


def _same(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> Pair:
    geometry = axis(size, kernel, stride, dilation, Padding.SAME)
    total = max((geometry.output - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def _ceiled(size: int, kernel: int, stride: int, dilation: int, pads: Pair) -> Pair:
    """(before, after) with ceil_mode: enough padding for a last window that is not full but begins within the input."""
    before, after = pads
    reach = (kernel - 1) * dilation + 1
    steps = -(-(size + before + after - reach) // stride)
    if steps * stride >= size + before:
        steps -= 1
    return before, max(steps * stride + reach - size - before, 0)


def check_filters(operator: Operator, weights: Shape, channels: int) -> None:
    """Raises ModelError unless weights [filters, depth, ...] fit channels in groups, and `kernel_shape`."""
    groups = int(operator.attribute("group", 1))
    filters, depth = weights[:2]
    fits = groups > 0 and depth * groups == channels and filters % max(groups, 1) == 0
    operator.damaged(not fits, f"{filters} filters of {depth} channels in {groups} groups over {channels} channels")
    kernel = weights[2:]
    stated = operator.integers_of("kernel_shape", kernel)
    operator.damaged(stated != kernel, f"kernel_shape {list(stated)} of weights {list(kernel)}")


def check_fits(operator: Operator, window: Window, height: int, width: int) -> None:
    """Raises ModelError if the window has no position in the padded image."""
    kernel, size = (list(sides) if sides[0] != 1 else list(sides[1:]) for sides in (window.kernel, (height, width)))
    operator.damaged(min(window.output(height, width)) < 1, f"a window of {kernel} does not fit {size}")
