"""The memory planner: never a shared byte, never below the bound, rarely above it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygen.demo import MODEL
from tinygen.frontends.load import load_model
from tinygen.lowering.lower import lower
from tinygen.lowering.planner import ALIGNMENT, Buffer, aligned, lower_bound, plan_memory


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    result = []
    for index in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 10))
        result.append(Buffer(f"b{index}", draw(st.integers(1, 500)), first, first + draw(st.integers(0, 4))))
    return result


@given(buffers())
def test_no_shared_bytes(given_buffers: list[Buffer]) -> None:
    plan = plan_memory(given_buffers)
    assert plan.arena_bytes >= plan.lower_bound_bytes == lower_bound(given_buffers)
    places = list(zip(given_buffers, plan.offsets, strict=True))
    for index, (a, start_a) in enumerate(places):
        assert start_a % ALIGNMENT == 0
        assert start_a + aligned(a.size) <= plan.arena_bytes
        for b, start_b in places[:index]:
            if a.overlaps(b):
                assert start_a + a.size <= start_b or start_b + b.size <= start_a


def test_a_chain_reaches_the_bound() -> None:
    chain = [Buffer(f"t{i}", size, i, i + 1) for i, size in enumerate([100, 400, 300, 200, 800, 50])]
    plan = plan_memory(chain)
    assert plan.arena_bytes == plan.lower_bound_bytes == 1000


def test_demo_model_in_place() -> None:
    """Softmax works in place and reshape costs nothing, so neither adds to the arena."""
    program = lower(load_model(MODEL), isa=("c99", "dsp"))
    assert program.memory.arena_bytes == program.memory.lower_bound_bytes
    names = [step.node.outputs[0].name for step in program.steps if step.plan.is_alias]
    for name in names:
        step = next(s for s in program.steps if s.node.outputs[0].name == name)
        assert program.offsets[name] == program.offsets[step.node.input(0).name]
    assert np.prod(program.outputs[0].shape) == 10
