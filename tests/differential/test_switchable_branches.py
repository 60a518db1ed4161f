"""Random networks whose switches have branches and thresholds of their own: over windows, and as streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.board_batch import M0PLUS, M7
from tests.support.cases import Draw, draws
from tests.support.deciding_windows import deciding_window
from tests.support.switchable import expected_bytes, random_inputs, random_plan, switch_on_board, switch_on_host
from tinygen.frontends.tg import read_tg_network, write_tg
from tinygen.ir.network import Network, Switch
from tinygen.lowering.network import lower_network
from tinygen.passes.pipeline import simplify_network
from tinygen.passes.to_streaming import to_streaming

HOP = 2


def deciding(draw: Draw, *, stream: bool) -> Network:
    """Three switches with thresholds and branches, which take the same windows, or keep frames of them."""
    shape = (1, draw.integer(8, 12), draw.integer(1, 2), draw.integer(1, 4))
    graphs = [deciding_window(draw.integer(0, 9999), shape, 2) for _ in range(3)]
    network = Network("net", tuple(Switch(name, graph) for name, graph in zip("abc", graphs, strict=True)))
    return to_streaming(network, hop=HOP) if stream else network


def compare(draw: Draw, stream: bool, folder: Path, where: str = "host") -> None:
    """Random switchings, every tenth illegal, of what was saved and loaded."""
    network = read_tg_network(write_tg(deciding(draw, stream=stream)), "net")
    inputs = random_inputs(network, 12, seed=draw.integer(0, 9999))
    plan = random_plan(network, len(inputs), 150, seed=3)
    folder.mkdir()
    isa = ("c99",) if where == "m0plus" else ("c99", "dsp")
    program = lower_network(simplify_network(network), isa=isa)
    if where == "host":
        got = switch_on_host(program, network, inputs, plan, folder)
    else:
        got = switch_on_board(program, network, inputs, plan, folder, M0PLUS if where == "m0plus" else M7, "zig")
    assert got == expected_bytes(network, inputs, plan)


KINDS = pytest.mark.parametrize("stream", [False, True], ids=["windows", "streams"])


@KINDS
def test_on_the_host(stream: bool, tmp_path: Path) -> None:
    for number, draw in enumerate(draws(f"switches that decide {stream}", 1)):
        compare(draw, stream, tmp_path / str(number))


@pytest.mark.long
@pytest.mark.parametrize("where", ["m7", "m0plus"])
@KINDS
def test_in_cores(stream: bool, where: str, tmp_path: Path) -> None:
    for number, draw in enumerate(draws(f"switches that decide in {where} {stream}", 4)):
        compare(draw, stream, tmp_path / str(number), where)
