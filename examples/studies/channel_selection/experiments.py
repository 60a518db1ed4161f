"""What ways to choose channels are worth, on small data: experiments of two theses, five seeds, paired by seed.

    python -m examples.studies.channel_selection.experiments --out experiments.jsonl --board f746zg

R. Raju 2022, chapter 3: gates, experts, both, beside narrow networks; training gates and experts together or one after
the other; how far routers tell classes apart. S. Elkerdawy 2022, chapter 6: the accuracy of mask predictors by r,
decoupled and joint; the reduction that is expected before training; fixed signatures beside static pruning; Brier
scores of blurred and noisy digits; clusters of masks. Each trained network is a line of the file, and a `.tg` file in a
folder beside it, `experiments.networks`; the cycles of a network are a line too. A second run goes on where the first
was stopped. Multiply-accumulates are those executed, predictors, heads and mixing included.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.studies.channel_selection import training
from examples.studies.channel_selection.comparisons import markdown
from examples.studies.channel_selection.cycles import Networks, Place, costs_of, measured, network_file
from examples.studies.channel_selection.plans import BRIER, DENSE, FROM_SCRATCH, MASKED, NAMES, SEEDS, TUNED
from tinygen.apps.digits.lowbit import CLASSES, Digits
from tinygen.compress.fire_together import firing_profile
from tinygen.frontends.names import c_name
from tinygen.frontends.tg import save_tg
from tinygen.frontends.torch import export
from tinygen.nn import CondConv2d, GatedConv2d, MaskedConv2d, masked_layers

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and measures what is missing in the file, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="results, a line of JSON each")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,...")
    parser.add_argument("--case", default="*", metavar="PATTERN,...", help="only networks like this: narrow-*")
    parser.add_argument("--epochs", type=int, default=training.EPOCHS, metavar="N", help="of each half")
    parser.add_argument("--board", metavar="NAME", help="also cycles, in its emulated board")
    parser.add_argument("--toolchain", default="gcc", metavar="NAME")
    parser.add_argument("--gates", default="always", choices=("auto", "always", "never"), help="see tinygen build")
    options = parser.parse_args(arguments)
    folder = options.out.with_suffix(".networks")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    rows, costs = _read(options.out, folder)
    digits, test = data = training.small_digits()
    for seed in seeds:
        done = {row["name"] for row in rows if row["seed"] == seed}
        wanted = [name for name in NAMES if _is_one(name, options.case) and name not in done]
        for row, network in rows_of(seed, data, wanted, options.epochs):
            # Before its line: a network that has one is not trained again.
            graph = export(network, digits.tensors()[0][:1], name=c_name(row["name"]))
            folder.mkdir(exist_ok=True)
            save_tg(graph, network_file(folder, row["name"], seed))
            rows.append(row)
            _append(options.out, row)
    place = Place(options.board, options.toolchain, options.gates) if options.board else None
    if place:
        mine = [row for row in rows if row["seed"] in seeds and _is_one(row["name"], options.case)]
        for row in measured(mine, costs, Networks(folder, test), place):
            costs.append(row)
            _append(options.out, row)
    print(markdown(rows, costs_of(costs, place) if place else {}))


def _is_one(name: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns.split(","))


def _read(file: Path, folder: Path) -> tuple[list[_Row], list[_Row]]:
    """Rows of trained networks whose `.tg` files are there, and rows of cycles."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    there = [row for row in lines if network_file(folder, row["name"], row["seed"]).exists()]
    # A network that was trained again has a second line.
    trained = {(row["name"], row["seed"]): row for row in there if "board" not in row}
    return list(trained.values()), [row for row in there if "board" in row]


def _append(file: Path, row: _Row) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
