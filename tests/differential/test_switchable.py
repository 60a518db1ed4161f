"""Switchable networks: every switch bit by bit, in any order, through illegal requests too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.board_batch import M0PLUS, M4, M7, Core
from tests.support.switchable import (
    Plan,
    expected_bytes,
    random_inputs,
    random_plan,
    small_network,
    switch_on_board,
    switch_on_host,
)
from tests.targets.tools import requires_tool
from tinygen.ir.network import Network
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify_network

DSP = ("c99", "dsp")


def lowered(network: Network, isa: tuple[str, ...], family: str = "tinygen") -> NetworkProgram:
    return lower_network(simplify_network(network), isa=isa, family=family)


def every_switch(network: Network, inputs: int) -> Plan:
    """Each input by each switch, and illegal requests between."""
    count = len(network.switches)
    return [(asked, index) for index in range(inputs) for asked in (*range(count), count, *reversed(range(count)))]


@pytest.mark.parametrize("family", ["tinygen", pytest.param("compact", marks=pytest.mark.long), "reference"])
def test_every_switch_on_the_host(family: str, tmp_path: Path) -> None:
    network = small_network()
    inputs, plan = random_inputs(network, 3), every_switch(network, 3)
    program = lowered(network, DSP, family)
    assert switch_on_host(program, network, inputs, plan, tmp_path) == expected_bytes(network, inputs, plan)


def test_in_stripes_on_the_host(tmp_path: Path) -> None:
    """The smallest arena, which some switches reach only in stripes; rows of bits are kept as words."""
    whole = simplify_network(small_network())
    network = replace(whole, switches=(whole.switch("w1a1"), whole.switch("w8a8_x0_5")))
    inputs, plan = random_inputs(network, 2), every_switch(network, 2)
    program = lower_network(network, isa=DSP, streaming=Streaming())
    assert any(one.program.streamed for one in program)
    assert program.arena_bytes < lower_network(network, isa=DSP).arena_bytes
    assert switch_on_host(program, network, inputs, plan, tmp_path) == expected_bytes(network, inputs, plan)


@pytest.mark.parametrize(
    ("core", "isa", "compiler"),
    [
        (M7, (*DSP, "dual-issue"), "zig"),
        pytest.param(M4, DSP, "zig", marks=pytest.mark.long),
        (M0PLUS, ("c99",), "zig"),
        pytest.param(M7, DSP, "gcc", marks=[requires_tool("arm-none-eabi-gcc"), pytest.mark.long]),
    ],
)
def test_switchings_on_a_core(core: Core, isa: tuple[str, ...], compiler: str, tmp_path: Path) -> None:
    """300 random ones, every tenth illegal."""
    _switchings(300, core, isa, compiler, tmp_path)


@pytest.mark.long
def test_many_switchings_on_a_core(tmp_path: Path) -> None:
    _switchings(10_000, M7, (*DSP, "dual-issue"), "zig", tmp_path)


def _switchings(count: int, core: Core, isa: tuple[str, ...], compiler: str, folder: Path) -> None:
    network = small_network()
    inputs = random_inputs(network, 20, seed=count)
    plan = random_plan(network, len(inputs), count, seed=count)
    got = switch_on_board(lowered(network, isa), network, inputs, plan, folder, core, compiler)
    want = expected_bytes(network, inputs, plan)
    size = len(want) // count
    wrong = [n for n in range(count) if got[n * size :][:size] != want[n * size :][:size]]
    assert not wrong, f"{len(wrong)} of {count}, the first: {plan[wrong[0]]} at {wrong[0]}"
    illegal = sum(asked >= len(network.switches) for asked, _ in plan)
    assert illegal > count // 20 and len({asked for asked, _ in plan}) > len(network.switches)


def test_switches_give_different_answers() -> None:
    """Else the tests above would not notice a switch that is ignored."""
    network = small_network()
    (sample,) = random_inputs(network, 1)
    plan = [(index, 0) for index in range(len(network.switches))]
    content = np.frombuffer(expected_bytes(network, [sample], plan), "<i4").reshape(len(plan), -1)
    assert len({tuple(row) for row in content[:, 2:].tolist()}) == len(plan)
