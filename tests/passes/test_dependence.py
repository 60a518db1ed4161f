"""What the analysis calls independent of the input is the same for every input; and where networks die."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.torch_models import need

torch = need("torch")

from torch import nn  # noqa: E402

from tinygen.frontends.ptq.quantize import quantize  # noqa: E402
from tinygen.frontends.torch.aten import read_program  # noqa: E402
from tinygen.frontends.torch.export import samples_of  # noqa: E402
from tinygen.ir.encodings import Affine  # noqa: E402
from tinygen.ir.graph import Graph, State  # noqa: E402
from tinygen.ir.interpreter import evaluate_all  # noqa: E402
from tinygen.ir.network import Network  # noqa: E402
from tinygen.ir.ops.binary import Add  # noqa: E402
from tinygen.ir.ops.softmax import Softmax  # noqa: E402
from tinygen.ir.tensor import Tensor  # noqa: E402
from tinygen.passes.dependence import dead_outputs, death_notes, dependent_channels  # noqa: E402

torch.set_num_threads(1)


class Net(nn.Module):
    """A stem, a residual block, a depthwise layer, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.flat = nn.Linear(16, 3)
        self.mean = nn.Linear(4, 2)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.inner(x) + x)
        y = torch.relu(self.depthwise(x))
        return torch.softmax(self.flat(y.flatten(1)), 1), self.mean(x.mean((2, 3)))


def graph_of(net: nn.Module, *, real: bool = False) -> Graph:
    x = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    model = read_program(torch.export.export(net.eval(), (x[:1],)), "model")
    return model.graph if real else quantize(model, samples_of(x, model.graph))


def pruned(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph with a random share of each layer's kernels 0, and some biases so low that ReLU cuts channels off."""
    tensors = dict(graph.tensors)
    for node in graph.nodes():
        if node.op.macs(node) and len(node.inputs) > 2:
            weights, bias = node.constant(1).copy(), node.constant(2).copy()
            share = rng.random()
            if weights.ndim == 4:
                weights *= (rng.random((weights.shape[0], 1, 1, weights.shape[3])) < share).astype(weights.dtype)
            else:
                weights *= (rng.random(weights.shape) < share).astype(weights.dtype)
            bias[rng.random(bias.shape) < 0.3] = -9.0 if bias.dtype == np.float32 else -(10**6)
            for tensor, values in ((node.input(1), weights), (node.input(2), bias)):
                tensors[tensor.name] = replace(tensor, data=values)
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize("real", [False, True], ids=["int8", "float"])
def test_what_does_not_depend_is_the_same_for_all_inputs(real: bool) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    whole = graph_of(Net(), real=real)
    constant = dead = 0
    for case in range(12):
        graph = pruned(whole, rng)
        found = dependent_channels(graph)
        values: dict[str, list[np.ndarray]] = {}
        for _ in range(4):
            x = rng.normal(0, 3, (1, 4, 4, 2)).astype(np.float32)
            codes = x if real else rng.integers(-128, 128, (1, 4, 4, 2)).astype(np.int8)
            for name, value in evaluate_all(graph, [codes]).items():
                values.setdefault(name, []).append(value)
        for name, each in values.items():
            same = np.all([value == each[0] for value in each], axis=0)
            still = same.reshape(-1, same.shape[-1]).all(0)
            assert bool(still[~found[name]].all()), (case, name)
            constant += int((~found[name]).sum())
        dead += len(dead_outputs(graph))
    assert constant > 60 and dead > 2


def dying(*layers: str) -> list[str]:
    """What is said of a network whose layers are all zeros, quantized."""
    torch.manual_seed(3)
    graph = graph_of(Net())
    tensors = dict(graph.tensors)
    for node in graph.nodes():
        if node.op.name in layers:
            weights = node.input(1)
            tensors[weights.name] = replace(weights, data=np.zeros_like(node.constant(1)))
    return death_notes(Network.of(replace(graph, tensors=tensors)))


def test_where_it_dies() -> None:
    """Behind a residual block something lives until both ways have ended."""
    assert dying() == [] and dying("inner") == []
    (first,) = dying("flat")
    assert "is the same for every input: all 48 weights of 'flat' are 0, and nothing passes beside it" in first
    (first,) = dying("depthwise", "flat")
    assert "all 36 weights of 'depthwise' are 0" in first
    both = dying("stem", "inner")
    assert len(both) == 2 and all("all 72 weights of 'stem' are 0" in text for text in both)


def test_it_dies_where_no_filter_reads_what_is_left() -> None:
    torch.manual_seed(3)
    net = Net()
    net.stem.weight.data[1:] = 0
    net.inner.weight.data[:, 0] = 0
    with torch.no_grad():
        graph = graph_of(nn.Sequential(net.stem, nn.ReLU(), net.inner, nn.ReLU()))
    (dead,) = dead_outputs(graph)
    assert dead.op == "2" and 36 <= dead.zeros < 60 and dead.weights == 144
    assert "every channel that '2' computes is constant" in str(dead) and "of its 144 weights are 0)" in str(dead)


def test_outputs_of_constants_and_of_states() -> None:
    """An output of constants alone; one that follows the input an inference later, by way of a state."""
    encoding, shape = Affine("int8", (0.1,), (0,)), (1, 2)
    ones = np.ones(shape, np.int8)
    names = ("x", "state", "sum", "late", "y")
    tensors = {name: Tensor(name, shape, encoding) for name in names} | {"c": Tensor("c", shape, encoding, ones)}
    ops = (
        Softmax(name="constant", inputs=("c",), outputs=("y",)),
        Add(name="late", inputs=("state", "c"), outputs=("late",)),
        Add(name="sum", inputs=("state", "x"), outputs=("sum",)),
    )
    graph = Graph("model", tensors, ops, ("x",), ("y", "late"), (State("state", "sum", np.zeros(shape, np.int8)),))
    assert [str(dead) for dead in dead_outputs(graph)] == [
        "output 'y' is the same for every input: it is computed from constants alone"
    ]
    alone = Graph("model", tensors, ops[:2], ("x",), ("late",), (State("state", "late", np.zeros(shape, np.int8)),))
    assert [dead.op for dead in dead_outputs(alone)] == ["late"]
