"""torch.nn.LSTM and GRU: floats against torch, and quantized by calibration; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frontends.torch.test_float import compare
from tests.support.host_batch import run_on_host
from tests.support.torch_models import kinds, need, real_outputs
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.gru import Gru
from tinygen.ir.ops.lstm import CELL, Lstm
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

torch = need("torch")
nn = torch.nn

from tinygen.frontends.torch import export  # noqa: E402

STEPS, DEPTH, UNITS = 12, 7, 9


class Recurrent(nn.Module):
    """A linear layer over what a recurrent one gives.

    Args:
        kind: nn.LSTM or nn.GRU.
        reads: its output "y", or the state "hidden" or "cell" of the last layer.
        turned: it takes time as the first dimension.
    """

    def __init__(self, kind: Any = nn.LSTM, reads: str = "y", turned: bool = False, **options: Any) -> None:
        super().__init__()
        self.reads, self.turned = reads, turned
        self.layer = kind(DEPTH, UNITS, batch_first=not turned, **options)
        width = UNITS * (2 if options.get("bidirectional") and reads == "y" else 1)
        self.last = nn.Linear(width, 5)

    def forward(self, x: Any) -> Any:
        y, states = self.layer(x.transpose(0, 1) if self.turned else x)
        hidden, cell = states if isinstance(states, tuple) else (states, states)
        if self.reads == "y":
            return self.last(y.transpose(0, 1) if self.turned else y)
        return self.last(hidden[-1] if self.reads == "hidden" else cell[-1])


class Step(nn.Module):
    """One step with states that are inputs and outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(DEPTH, UNITS, num_layers=2, batch_first=True)

    def forward(self, x: Any, hidden: Any, cell: Any) -> Any:
        y, (hidden, cell) = self.lstm(x, (hidden.transpose(0, 1), cell.transpose(0, 1)))
        return y, hidden.transpose(0, 1), cell.transpose(0, 1)


MODULES: dict[str, Any] = {
    "one layer": {},
    "three layers": {"num_layers": 3},
    "without biases": {"bias": False},
    "time first": {"turned": True},
    "both directions": {"bidirectional": True},
    "both, two layers": {"bidirectional": True, "num_layers": 2, "turned": True},
    "last hidden state": {"reads": "hidden", "num_layers": 2},
    "last cell": {"reads": "cell"},
    "last of both": {"reads": "hidden", "bidirectional": True},
    "GRU": {"kind": nn.GRU},
    "GRU, two layers": {"kind": nn.GRU, "num_layers": 2, "bias": False},
    "GRU, both directions": {"kind": nn.GRU, "bidirectional": True, "turned": True},
    "GRU, last hidden state": {"kind": nn.GRU, "reads": "hidden", "num_layers": 2},
}


@pytest.mark.parametrize("name", MODULES)
def test_floats(name: str) -> None:
    graph = compare(Recurrent(**MODULES[name]), (1, STEPS, DEPTH))
    options, found = MODULES[name], [kind for kind in kinds(graph) if kind in ("lstm", "gru")]
    count = options.get("num_layers", 1) * (1 + ("bidirectional" in options))
    assert found == ["gru" if "kind" in options else "lstm"] * count


def data(count: int, seed: int) -> Any:
    return torch.randn((count, STEPS, DEPTH), generator=torch.Generator().manual_seed(seed))


def quantized(name: str) -> tuple[Any, Graph]:
    torch.manual_seed(3)
    module = Recurrent(**MODULES[name]).eval()
    return module, export(module, data(1, 0), data(48, 1))


@pytest.mark.parametrize("name", MODULES)
def test_quantized_is_near(name: str) -> None:
    """Within two steps of the output's codes of what torch gives, and nothing is left in float."""
    module, graph = quantized(name)
    assert not any(tensor.is_float for tensor in graph.tensors.values())
    x = data(16, 2)
    with torch.no_grad():
        wanted = np.concatenate([module(row[None]).numpy() for row in x])
    found = real_outputs(graph, x.numpy()).reshape(wanted.shape)
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 2 * graph.tensors[graph.outputs[0]].scale


def test_cells_of_every_step_are_calibrated() -> None:
    """A cell that is large in the middle of a sequence needs more integer bits than the last one."""
    module = Recurrent().eval()
    with torch.no_grad():
        for name, value in (("weight_ih_l0", 0.0), ("weight_hh_l0", 0.0), ("bias_ih_l0", 0.0), ("bias_hh_l0", 0.0)):
            getattr(module.layer, name).fill_(value)
        # The input opens the gates and fills the cell; its last step empties it.
        gates = module.layer.weight_ih_l0.view(4, UNITS, DEPTH)
        gates[0, :, 0], gates[1, :, 1], gates[2, :, 0] = 20.0, 20.0, 20.0
    x = torch.zeros(4, STEPS, DEPTH)
    x[:, :, 0], x[:, :, 1] = 1.0, 1.0
    x[:, -1, 0], x[:, -1, 1] = -1.0, -1.0
    graph = export(module, x[:1], x)
    (op,) = (op for op in graph.ops if isinstance(op, Lstm))
    assert graph.tensors[op.inputs[CELL]].scale == 2.0**-11  # 11 steps of about 1 each


def test_c_of_quantized_layers(tmp_path: Path) -> None:
    names = ("both, two layers", "last cell", "GRU, both directions", "GRU, last hidden state")
    graphs = [simplify(quantized(name)[1]) for name in names]
    programs = [lower(Graph(f"g{i}", *_parts(graph)), isa=("c99", "dsp")) for i, graph in enumerate(graphs)]
    for program in programs:
        assert {"lstm_s8_dsp", "gru_s8_dsp"} & {step.kernel.name for step in program.steps}
    rng = np.random.default_rng(0)
    inputs = [[[rng.integers(-128, 128, (1, STEPS, DEPTH)).astype(np.int8)] for _ in range(3)] for _ in graphs]
    for graph, feed, rows in zip(graphs, inputs, run_on_host(programs, inputs, tmp_path), strict=True):
        for sample, row in zip(feed, rows, strict=True):
            np.testing.assert_array_equal(evaluate(graph, sample)[0], row[0])


def _parts(graph: Graph) -> tuple[Any, ...]:
    return graph.tensors, graph.ops, graph.inputs, graph.outputs


def test_states_that_are_inputs() -> None:
    """A step at a time: what the caller keeps. Quantized, the layer stays in float: states have no known encoding."""
    torch.manual_seed(1)
    module = Step().eval()
    x, hidden, cell = torch.randn(1, 1, DEPTH), torch.randn(1, 2, UNITS) / 2, torch.randn(1, 2, UNITS)
    with torch.no_grad():
        wanted = module(x, hidden, cell)
    graph = export(module, (x, hidden, cell), float32=True)
    for found, want in zip(evaluate(graph, [x.numpy(), hidden.numpy(), cell.numpy()]), wanted, strict=True):
        np.testing.assert_allclose(found.reshape(want.shape), want.numpy(), atol=1e-6)
    calibration = [tuple(torch.randn_like(one) / 2 for one in (x, hidden, cell)) for _ in range(8)]
    found = export(module, (x, hidden, cell), calibration)
    layers = [op for op in found.ops if isinstance(op, Lstm)]
    assert len(layers) == 2 and all(found.tensors[op.inputs[0]].is_float for op in layers)


def test_a_state_beyond_one_stays_float() -> None:
    """The integer state of a GRU has no code for it."""

    class Begun(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.layer, self.value = nn.GRU(DEPTH, UNITS, batch_first=True), value

        def forward(self, x: Any) -> Any:
            return self.layer(x, torch.full((1, 1, UNITS), self.value))[0]

    for value, is_float in ((0.5, False), (1.5, True)):
        graph = export(Begun(value).eval(), data(1, 0), data(8, 1))
        (op,) = (op for op in graph.ops if isinstance(op, Gru))
        assert graph.tensors[op.inputs[0]].is_float == is_float


def test_projections_are_refused() -> None:
    module = Recurrent().eval()
    module.layer = nn.LSTM(DEPTH, UNITS, batch_first=True, proj_size=4)
    module.last = nn.Linear(4, 5)
    with pytest.raises(UnsupportedError, match="projections") as error:
        export(module, data(1, 0), float32=True)
    assert "layer" in error.value.where


def test_batches_are_refused() -> None:
    class Batch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(DEPTH, UNITS)  # time first, although the first dimension is the batch

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0]

    with pytest.raises(UnsupportedError, match="in a batch"):
        export(Batch().eval(), data(1, 0), float32=True)
