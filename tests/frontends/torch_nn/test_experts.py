"""Mixtures of experts: who is chosen, what is added, what it costs in flash; see test_decisions.py for random ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.frontends.torch_nn.networks import images, like_trained
from tests.support.deciding import compare_decisions, conv, head
from tests.support.differential import compare_code
from tinygen.errors import UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.top_k import top_positions
from tinygen.lowering.lower import lower
from tinygen.lowering.program import all_constants
from tinygen.nn import Affine8, InputQuant, MixtureOfExperts, calibrate, load_balance
from tinygen.passes.pipeline import simplify

torch.set_num_threads(1)


def _network(k: int, weights: str, count: int = 3, seed: int = 1) -> tuple[nn.Module, MixtureOfExperts, torch.Tensor]:
    torch.manual_seed(seed)
    x = images(24, 3, 6, 6)
    experts = [conv(4, 6) for _ in range(count)]
    mixture = MixtureOfExperts(head(4, count), experts, quantizer=Affine8(relu=True), k=k, weights=weights)
    entry = [InputQuant(), conv(3, 4), nn.BatchNorm2d(4), Affine8(relu=True)]
    network = like_trained(nn.Sequential(*entry, mixture, head(6, 3)), x)
    with torch.no_grad():
        # So that every expert is chosen.
        mixture.router[2].bias -= mixture.router(network[:4](x)).mean(0)
    calibrate(network, [x] * 30)
    return network, mixture, x


def test_as_the_module_in_c() -> None:
    found = []
    for number, (k, weights) in enumerate([(1, "all"), (1, "none"), (2, "all"), (3, "chosen")]):
        network, mixture, x = _network(k, weights)
        found.append(compare_decisions(network, x, f"m{number}"))
        assert mixture.index is not None and len(mixture.index.unique()) == 3
    graphs, feeds, expected = zip(*[(simplify(g), f[:6], e[:6]) for g, f, e in found[2:]], strict=True)
    compare_code(graphs, feeds, expected, ["nn: experts"] * len(graphs), on_board=True)


def test_of_equal_logits_the_first_experts() -> None:
    logits = np.array([[3, 7, 7, -2, 7], [0, 0, 0, 0, 0], [-128, 5, 5, 127, 127]], np.int8)
    assert top_positions(logits, 4).tolist() == [[1, 2, 4, 0], [0, 1, 2, 3], [3, 4, 1, 2]]
    network, mixture, x = _network(2, "all")
    with torch.no_grad():
        mixture.router[2].weight.zero_()
        mixture.router[2].bias.zero_()
        compare_decisions(network, x, "m")
        assert mixture.index is not None and mixture.index.unique(dim=0).tolist() == [[0, 1]]
        network.train()(x)
    assert mixture.chosen is not None and mixture.chosen.unique(dim=0).tolist() == [[0, 1]]


def test_evaluation_runs_the_experts_that_are_chosen() -> None:
    network, mixture, x = _network(2, "chosen")
    seen = [0, 0, 0]
    for number, expert in enumerate(mixture.experts):
        expert.register_forward_hook(
            lambda _module, inputs, _out, number=number: seen.__setitem__(number, len(inputs[0]))
        )
    network(x)
    assert mixture.index is not None
    assert seen == torch.bincount(mixture.index.flatten(), minlength=3).tolist() and sum(seen) == 2 * len(x)


def test_calibration_shows_every_expert_every_sample() -> None:
    """An expert that no sample chooses may not be left with an unknown range, nor one range with a share of them."""
    network, mixture, x = _network(1, "none")
    calibrate(network, [x])
    with torch.no_grad():
        before = network[:4](x)
        most = max(float(expert(before).max()) for expert in mixture.experts)
    assert float(mixture.quantizer.running_range[1]) == most


def _flash(graph: Graph) -> int:
    """Bytes of the distinct arrays in flash."""
    program = lower(simplify(graph), isa=("c99",))
    arrays = {constant.data.tobytes() for step in program.steps for constant in all_constants(step)}
    return sum(map(len, arrays))


def test_two_choices_have_the_experts_once() -> None:
    """What a second choice adds is no weights."""
    one, two = (_flash(compare_decisions(*_pick(_network(k, "all")), f"m{k}")[0]) for k in (1, 2))
    weights = 4 * 6 * 9
    assert two < one + weights // 2


def _pick(found: tuple[nn.Module, MixtureOfExperts, torch.Tensor]) -> tuple[nn.Module, torch.Tensor]:
    return found[0], found[2]


@pytest.mark.parametrize(("k", "weights"), [(1, "all"), (1, "none"), (2, "all"), (2, "chosen")])
def test_the_router_learns(k: int, weights: str) -> None:
    network, mixture, x = _network(k, weights)
    network.train()(x).square().mean().backward()
    assert float(mixture.router[2].weight.grad.abs().sum()) > 0


def test_load_balance() -> None:
    """1 where all experts are used alike, n where one has all; its gradient takes from the one that has most."""
    network, mixture, x = _network(1, "all", count=4)
    network.train()(x)
    mixture.chosen = torch.arange(24)[:, None] % 4
    mixture.probabilities = torch.full((24, 4), 0.25)
    assert float(load_balance(network)) == pytest.approx(1.0)
    mixture.chosen = torch.zeros(24, 1, dtype=torch.int64)
    mixture.probabilities = torch.eye(4)[[0] * 24]
    assert float(load_balance(network)) == pytest.approx(4.0)
    with torch.no_grad():
        mixture.router[2].bias[0] += 0.5
    for _ in range(30):
        network(x)
    assert int((mixture.chosen == 0).sum()) > 12
    load_balance(network).backward()
    slope = mixture.router[2].bias.grad
    assert int(slope.argmax()) == 0 and float(slope[0]) > 0
    assert float(load_balance(nn.Linear(1, 1))) == 0.0


def test_refusals() -> None:
    for k, weights, count, said in (
        (3, "all", 2, "3 of 2"),
        (1, "chosen", 2, "for k = 1"),
        (2, "none", 2, "for k = 2"),
    ):
        with pytest.raises(UnsupportedError, match=said):
            _network(k, weights, count)
