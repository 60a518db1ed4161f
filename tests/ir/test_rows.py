"""Operators on rows, and windows with padding of their own: what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Float32
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.rows import CopyRows, JoinRows, RowWindow
from tinygen.ir.ops.window import Padding, axis, window_rows
from tinygen.ir.tensor import Shape, Tensor


def graph(op: Op, inputs: dict[str, Shape], output: Shape) -> Graph:
    shapes = inputs | {"y": output}
    tensors = {name: Tensor(name, shape, Float32()) for name, shape in shapes.items()}
    return Graph("rows", tensors, (op,), tuple(inputs), ("y",))


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (3, 2), (0, 0), (4, 1)])
def test_windows_stay_inside(first: int, count: int) -> None:
    op = RowWindow(name="w", inputs=("x",), outputs=("y",), first=first, count=count)
    with pytest.raises(ModelError, match=f"takes {count} rows from row {first} of 4"):
        graph(op, {"x": (1, 4, 2, 3)}, (1, max(count, 1), 2, 3)).validate()


def test_joined_rows_are_of_one_size() -> None:
    op = JoinRows(name="j", inputs=("a", "b"), outputs=("y",))
    graph(op, {"a": (1, 4, 2, 3), "b": (1, 1, 2, 3)}, (1, 5, 2, 3)).validate()
    with pytest.raises(ModelError, match="differ in width"):
        graph(op, {"a": (1, 4, 2, 3), "b": (1, 1, 3, 3)}, (1, 5, 2, 3)).validate()


@pytest.mark.parametrize("shape", [(2, 4, 2, 3), (4, 2, 3)])
def test_rows_are_contiguous_in_one_image_only(shape: Shape) -> None:
    op = CopyRows(name="c", inputs=("x",), outputs=("y",))
    with pytest.raises(UnsupportedError, match="not NHWC of batch 1"):
        graph(op, {"x": shape}, shape).validate()


@pytest.mark.parametrize("padding", [(3, 0), (0, 3), (-1, 0), (0, 0)])
def test_explicit_padding_is_less_than_the_window(padding: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="padded by"):
        axis(2, 3, 1, 1, Padding.SAME, padding)


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (2, 3, 1), (3, 1, 2), (5, 2, 1)]
)
def test_rows_behind_rows(padding: Padding, kernel: int, stride: int, dilation: int) -> None:
    """The rows of a stripe, with its padding, give exactly the windows that the whole axis has there."""
    whole = axis(11, kernel, stride, dilation, padding)
    for first in range(whole.output):
        for end in range(first + 1, whole.output + 1):
            (low, high), explicit = window_rows(whole, first, end)
            part = axis(high - low, kernel, stride, dilation, padding, explicit)
            assert part.output == end - first
            assert part.before - low == whole.before - first * stride
            taps = np.arange(kernel) * dilation + (end - 1) * stride - whole.before
            assert high == min(taps[-1] + 1, 11)
