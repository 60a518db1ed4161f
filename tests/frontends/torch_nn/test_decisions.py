"""Modules that decide: the graph takes the module's branches and gives its codes; so does its C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.frontends.torch_nn.networks import images, like_trained
from tests.support.bare_batch import run_on_bare_core
from tests.support.cases import draws
from tests.support.deciding import Residual, compare_decisions, conv, head, random_exits, settle, taken
from tests.support.differential import compare_code
from tinygen.compress.blocks import order_of
from tinygen.compress.observe import Observer
from tinygen.compress.surgery import removable_layers
from tinygen.compress.surgery.tracing import trace
from tinygen.errors import UnsupportedError
from tinygen.frontends.torch_nn import read_quantized
from tinygen.ir.branch import Branch
from tinygen.ir.paths import path_of
from tinygen.lowering.lower import lower
from tinygen.nn import (
    Affine8,
    EarlyExit,
    InputQuant,
    ReLUQuant,
    SkipBlock,
    early_exits,
    exits_of,
    gate_cost,
    reinforce,
)
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board

torch.set_num_threads(1)


def _random(what: str, count: int, every: int, *, on_board: bool) -> None:
    found = [compare_decisions(*random_exits(draw), f"m{number}") for number, draw in enumerate(draws(what, count))]
    both = [{index for row in feeds for index in taken(graph, row).values()} for graph, feeds, _ in found]
    assert sum(indices >= {0, 1} for indices in both) >= 0.8 * count
    graphs, feeds, expected = zip(*[(simplify(g), f[:8], e[:8]) for g, f, e in found[::every]], strict=True)
    compare_code(graphs, feeds, expected, [what] * len(graphs), on_board=on_board)


def test_the_range_covers_every_exit() -> None:
    """Where logits are clipped there is no gradient: the mean of two exits' ranges would halve the wider one."""
    heads = [nn.Linear(16, 4), nn.Linear(16, 4)]
    heads[1].weight.data *= 20
    network = early_exits([nn.Identity(), nn.Identity()], heads).train()
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    for _ in range(300):
        network(x)
    low, high = exits_of(network)[0].quantizer.range()
    widest = heads[1](x)
    assert low <= 0.98 * widest.min() and high >= 0.98 * widest.max()


def test_random_networks() -> None:
    _random("nn: exits and skipped blocks", 4, 4, on_board=False)


@pytest.mark.long
def test_many_random_networks() -> None:
    _random("nn: many exits and skipped blocks", 6, 1, on_board=True)


@pytest.mark.long
@pytest.mark.parametrize("name", ["f746zg", "esp32c3"])
def test_on_boards(name: str, tmp_path: Path) -> None:
    """Exits, skipped blocks and experts in both boards' cores: every index that the samples take."""
    board, found = load_board(name), []
    for number, draw in enumerate(draws("nn: decisions on boards", 3)):
        graph, feeds, outputs = compare_decisions(*random_exits(draw), f"m{number}")
        # One sample for each path.
        rows = {path_of(graph, row): place for place, row in enumerate(feeds)}.values()
        program = lower(simplify(graph), isa=board.isa)
        found.append((program, [feeds[row] for row in rows], [outputs[row] for row in rows]))
    programs, samples, expected = (list(column) for column in zip(*found, strict=True))
    for results, wanted in zip(run_on_bare_core(programs, samples, tmp_path, board), expected, strict=True):
        for row, want in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(row[0], want[0])


def _gated(quantizer: Affine8, **options: object) -> SkipBlock:
    return SkipBlock(Residual(4, "int8", "relu3"), head(4, 1), quantizer=quantizer, **options)


def _skipping() -> tuple[nn.Module, SkipBlock, torch.Tensor]:
    torch.manual_seed(1)
    quantizer, x = Affine8(relu=True), images(16, 3, 6, 6)
    block = _gated(quantizer)
    network = nn.Sequential(InputQuant(), conv(3, 4), quantizer, block, head(4, 3))
    return like_trained(network, x), block, x


def test_a_skipped_block_costs_a_copy() -> None:
    """What went through the same quantizer is handed on."""
    network, _, x = _skipping()
    graph = read_quantized(network, x[:1], "m")
    (branch,) = (op for op in graph.ops if isinstance(op, Branch))
    assert [len(one.ops) for one in branch.branches] == [0, 3]


@pytest.mark.parametrize("threshold", [float("-inf"), -1e9, 1e9, float("inf")])
def test_thresholds_that_no_code_or_every_code_reaches(threshold: float) -> None:
    network, block, x = _skipping()
    block.threshold.fill_(threshold)
    graph, feeds, _ = compare_decisions(network, x, "m")
    assert {index for row in feeds for index in taken(graph, row).values()} == {int(threshold < 0)}


def test_evaluation_runs_what_is_needed() -> None:
    """The block sees the samples that run, the rest those that stay."""
    network, block, x = _skipping()
    settle(network, x)
    seen: list[int] = []
    block.block.register_forward_hook(lambda _module, inputs, _out: seen.append(len(inputs[0])))
    network(x)
    assert block.index is not None
    assert seen == [int(block.index.sum())] and 0 < seen[0] < len(x)


def test_training_gates() -> None:
    """Soft gates mix; hard ones forward one branch whole; all have a gradient towards the gate."""
    network, block, x = _skipping()
    network.train()
    for way in ("soft", "straight-through", "reinforce"):
        block.training_gate = way
        network.zero_grad()
        y = network(x)
        loss = y.square().mean() + gate_cost(network)
        if way == "reinforce":
            assert block.log_probability is not None
            loss = loss + block.log_probability.mean()
        loss.backward()
        assert block.gate[2].weight.grad.abs().sum() > 0, way


def test_hard_gates_hand_on_whole_branches_in_training() -> None:
    torch.manual_seed(4)
    x, quantizer = images(16, 4, 6, 6).relu(), ReLUQuant(4, maximum=3.0)
    block = SkipBlock(Residual(4, "int8", "relu3"), head(4, 1), quantizer=quantizer).train()
    block.gate[2].bias.data -= block.gate(x).median().detach()
    y = block(x)
    assert block.open is not None and 0 < int(block.open.sum()) < len(x)
    torch.testing.assert_close(y[~block.open], quantizer(x)[~block.open], rtol=0, atol=0)
    torch.testing.assert_close(y[block.open], quantizer(block.block(x))[block.open])


def test_reinforce_rewards_what_comes_after() -> None:
    """By hand: two blocks of costs 1 and 3, a sample each of (skip, run), (run, skip), (run, run)."""
    first, second = (SkipBlock(nn.Identity(), head(4, 1), quantizer=Affine8(), cost=cost) for cost in (1.0, 3.0))
    network, losses = nn.Sequential(first, second), torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    with pytest.raises(UnsupportedError, match="no gate has been drawn"):
        reinforce(network, losses, 0.5)
    first.open, second.open = torch.tensor([False, True, True]), torch.tensor([True, False, True])
    logs = torch.tensor([[-0.1, -0.2, -0.3], [-0.4, -0.5, -0.6]], requires_grad=True)
    first.log_probability, second.log_probability = logs
    loss = reinforce(network, losses, 0.5)
    # Costs over their mean: 0.5 and 1.5; alpha / n: 0.25. Rewards of the first gate know what the second one saves.
    rewards = -torch.tensor([[1 - 0.125, 2 - 0.375, 4.0], [1.0, 2 - 0.375, 4.0]])
    torch.testing.assert_close(loss, -(logs * rewards).sum(0).mean())
    loss.backward()
    torch.testing.assert_close(logs.grad, -rewards / 3)
    assert losses.grad is None


def test_training_gives_all_exits() -> None:
    quantizer = Affine8()
    stages = [
        nn.Sequential(InputQuant(), conv(3, 4), Affine8(relu=True)),
        nn.Sequential(conv(4, 4), Affine8(relu=True)),
    ]
    network = early_exits(stages, [head(4, 5), head(4, 5)], quantizer=quantizer)
    logits = network.train()(images(8, 3, 6, 6))
    assert [tuple(y.shape) for y in logits] == [(8, 5), (8, 5)]
    sum(y.square().mean() for y in logits).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="several quantizers"):
        EarlyExit(head(4, 2), EarlyExit(head(4, 2), head(4, 2), quantizer=Affine8()), quantizer=Affine8())
    with pytest.raises(UnsupportedError, match="1 stages, 1 heads"):
        early_exits([nn.Identity()], [head(4, 2)])
    x = images(2, 3, 6, 6)
    network = nn.Sequential(InputQuant(), conv(3, 4), Affine8(), SkipBlock(conv(4, 5), head(4, 1), quantizer=Affine8()))
    network.train()[:3](x)
    for part in network.modules():
        if isinstance(part, Affine8) and int(part.batches) == 0:
            part.train()
            part(x)
    network[3].threshold.fill_(float("inf"))
    with pytest.raises(UnsupportedError, match=r"its branches give int8 \[1,6,6,4\] .*, int8 \[1,6,6,5\]"):
        read_quantized(network, x[:1], "m")


def test_surgery_refuses_networks_that_decide() -> None:
    network, _, x = _skipping()
    for act in (
        lambda: trace(network, x[:2]),
        lambda: Observer(network, x[:2]),
        lambda: order_of(network),
        lambda: removable_layers(network, x[:2]),
    ):
        with pytest.raises(UnsupportedError, match=r"a network that decides\nPrune the parts"):
            act()


def test_measures_by_their_definitions() -> None:
    """Against float64: probabilities within their 15 bits, entropies within the table of logarithms."""
    rng = np.random.default_rng(0)
    quantizer = Affine8()
    quantizer.train()(torch.tensor([-4.0, 4.0]))
    logits = quantizer.eval()(torch.from_numpy(rng.normal(size=(500, 7)).astype(np.float32) * 2))
    real = logits.double()
    shares = torch.softmax(real, 1)
    two = real.topk(2).values
    wanted = {
        "margin": (two[:, 0] - two[:, 1], 1e-6),
        "probability": (shares.amax(1), 3e-4),
        "entropy": (-(shares * shares.log()).sum(1), 6e-3),
    }
    for measure, (value, near) in wanted.items():
        found = EarlyExit(nn.Identity(), nn.Identity(), quantizer=quantizer, measure=measure).confidence(logits)
        assert float((found - value).abs().max()) < near, measure
