"""Iterative magnitude pruning: what is removed stays removed, what survives goes back to where it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn, optim

from tests.compress.test_masking import network
from tinygen.compress.lottery import iterative_magnitude_pruning, reinitialise, rewind, snapshot
from tinygen.compress.masking import apply_masks, masks_of, sparsity
from tinygen.compress.masks import prunable
from tinygen.errors import UnsupportedError
from tinygen.nn import convert

torch.set_num_threads(1)


class Training:
    """Trains on noise of each epoch's own, and remembers what it was asked for and found."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.starts: list[dict[str, Tensor]] = []

    def __call__(self, net: nn.Module, first: int, end: int) -> None:
        self.calls.append((first, end))
        self.starts.append(snapshot(net))
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        net.train()
        for epoch in range(first, end):
            generator = torch.Generator().manual_seed(epoch)
            x, y = torch.randn(8, 2, 6, 6, generator=generator), torch.randint(0, 4, (8,), generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("level", ["weight", "kernel"])
@pytest.mark.parametrize("rewind_to", [0, 2])
def test_rounds(level: str, rewind_to: int) -> None:
    net, training = network(), Training()
    initial, remaining, before = snapshot(net), [], None
    for ticket in iterative_magnitude_pruning(
        net,
        training,
        rounds=3,
        epochs=5,
        share=0.5,
        rewind_to=rewind_to,
        level=level,
        exclude=["0"],
        empty_filters=level == "kernel",
    ):
        remaining.append(ticket.remaining)
        assert ticket.remaining == 1.0 - sparsity(net).total
        if before is not None:
            assert all(not (mask & ~before[name]).any() for name, mask in ticket.masks.items()), "nothing comes back"
        before = dict(ticket.masks) or None
    # Half of what is left, each time, of all but the first layer.
    rest = 108 / 432
    for number, share in enumerate(remaining):
        assert share == pytest.approx(rest + (1 - rest) * 0.5**number, abs=0.03)
    early = [(0, rewind_to)] if rewind_to else []
    assert training.calls == early + [(rewind_to, 5)] * 4
    assert same(training.starts[0], initial)
    starts = training.starts[len(early) :]
    assert all(same(start, starts[0]) for start in starts), "weights and batch norm are rewound in every round"
    assert same(starts[0], initial) != bool(rewind_to)


def test_the_smallest_of_the_trained_weights_go() -> None:
    net = network()
    rounds = iterative_magnitude_pruning(net, Training(), rounds=1, epochs=4, share=0.3)
    next(rounds)
    trained = torch.cat([layer.weight.detach().abs().flatten() for layer in prunable(net).values()])
    masks = next(rounds).masks
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert trained[~kept].max() <= trained[kept].min() and int((~kept).sum()) == 130


def test_quantized_networks_have_tickets_too() -> None:
    net, training = convert(network(), "w4a4"), Training()
    tickets = list(iterative_magnitude_pruning(net, training, rounds=2, epochs=2, share=0.5))
    assert [len(ticket.masks) for ticket in tickets] == [0, 3, 3]
    assert tickets[2].remaining == pytest.approx(0.25, abs=0.01)
    assert same(training.starts[2], training.starts[0])


def test_rewinding_and_the_random_control_keep_masks() -> None:
    for net in (network(), convert(network(), "ternary")):
        start = snapshot(net)
        Training()(net, 0, 2)
        apply_masks(net, {"3": torch.eye(6, 2, dtype=torch.bool)})
        masks = masks_of(net)
        rewind(net, start)
        assert same(snapshot(net), start) and torch.equal(masks_of(net)["3"], masks["3"])
        reinitialise(net, seed=1)
        first = snapshot(net)
        assert not torch.equal(first["3.weight"], start["3.weight"]) and torch.equal(masks_of(net)["3"], masks["3"])
        Training()(net, 0, 1)
        reinitialise(net, seed=1)
        assert torch.equal(snapshot(net)["3.weight"], first["3.weight"]), "the same seed, the same weights"
        weights = net[3].quantized_weight() if hasattr(net[3], "quantized_weight") else net[3].weight
        assert not weights[~masks["3"]].any()


def test_bad_input() -> None:
    for options in ({"rewind_to": 5}, {"rewind_to": -1}, {"rounds": -1}):
        with pytest.raises(UnsupportedError, match="Use 0 <= rewind_to < epochs"):
            iterative_magnitude_pruning(network(), Training(), **{"rounds": 1, "epochs": 5, **options})
    with pytest.raises(UnsupportedError, match=r"share 2"):
        iterative_magnitude_pruning(network(), Training(), rounds=1, epochs=1, share=2)
    with pytest.raises(UnsupportedError, match="a snapshot of another network"):
        rewind(network(), {})
