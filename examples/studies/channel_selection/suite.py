"""Suite `channel-selection`: what ways to choose channels are worth, on small data, five seeds, paired by seed.

R. Raju 2022, chapter 3: gates, experts, both, beside narrow networks; training gates and experts together or one after
the other; how far routers tell classes apart. S. Elkerdawy 2022, chapter 6: the accuracy of mask predictors by r,
decoupled and joint; the reduction that is expected before training; fixed signatures beside static pruning; Brier
scores of blurred and noisy digits; clusters of masks. Networks whose cycles depend on the digit are cases for each
seed, others for the first one. Multiply-accumulates are those executed, predictors, heads and mixing included.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from examples.studies.accuracy import NEEDS
from examples.studies.channel_selection import training
from examples.studies.channel_selection.comparisons import Costs, Cycles, markdown
from examples.studies.channel_selection.plans import BRIER, DENSE, DYNAMIC, FROM_SCRATCH, MASKED, NAMES, SEEDS, TUNED
from tinygen.apps.digits.lowbit import CLASSES, Digits
from tinygen.bench.case import Case, Trained, case_of
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.compress.fire_together import firing_profile
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.frontends.torch import export
from tinygen.ir.graph import Graph
from tinygen.nn import CondConv2d, GatedConv2d, MaskedConv2d, masked_layers
from tinygen.processes import Seeds

SUITE = "channel-selection"
DIGITS, ALIKE = 20, 2
"""Test digits that the board gets: of networks whose cycles depend on the digit, and of others."""
DISTURBANCES: Mapping[str, tuple[float, float]] = {
    "as they are": (0.0, 0.0),
    "blur 0.7": (0.7, 0.0),
    "blur 1.1": (1.1, 0.0),
    "noise 0.1": (0.0, 0.1),
    "noise 0.2": (0.0, 0.2),
}
"""Standard deviations: of a blur in pixels, of noise where white is 1."""
_Row = dict[str, Any]
_Data = tuple[Digits, Digits]


@suite(
    SUITE,
    "every way to choose channels, beside narrow networks: five seeds (twenty minutes; needs torch)",
    ("tinygen",),
    report=lambda rows: sections(rows),
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: mlxtend is not installed.
    """
    wanted = [name for name in NAMES if any(map(options.wanted, _case_names(name)))]
    unwanted = [case for name in NAMES if name not in wanted for case in _case_names(name)]
    if not wanted:
        return SuiteCases([], unwanted=unwanted)
    with needs_packages(SUITE, fix=NEEDS):
        data = training.small_digits()
    found = Seeds(SEEDS, options.jobs, options.progress).trained(partial(of_seed, data, wanted, training.EPOCHS))
    return SuiteCases([case for name in wanted for case in _cases(name, found)], unwanted=unwanted)


def _case_names(name: str) -> list[str]:
    return [name, *(f"{name}-seed{seed}" for seed in SEEDS[1:] if name in DYNAMIC)]


@dataclass(frozen=True)
class OfSeed:
    """A trained network: its row, its graph, and what the board gets."""

    row: _Row
    graph: Graph
    codes: np.ndarray
    labels: np.ndarray

    def case(self, name: str, rows: Sequence[_Row]) -> Case:
        """
        Args:
            name: the case's.
            rows: of all seeds, where they are this case's to report.
        """
        figures = {"network": self.row["name"], "seed": self.row["seed"], "networks": list(rows)}
        case = case_of(SUITE, name, MemoryModel(self.graph, f"{self.row['name']} (seed {self.row['seed']})"))
        trained = Trained(figures, [[one[None]] for one in self.codes], self.labels.tolist())
        return replace(case, trained=trained, each=True, gates="always")


def of_seed(data: _Data, wanted: Collection[str], epochs: int, seed: int) -> dict[str, OfSeed]:
    """All that is wanted, by name."""
    return {row["name"]: for_board(row, network, data[1]) for row, network in rows_of(seed, data, wanted, epochs)}


def for_board(row: _Row, network: nn.Module, test: Digits) -> OfSeed:
    """The digit that takes most multiply-accumulates is the last: it counts as the worst case, not in the mean."""
    chosen = [*range(DIGITS), row["dearest"]] if row["name"] in DYNAMIC else [*range(ALIKE)]
    images = test.tensors()[0][chosen]
    codes = network.get_submodule("codes").codes(images)[0].transpose(0, 2, 3, 1)
    return OfSeed(row, export(network, images[:1], name=c_name(row["name"])), codes, test.labels[chosen])


def _cases(name: str, found: Sequence[Mapping[str, OfSeed]]) -> list[Case]:
    """Of networks whose cycles depend on the digit one for each seed."""
    networks = [of[name] for of in found]
    rows = [network.row for network in networks]
    return [
        network.case(case, rows if case == name else ())
        for network, case in zip(networks, _case_names(name), strict=False)
    ]


def sections(rows: Sequence[_Row]) -> list[Section]:
    """Tables and comparisons, for each board and compiler."""
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['board']}, {row['toolchain']}", []).append(row)
    return [
        Section(f"Ways to choose channels: {place}", tables=[markdown(_networks(mine), costs_of(mine))])
        for place, mine in groups.items()
    ]


def _networks(rows: Sequence[_Row]) -> list[_Row]:
    return [network for row in rows for network in row["networks"]]


def costs_of(rows: Sequence[_Row]) -> Costs:
    """Cycles of the rows that were measured."""
    found: dict[str, dict[int, Cycles]] = {}
    for row in rows:
        if not row["error"]:
            cycles = row["sample_cycles"]
            found.setdefault(row["network"], {})[row["seed"]] = Cycles(fmean(cycles[:DIGITS]), max(cycles))
    return found


def rows_of(
    seed: int, data: _Data, wanted: Collection[str], epochs: int = training.EPOCHS
) -> Iterator[tuple[_Row, nn.Module]]:
    """A row for each network of a seed that is wanted, and the network, trained."""
    digits, test = data
    for name, plan in FROM_SCRATCH.items():
        if name in wanted:
            network = plan.trained(seed, digits, epochs)
            yield {"name": name, "seed": seed} | _measured(name, network, test), network
    tuned = [name for name in TUNED if name in wanted]
    if not tuned:
        return
    start = training.network(training.masked(1.0), seed)
    for layer in masked_layers(start).values():
        layer.masking = False
    training.train(start, digits, seed, epochs)
    with torch.no_grad():
        profile = firing_profile(start, digits.tensors()[0].split(250))
    for name in tuned:
        network = training.train(_tuned(name, start, digits, seed), digits, seed, epochs, training.TUNING_RATE)
        row = {"name": name, "seed": seed} | _measured(name, network, test)
        mass = MASKED[name](1, 1).mass if name in MASKED else None
        yield (row if mass is None else row | {"expected": 100 * profile.reduction(float(mass))}), network


def _tuned(name: str, start: nn.Module, digits: Digits, seed: int) -> nn.Module:
    if name in MASKED:
        return training.from_start(start, MASKED[name], seed)
    dense = training.from_start(start, training.plain, seed)
    return dense if name == DENSE else training.pruned(dense, digits, 0.5, seed)


def _measured(name: str, network: nn.Module, test: Digits) -> _Row:
    """Accuracy in per cent, executed MAC, the digit with most of them, what lists and routers do, and Brier scores of
    the networks whose scores are shown.
    """
    with torch.no_grad():
        return _shown(network, *test.tensors(), DISTURBANCES if name in BRIER else {})


def _shown(network: nn.Module, images: Tensor, labels: Tensor, disturbances: Mapping[str, tuple[float, float]]) -> _Row:
    scores = network(images)
    found: _Row = {"accuracy": 100 * float((scores.argmax(1) == labels).float().mean())}
    macs = executed(network)
    found |= {"macs": float(macs.mean()), "worst_macs": float(macs.max()), "dearest": int(macs.argmax())}
    found["clusters"] = {name: _clusters(layer.live) for name, layer in masked_layers(network).items()}
    found["told_apart"] = [told_apart(part.shares, labels) for part in _routed(network)]
    chance = torch.Generator().manual_seed(0)
    for how, (blur, noise) in disturbances.items():
        seen = training.blurred(images, blur) + noise * torch.randn(images.shape, generator=chance)
        found[f"brier {how}"] = brier(network(seen.clamp(0, 1)), labels)
    return found


def brier(scores: Tensor, labels: Tensor) -> float:
    """The mean over inputs of the squared distance between probabilities and the truth."""
    truth = nn.functional.one_hot(labels, CLASSES)
    return float((torch.softmax(scores, 1) - truth).square().sum(1).mean())


def executed(network: nn.Module) -> Tensor:
    """Multiply-accumulates for each input of the last batch, [N] or [1]."""
    total, live_in = torch.zeros(1), torch.ones(1)
    parts = [part for name, part in network.named_children() if name.startswith("conv")]
    for part, (_, _, side) in zip(parts, training.LAYERS, strict=True):
        live_out, extra = _live(part)
        experts = len(_routed(part)) and training.EXPERTS
        total = total + live_in * live_out * training.TAPS * (side * side + experts) + extra
        live_in = live_out
    dense = network.get_submodule("dense")
    assert isinstance(dense, nn.Linear)
    return total + dense.weight.numel()


def _live(part: nn.Module) -> tuple[Tensor, int]:
    """How many filters live for each input; MAC of what chooses them, and of routers."""
    routers = sum(one.router.weight.numel() for one in _routed(part))
    if isinstance(part, MaskedConv2d):
        assert part.live is not None
        return part.live.sum(1).float(), part.predictor.macs
    if isinstance(part, GatedConv2d):
        return torch.tensor([float(part.k)]), part.head.weight.numel() + routers
    norm = part.get_submodule("norm")
    assert isinstance(norm, nn.BatchNorm2d)
    return torch.tensor([float(norm.num_features)]), routers


def _routed(network: nn.Module) -> list[CondConv2d]:
    return [part for part in network.modules() if isinstance(part, CondConv2d)]


def _clusters(live: Tensor | None) -> dict[str, int]:
    """Different sets of filters over the inputs; filters that are live for all, for none, and how many there are."""
    assert live is not None
    different = len(torch.unique(live, dim=0))
    return {
        "different": different,
        "core": int(live.all(0).sum()),
        "never": int((~live.any(0)).sum()),
        "all": live.shape[1],
    }


def told_apart(shares: Tensor | None, labels: Tensor) -> float:
    """Share of the variance of routing weights that is between classes, the mean over experts (0: routers see none)."""
    assert shares is not None
    means = torch.stack([shares[labels == label].mean(0) for label in range(CLASSES)])
    between = (means[labels] - shares.mean(0)).square().mean(0)
    return float((between / shares.var(0, unbiased=False).clamp(min=1e-12)).mean())
