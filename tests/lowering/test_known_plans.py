"""Plans are kept by what a layer means, and no longer than there is room."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.integer_layers import INT32, TERNARY, levels
from tinygen.ir.encodings import Encoding
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.tensor import Tensor
from tinygen.lowering.known_plans import KnownPlans, layer_key
from tinygen.lowering.plan import Constant, Kernel, KernelPlan
from tinygen.lowering.select import choose


class Counting:
    """A kernel that counts how often it is asked for plans, of `size` bytes each."""

    def __init__(self, size: int = 0) -> None:
        self.asked = 0
        self._constants = (Constant("weights", np.zeros(size, np.int8)),)
        self.kernel = Kernel(name="counting", ops=(Conv2D,), family="tinygen", isa="c99", plan=self._plan)

    def _plan(self, node: Node) -> KernelPlan:
        self.asked += 1
        return KernelPlan("none", constants=self._constants)


def node(seed: int = 0, y: Encoding = INT32) -> Node:
    graph = layers.conv("m", (4, 5, 3), 6, (2, 2), x=levels(4), w=TERNARY, y=y, seed=seed).graph
    return graph.node(graph.ops[0])


def changed(one: Node, index: int, **values: Any) -> Node:
    """With another tensor among the inputs."""
    inputs = [replace(t, **values) if t and i == index else t for i, t in enumerate(one.inputs)]
    return Node(one.op, tuple(inputs), one.outputs)


def test_asked_once() -> None:
    """The same layer of another graph, whose arrays are others, is the same layer."""
    known, counting = KnownPlans(), Counting()
    plans = [known.variants(counting.kernel, one, layer_key(one)) for one in (node(), node())]
    assert counting.asked == 1 and plans[0] is plans[1]
    other = Counting()
    known.variants(other.kernel, node(), layer_key(node()))
    assert other.asked == 1


def test_other_layers() -> None:
    """One code, one bit of the output's range, one name: any difference is another layer."""
    one = node()
    weights = one.input(1).data
    assert weights is not None
    turned = weights.copy()
    turned.reshape(-1)[0] = 1 - turned.reshape(-1)[0]
    others = [
        changed(one, 1, data=turned),
        changed(one, 1, data=weights.reshape(-1).reshape(weights.shape[::-1])),
        node(y=levels(4)),
        node(seed=1),
        Node(replace(one.op, name="another"), one.inputs, one.outputs),
    ]
    keys = {layer_key(other) for other in (one, *others)}
    assert len(keys) == 1 + len(others)


@pytest.mark.parametrize("name", [field.name for field in fields(Tensor)])
def test_every_field_counts(name: str) -> None:
    """Those that tensors will get one day, too."""
    values: dict[str, Any] = {
        "name": "other",
        "shape": (1, 1),
        "encoding": levels(3),
        "data": np.zeros(3, np.uint8),
        "nested_in": np.zeros(3, np.uint8),
        "code_bits": 4,
    }
    assert layer_key(changed(node(), 0, **{name: values[name]})) != layer_key(node())


def test_the_oldest_are_forgotten() -> None:
    known, counting = KnownPlans(limit_bytes=250), Counting(size=100)
    for seed in (0, 1, 0, 2, 0):  # the third takes the place of 1, which was not asked for again
        known.variants(counting.kernel, node(seed), layer_key(node(seed)))
    assert counting.asked == 3
    known.variants(counting.kernel, node(1), layer_key(node(1)))
    assert counting.asked == 4
    large = Counting(size=1000)
    for _ in range(2):
        known.variants(large.kernel, node(), layer_key(node()))
    assert large.asked == 1, "one layer is kept, whatever it takes"


def test_what_cannot_be_told_is_asked_again() -> None:
    known, counting, one = KnownPlans(), Counting(), node()
    odd = Node(replace(one.op, inputs=["x", "w"]), one.inputs, one.outputs)  # type: ignore[arg-type]
    assert layer_key(odd) is None
    for _ in range(2):
        known.variants(counting.kernel, odd, None)
    assert counting.asked == 2


def test_graphs_that_are_alike_have_the_same_plans() -> None:
    def chosen(graph: Graph) -> KernelPlan:
        return choose(graph.node(graph.ops[0]), "tinygen", ("c99", "dsp")).fastest

    first, second = (layers.conv("m", (6, 7, 8), 5, (3, 3), x=levels(4), w=TERNARY, y=INT32).graph for _ in range(2))
    assert chosen(first) is chosen(second)
