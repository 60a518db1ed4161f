"""torch.cond, as torch.export writes it: float graphs as torch, int8 graphs as their C; what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tinygen
from tests.support.differential import compare_code
from tinygen.errors import UnsupportedError
from tinygen.frontends.ptq.branches import threshold_codes
from tinygen.ir.branch import Branch, all_graphs
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.paths import path_of
from tinygen.passes.pipeline import simplify

torch.set_num_threads(1)
SHAPE = (1, 3, 6, 6)
VALUES = (0.0, 0.1, 0.5, -0.1, 1e9, -1e9)
Branches = Callable[[Tensor], Tensor]


def cond(holds: Tensor, true: Branches, false: Branches, x: Tensor) -> Tensor:
    """torch.cond while it is exported; an `if` else: torch compiles conditions that run eagerly, for seconds."""
    if torch.compiler.is_exporting():
        return torch.cond(holds, true, false, (x,))
    return true(x) if bool(holds) else false(x)


class Gated(nn.Module):
    """A layer, a condition on what it gives, and two branches.

    Args:
        condition: of the layer's output, [1, 4, 6, 6].
        nested: whether the branch that is taken when the condition holds has another one in it.
    """

    def __init__(self, condition: Callable[[Tensor], Tensor], *, nested: bool = False) -> None:
        super().__init__()
        self.condition, self.nested = condition, nested
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.stem(x))
        y = cond(self.condition(y), self.deep, lambda y: y.clone(), y)
        return self.head(y.mean((2, 3)))

    def deep(self, y: Tensor) -> Tensor:
        z = torch.relu(self.first(y)) + y
        if not self.nested:
            return z
        return cond(z.amax() > 2.7, lambda z: torch.relu(self.second(z)), lambda z: z * 0.5, z)


def mean_above(y: Tensor) -> Tensor:
    return y.mean() > 0.34


CASES: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "mean": (mean_above, False),
    "largest": (lambda y: y.mean((2, 3)).amax(1) >= 0.4, False),
    "smallest": (lambda y: y.mean((2, 3)).min() < 0.12, False),
    "two": (lambda y: (y[:, :1].amax() <= y[:, 1:2].amax()).reshape(1), False),
    "nested": (mean_above, True),
}

MORE = ("mean", "largest", "smallest")


def _module(name: str) -> Gated:
    torch.manual_seed(3)
    condition, nested = CASES[name]
    return Gated(condition, nested=nested).eval()


def _samples(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, *SHAPE[1:], generator=generator) * torch.linspace(0.2, 2.2, count)[:, None, None, None]


def _nhwc(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", ["nested", *(pytest.param(n, marks=pytest.mark.long) for n in ("two", *MORE))])
def test_float_graphs_give_what_torch_gives(name: str) -> None:
    module, samples = _module(name), _samples(24)
    graph = tinygen.export(module, samples[:1], float32=True)
    paths = set()
    for x in samples.split(1):
        feed = [_nhwc(x)]
        np.testing.assert_allclose(evaluate(graph, feed)[0], module(x).detach().numpy(), rtol=1e-5, atol=1e-6)
        paths.add(path_of(graph, feed))
    assert len(paths) == (3 if name == "nested" else 2)


def _quantized(name: str) -> tuple[Graph, list[list[np.ndarray]], Tensor]:
    samples = _samples(24)
    graph = tinygen.export(_module(name), samples[:1], samples, name=f"m_{name}")
    entry = graph.tensors[graph.inputs[0]]
    codes = np.clip(np.round(_nhwc(samples) / entry.scale) + entry.zero_point, -128, 127).astype(np.int8)
    return graph, [[row[None]] for row in codes], samples


def test_int8_graphs_and_their_c() -> None:
    graphs, feeds, expected = [], [], []
    for name in ("two", "nested"):
        graph, codes, samples = _quantized(name)
        assert all(not tensor.is_float for inner in all_graphs(graph) for tensor in inner.tensors.values())
        module, output = _module(name), graph.tensors[graph.outputs[0]]
        results = [evaluate(graph, row) for row in codes]
        found = np.concatenate([(row[0].astype(float) - output.zero_point) * output.scale for row in results])
        wanted = np.concatenate([module(x).detach().numpy() for x in samples.split(1)])
        # Samples next to the threshold may go the other way: two of 24.
        assert (np.abs(found - wanted).max(axis=1) > 6 * output.scale).sum() <= 2
        graphs.append(simplify(graph))
        feeds.append(codes[::4])
        expected.append(results[::4])
    compare_code(graphs, feeds, expected, ["torch.cond"] * 2, on_board=False)


def test_every_branch_is_calibrated() -> None:
    """With samples that take one branch only, the other one's output does not saturate."""
    low = _samples(24)[:4]
    graph = tinygen.export(_module("mean"), low[:1], low)
    (branch,) = (op for op in graph.ops if isinstance(op, Branch))
    module = _module("mean")
    y = torch.relu(module.stem(low)).detach()
    most = float(module.deep(y).detach().max())
    output = graph.tensors[branch.outputs[0]]
    assert output.scale * (127 - output.zero_point) >= 0.99 * most > 1.05 * float(y.max())


def test_int8_conditions_turn_where_float_ones_do() -> None:
    """Of a condition on the input itself, every code is on the side of its real value."""

    class Sign(nn.Module):
        def __init__(self, relation: str, limit: float) -> None:
            super().__init__()
            self.relation, self.limit = relation, limit

        def forward(self, x: Tensor) -> Tensor:
            condition = getattr(torch, self.relation)(x.amax(), self.limit)
            return cond(condition, lambda x: x * 0.5, lambda x: x + 0.25, x)

    codes = np.arange(-128, 128)
    samples = torch.linspace(-1, 1, 9)[:, None]
    for relation, limit, holds in (("gt", 0.3, np.greater), ("ge", 0.0, np.greater_equal), ("lt", 0.0, np.less)):
        graph = tinygen.export(Sign(relation, limit), samples[:1], samples)
        entry = graph.tensors[graph.inputs[0]]
        real = (codes - entry.zero_point) * entry.scale
        taken = [path_of(graph, [np.full((1, 1), code, np.int8)])[0][1] for code in codes]
        np.testing.assert_array_equal(taken, holds(real, np.float32(limit)), err_msg=relation)


def test_codes_of_constants() -> None:
    encoding = Affine("int8", (0.5,), (-3,))
    above, below = (threshold_codes(np.array(VALUES), encoding, upwards=upwards) for upwards in (True, False))
    assert list(zip(above.tolist(), below.tolist(), strict=True)) == [
        (-3, -3),
        (-2, -3),
        (-2, -2),
        (-3, -4),
        (127, 127),
        (-128, -128),
    ]


def test_refusals() -> None:
    samples = _samples(4)
    constant = Gated(lambda y: torch.ones(1) > 0.5)
    with pytest.raises(UnsupportedError, match="known when it is exported"):
        tinygen.export(constant.eval(), samples[:1], float32=True)
