"""How much scratch each layer gets: within the budget, and no more than the cycles are worth."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.networks import Network
from tinygen.lowering.lower import lower
from tinygen.lowering.plan import Kernel, KernelPlan, registered_kernels
from tinygen.lowering.planner import Buffer, aligned, lower_bound
from tinygen.lowering.scratch import budget_without_limit, spend_scratch
from tinygen.lowering.select import Choice

ANY: Kernel = registered_kernels()[0]
DSP = ("c99", "dsp")


def choice(*variants: tuple[int, float]) -> Choice:
    """A layer whose variants have (scratch bytes, cycles), least scratch first."""
    return Choice(ANY, tuple(KernelPlan("any", scratch_bytes=size, cycles=cycles) for size, cycles in variants))


def buffers(sizes: list[int], choices: list[Choice]) -> list[Buffer]:
    """A chain: step i reads tensor i, writes tensor i + 1, and has its least scratch."""
    last = len(choices) - 1
    tensors = [Buffer(f"t{i}", size, max(i - 1, 0), min(i, last)) for i, size in enumerate(sizes)]
    scratch = [Buffer(f"s{i}", size, i, i) for i, c in enumerate(choices) if (size := c.variants[0].scratch_bytes)]
    return [*tensors, *scratch]


def budget(live: list[Buffer]) -> int:
    """The least peak and an eighth, or 2 KiB if that is more."""
    peak = lower_bound(live)
    return peak + max(peak // 8, 2048)


def spent(choices: list[Choice], live: list[Buffer]) -> list[KernelPlan]:
    used = [sum(aligned(b.size) for b in live if b.first <= step <= b.last) for step in range(len(choices))]
    return spend_scratch(choices, used, budget_without_limit(lower_bound(live)))


def chosen(choices: list[Choice], sizes: list[int]) -> list[int]:
    return [plan.scratch_bytes for plan in spent(choices, buffers(sizes, choices))]


def test_what_the_peak_leaves_over_is_free() -> None:
    """The second layer lives far below the peak of the first: its scratch may be as large as the difference."""
    wanted = choice((80, 1000.0), (9_000, 500.0))
    assert chosen([wanted, wanted], [5_000, 15_000, 100]) == [80, 80]
    assert chosen([wanted, wanted], [20_000, 5_000, 100]) == [80, 9_000]


@pytest.mark.parametrize(("size", "taken"), [(2_048 + 80, 2_128), (2_048 + 88, 80)])
def test_at_the_peak_two_kib_more_are_allowed_and_not_a_byte_beyond(size: int, taken: int) -> None:
    assert chosen([choice((80, 1000.0), (size, 10.0))], [1_000, 1_000]) == [taken]


@pytest.mark.parametrize(("size", "taken"), [(12_496, 12_496), (12_504, 0)])
def test_or_an_eighth(size: int, taken: int) -> None:
    assert chosen([choice((0, 1000.0), (size, 10.0))], [50_000, 50_000]) == [taken]


def test_least_where_nothing_fits() -> None:
    """Not even its least scratch, when other layers' buffers leave no room: it must run all the same."""
    layer = choice((4_000, 1000.0), (90_000, 10.0))
    assert chosen([layer], [100, 100]) == [4_000]
    too_few = [Buffer("t0", 100, 0, 5)]
    assert spent([choice((50_000, 10.0), (60_000, 1.0))], too_few)[0].scratch_bytes == 50_000


def test_the_smallest_that_is_nearly_the_fastest() -> None:
    layer = choice((8, 200.0), (16, 103.0), (32, 101.0), (64, 100.0))
    assert chosen([layer], [100, 100]) == [16]
    assert chosen([choice((8, 200.0), (16, 103.1), (32, 102.0), (64, 100.0))], [100, 100]) == [32]


def test_more_scratch_may_be_slower() -> None:
    assert chosen([choice((8, 100.0), (16, 150.0))], [100, 100]) == [8]


@settings(max_examples=200)
@given(st.data())
def test_never_beyond_the_budget(data: st.DataObject) -> None:
    variant = st.tuples(st.integers(0, 12_000), st.floats(1.0, 1e6))
    layers = data.draw(st.lists(st.lists(variant, min_size=1, max_size=5), min_size=1, max_size=6))
    choices = [choice(*sorted(layer)) for layer in layers]
    sizes = data.draw(st.lists(st.integers(1, 20_000), min_size=len(layers) + 1, max_size=len(layers) + 1))
    least = buffers(sizes, choices)
    plans = spent(choices, least)
    for step, (plan, layer) in enumerate(zip(plans, choices, strict=True)):
        tensors = sum(aligned(b.size) for b in least if b.first <= step <= b.last and b.name[0] == "t")
        room = budget(least) - tensors
        assert plan in layer.variants
        assert aligned(plan.scratch_bytes) <= room
        fastest = min(v.cycles for v in layer.variants if aligned(v.scratch_bytes) <= room)
        assert plan.cycles <= 1.03 * fastest
        smaller = [v for v in layer.variants if v.scratch_bytes < plan.scratch_bytes]
        assert all(v.cycles > 1.03 * fastest for v in smaller)


def test_in_a_network() -> None:
    """The arena stays within what may be spent, and the predicted cycles fall."""
    net = Network(2)
    x = net.conv(net.input(24, 24, 4), 8, 3)
    x = net.conv(x, 16, 3, 2)
    net.conv(net.conv(x, 16, 3), 4, 1)
    program = lower(net.graph(), isa=DSP)
    least = [step.kernel.variants(step.node)[0] for step in program.steps]
    used = [step.plan for step in program.steps]
    assert sum(plan.cycles for plan in used) < sum(plan.cycles for plan in least)
    assert any(plan.scratch_bytes > small.scratch_bytes for plan, small in zip(used, least, strict=True))
    before = program.ordering.given_arena_bytes
    assert program.memory.arena_bytes <= before + max(before // 8, 2048)
