"""Which tensors share a place, when a kernel may write where it reads."""

from __future__ import annotations

import pytest

from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.pad import Pad
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lifetimes import assign_slots
from tinygen.lowering.plan import KernelPlan

ENCODING = Affine("int8", (0.5,), (0,))
ON_THE_FIRST = KernelPlan(template="any", inplace=((0, 0),))
ON_BOTH = KernelPlan(template="any", inplace=((0, 0), (1, 0)))


def _tensors(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: Tensor(name, shape, ENCODING) for name, shape in shapes.items()}


@pytest.mark.parametrize(("after", "together"), [(0, True), (2, False)])
def test_an_output_takes_the_place_of_an_input_that_is_as_large(after: int, together: bool) -> None:
    tensors = _tensors(x=(1, 4), y=(1, 4 + after))
    op = Pad(name="pad", inputs=("x",), outputs=("y",), paddings=((0, 0), (0, after)), value=0)
    graph = Graph("g", tensors, (op,), ("x",), ("y",))
    graph.validate()
    slots, places = assign_slots(graph, [ON_THE_FIRST])
    assert (places["x"].slot is places["y"].slot) == together == (len(slots) == 1)
    assert places["y"].slot.size >= 4 + after


@pytest.mark.parametrize("read_later", [False, True])
def test_an_input_that_is_read_later_keeps_its_place(read_later: bool) -> None:
    ops = (
        Add(name="first", inputs=("a", "b"), outputs=("y",)),
        Add(name="second", inputs=("y", "a" if read_later else "y"), outputs=("z",)),
    )
    graph = Graph("g", _tensors(a=(1, 4), b=(1, 4), y=(1, 4), z=(1, 4)), ops, ("a", "b"), ("z",))
    graph.validate()
    _, places = assign_slots(graph, [ON_BOTH, ON_BOTH])
    assert places["y"].slot is places["b" if read_later else "a"].slot
