"""Lottery tickets: iterative magnitude pruning with rewinding.

J. Frankle, M. Carbin, "The Lottery Ticket Hypothesis", ICLR 2019 (rewinding to the initial weights), and J. Frankle et
al., "Stabilizing the Lottery Ticket Hypothesis", 2019 (to those of an early epoch); Raju 2022, section 6.3. Each round
trains, removes a share of the remaining weights, and resets the survivors to their earlier values. Layer-wise for
shallow networks, global for deep ones; layers that are excluded once stay excluded. The control is the same masks with
new random weights (`reinitialise`), trained for as long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from tinygen.compress.magnitude import magnitude_scores, ranked_layers
from tinygen.compress.masking import apply_masks, sparsity
from tinygen.compress.masks import prunable
from tinygen.compress.ranking import check_share, prune_lowest
from tinygen.errors import UnsupportedError

Train: TypeAlias = Callable[[nn.Module, int, int], object]
"""train(network, first, end): trains in place, epochs first to end - 1 (rates and shuffling as of those epochs)."""


@dataclass(frozen=True)
class Ticket:
    """One round's result; at that point the network is trained, with the masks of the previous rounds.

    Attributes:
        round: 0 is the dense network.
        masks: that the network was trained with, by layer; none in round 0.
        remaining: share of the weights that are left, of all layers.
    """

    round: int
    masks: Mapping[str, Tensor]
    remaining: float


def iterative_magnitude_pruning(
    network: nn.Module,
    train: Train,
    *,
    rounds: int,
    epochs: int,
    share: float = 0.2,
    rewind_to: int = 0,
    level: str = "weight",
    scope: str = "global",
    exclude: Collection[str] = (),
    empty_filters: bool = False,
) -> Iterator[Ticket]:
    """Trains `rounds` + 1 times, each time with fewer weights; yields after each training.

    The optimiser must be made anew in each call of `train`: momentum is not rewound.

    Args:
        network: not trained yet; changed in place.
        train: see `Train`.
        rounds: how often to prune.
        epochs: of one training, rewound ones included.
        share: of the weights that are left, removed each round.
        rewind_to: epoch to whose start survivors return; 0 is the initial weights. Batch norm is rewound too.
        level: "weight" or "kernel".
        scope: the share of each "layer" or of all together ("global").
        exclude: names of layers that stay whole.
        empty_filters: filters may lose their last weight (or kernel), see `prune_by_magnitude`.

    Raises:
        UnsupportedError: epochs, rounds or the share are out of range; in a round, filters would be empty.
    """
    check_share(share)
    if not 0 <= rewind_to < epochs or rounds < 0:
        what = f"rewinding to epoch {rewind_to} of {epochs}, {rounds} rounds"
        raise UnsupportedError(what, where="iterative magnitude pruning", fix="Use 0 <= rewind_to < epochs.")
    whole = set(prunable(network)) - set(ranked_layers(network, level, exclude, empty_filters))

    def smaller(masks: dict[str, Tensor]) -> dict[str, Tensor]:
        scores = magnitude_scores(network, level, whole)
        return prune_lowest(network, scores, share, scope=scope, kept=masks or None, empty_filters=empty_filters)

    return _rounds(network, train, rounds, range(rewind_to, epochs), smaller)


def _rounds(
    network: nn.Module,
    train: Train,
    rounds: int,
    epochs: range,
    smaller: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> Iterator[Ticket]:
    """
    Args:
        epochs: of each training; those before the first are trained once.
        smaller: the masks of the next round, from those of this one.
    """
    if epochs.start:
        train(network, 0, epochs.start)
    start = snapshot(network)
    masks: dict[str, Tensor] = {}
    for number in range(rounds + 1):
        train(network, epochs.start, epochs.stop)
        yield Ticket(number, dict(masks), 1.0 - sparsity(network).total if masks else 1.0)
        if number < rounds:
            masks = smaller(masks)
            apply_masks(network, masks)
            rewind(network, start)


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers, under the names they have without masks."""
    state = {name: value.detach().clone() for name, value in network.state_dict(keep_vars=True).items()}
    return {_plain(name): value for name, value in state.items() if not name.endswith("_mask")}


@torch.no_grad()
def rewind(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Parameters and buffers as in a `snapshot`; masks stay.

    Raises:
        UnsupportedError: the snapshot is of another network.
    """
    current = {_plain(n): v for n, v in network.state_dict(keep_vars=True).items() if not n.endswith("_mask")}
    if current.keys() != state.keys() or any(value.shape != state[name].shape for name, value in current.items()):
        raise UnsupportedError("a snapshot of another network", where="rewind", fix="Take it with snapshot(network).")
    for name, value in current.items():
        value.copy_(state[name])


def _plain(name: str) -> str:
    return name.removesuffix("_orig")


def reinitialise(network: nn.Module, seed: int) -> None:
    """New random weights, by each module's own initialisation; masks stay. The control for a ticket."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            _reset(module)


@torch.no_grad()
def _reset(module: nn.Module) -> None:
    if not hasattr(module, "reset_parameters"):
        return
    if (orig := module._parameters.get("weight_orig")) is None:
        module.reset_parameters()
        return
    # torch.nn.utils.prune has renamed the parameter; the tensor under its old name is initialised, then copied over.
    module.weight = torch.empty_like(orig)
    module.reset_parameters()
    orig.copy_(module.weight)
    module.weight = orig.detach() * module.weight_mask
