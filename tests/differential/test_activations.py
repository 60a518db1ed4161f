"""SiLU, hard sigmoid, softplus, Mish, ELU and SELU: torch = semantics = C on the host and in cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.cases import Draw, draws, log_uniform
from tests.support.differential import compare_code
from tests.support.torch_models import need
from tinygen.errors import UnsupportedError
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.encodings import Affine, Encoding, Float32
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.activations import HardSigmoid, Mish, Silu, Softplus
from tinygen.ir.ops.unary import Elu, Unary
from tinygen.ir.tensor import Tensor

torch = need("torch")
F: Any = torch.nn.functional


def drawn(draw: Draw, kind: type[Unary]) -> tuple[dict[str, float], Any]:
    """The operator's attributes, and torch's function."""
    a, b = (float(np.float32(log_uniform(draw.rng, 0.2, 3))) for _ in "ab")
    if kind is Elu:
        return {"alpha": a, "scale": b}, lambda x: b * F.elu(x, a)
    if kind is HardSigmoid:
        wide = {"slope": a, "offset": b - 1.5}
        return (wide, lambda x: (x * a + b - 1.5).clamp(0, 1)) if draw.yes() else ({}, F.hardsigmoid)
    if kind is Softplus:
        return {"beta": a}, lambda x: F.softplus(x, a, threshold=1e9)
    return {}, {Silu: F.silu, Mish: F.mish}[kind]


def graph(draw: Draw, kind: type[Unary], number: int, *, real: bool) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A graph, its input, and what torch gives for it in double precision."""
    attributes, function = drawn(draw, kind)
    shape = (1, *draw.sizes(9, 1, 3))
    source, target = (
        Float32() if real else Affine("int8", (float(np.float32(log_uniform(draw.rng, *ends))),), (zero,))
        for ends, zero in (((0.01, 0.2), draw.integer(-60, 60)), ((0.01, 0.2), draw.integer(-128, 60)))
    )
    op = kind(name="f", inputs=("x",), outputs=("y",), **attributes)
    found = Graph(
        f"a{number}", {"x": Tensor("x", shape, source), "y": Tensor("y", shape, target)}, (op,), ("x",), ("y",)
    )
    found.validate()
    rng = draw.rng
    x = (rng.normal(size=shape) * 8).astype(np.float32) if real else rng.integers(-128, 128, shape).astype(np.int8)
    return found, x, function(torch.from_numpy(_real(source, x))).numpy()


def _real(encoding: Encoding, codes: np.ndarray) -> np.ndarray:
    values = encoding.integers(codes) * encoding.scale[0] if isinstance(encoding, Affine) else codes
    return values.astype(np.float64)


KINDS = (Silu, HardSigmoid, Softplus, Mish, Elu)


def _cases(what: str, count: int) -> list[tuple[Graph, np.ndarray, np.ndarray]]:
    every = [(kind, real) for kind in KINDS for real in (False, True)]
    return [graph(draw, *every[i % 10][:1], i, real=every[i % 10][1]) for i, draw in enumerate(draws(what, count))]


def test_semantics_are_torchs() -> None:
    for found, x, wanted in _cases("activations", 200):
        y, output = evaluate(found, [x])[0], found.tensors["y"]
        if output.is_float:
            np.testing.assert_allclose(y, wanted, rtol=2e-6, atol=1e-6)
        else:
            exact = np.clip(wanted / output.scale + output.zero_point, -128, 127)
            assert np.abs(y - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("core", [False, True], ids=["host", "core"])
def test_c(core: bool) -> None:
    found = _cases(f"activations, core {core}", 20)
    graphs, feeds = [one for one, *_ in found], [[[x]] for _, x, _ in found]
    expected = [[evaluate(one, [x])] for one, x, _ in found]
    kinds = [str(one.ops[0].KIND) for one in graphs]
    compare_code(graphs, feeds, expected, kinds, on_board=core)


def test_files() -> None:
    for one, *_ in _cases("activations in files", 10):
        assert read_tg(write_tg(one)).ops == one.ops


@pytest.mark.parametrize("op", [Softplus, HardSigmoid])
def test_bad_attributes(op: type[Unary]) -> None:
    tensors = {name: Tensor(name, (1, 4), Float32()) for name in "xy"}
    bad = {"beta": 0.0} if op is Softplus else {"slope": float("inf")}
    made = op(name="f", inputs=("x",), outputs=("y",), **bad)
    with pytest.raises(UnsupportedError, match=r"beta|inf x"):
        Graph("g", tensors, (made,), ("x",), ("y",)).validate()
