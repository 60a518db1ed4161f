"""What ways to choose channels are worth, on small data: experiments of two theses, five seeds, paired by seed.

    python -m tinygen.bench.gated_experiments --out experiments.jsonl --board f746zg

R. Raju 2022, chapter 3: gates, experts, both, beside narrow networks; training gates and experts together or one after
the other; how far routers tell classes apart. S. Elkerdawy 2022, chapter 6: the accuracy of mask predictors by r,
decoupled and joint; the reduction that is expected before training; fixed signatures beside static pruning; Brier
scores of blurred and noisy digits; clusters of masks. Each trained network is a line of the file: a second run goes on
where the first was stopped. Multiply-accumulates are those executed, predictors, heads and mixing included.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from tinygen.bench import train_gated_experiments as training
from tinygen.bench.case import case_of
from tinygen.bench.measure import Job, measure
from tinygen.bench.train_digits_lowbit import BATCH, CLASSES, Digits
from tinygen.compress.fire_together import firing_profile
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.frontends.torch import export
from tinygen.nn import CondConv2d, GatedConv2d, MaskedConv2d, masked_layers

SEEDS = (0, 1, 2, 3, 4)
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
WIDTHS = (Fraction(3, 4), HALF, Fraction(3, 8), QUARTER)
MASSES = (1.0, 0.95, 0.9, 0.8, 0.7)
DISTURBANCES: Mapping[str, tuple[float, float]] = {
    "as they are": (0.0, 0.0),
    "blur 0.7": (0.7, 0.0),
    "blur 1.1": (1.1, 0.0),
    "noise 0.1": (0.0, 0.1),
    "noise 0.2": (0.0, 0.2),
}
"""Standard deviations: of a blur in pixels, of noise where white is 1."""
STUDENT: Mapping[int, float] = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Standard errors on both sides of a mean that hold 95 %, by the number of seeds."""
_Row = dict[str, Any]
_Data = tuple[Digits, Digits]


@dataclass(frozen=True)
class Plan:
    """A network that trains from scratch for both halves.

    Attributes:
        share: of the channels that it has.
        apart: its gates keep all channels in the first half.
    """

    layer: training.Layer
    share: Fraction = Fraction(1)
    apart: bool = False

    def trained(self, seed: int, digits: Digits, epochs: int) -> nn.Module:
        made = training.network(self.layer, seed, self.share)
        if not self.apart:
            return training.train(made, digits, seed, 2 * epochs)
        gates = [part for part in made if isinstance(part, GatedConv2d)]
        live = [gate.k for gate in gates]
        for gate in gates:
            gate.k = len(gate.beta)
        training.train(made, digits, seed, epochs)
        for gate, k in zip(gates, live, strict=True):
            gate.k = k
        return training.train(made, digits, seed, epochs)


FROM_SCRATCH: Mapping[str, Plan] = {
    **{f"narrow-{round(100 * width)}": Plan(training.plain, width) for width in WIDTHS},
    "narrow-condconv-25": Plan(training.mixed, QUARTER),
    "fbs-50": Plan(training.gated(HALF)),
    "fbs-25": Plan(training.gated(QUARTER)),
    "fbs-condconv-25": Plan(training.gated(QUARTER, training.EXPERTS)),
    "fbs-condconv-25-apart": Plan(training.gated(QUARTER, training.EXPERTS), apart=True),
}
MASKED: Mapping[str, training.Layer] = {
    **{f"ftwt-{mass}": training.masked(mass) for mass in MASSES},
    **{f"ftwt-{mass}-joint": training.masked(mass, joint=True) for mass in MASSES},
    "ftwt-fixed-50": training.masked(density=HALF),
}
TUNED = ("dense", "taylor-50", *MASKED)
"""What starts from a trained dense network."""
BUILT: Mapping[str, Plan] = {
    "dense": Plan(training.plain),
    **{name: plan for name, plan in FROM_SCRATCH.items() if not plan.apart},
    "ftwt-fixed-50": Plan(MASKED["ftwt-fixed-50"]),
}
"""Networks whose cycles are the same for every input, so that their shapes tell them."""


def rows_of(seed: int, data: _Data, done: Sequence[str], epochs: int = training.EPOCHS) -> Iterator[_Row]:
    """A row for each network of a seed but those that are `done`."""
    digits, test = data
    for name, plan in FROM_SCRATCH.items():
        if name not in done:
            yield {"name": name, "seed": seed} | _measured(plan.trained(seed, digits, epochs), test)
    if set(TUNED) <= set(done):
        return
    start = training.network(training.masked(1.0), seed)
    for layer in masked_layers(start).values():
        layer.masking = False
    training.train(start, digits, seed, epochs)
    with torch.no_grad():
        profile = firing_profile(start, digits.tensors()[0].split(250))
    for name in TUNED:
        if name in done:
            continue
        made = _tuned(name, start, digits, seed)
        row = {"name": name, "seed": seed} | _measured(
            training.train(made, digits, seed, epochs, training.TUNING_RATE), test
        )
        mass = MASKED[name](1, 1).mass if name in MASKED else None
        yield row if mass is None else row | {"expected": 100 * profile.reduction(float(mass))}


def _tuned(name: str, start: nn.Module, digits: Digits, seed: int) -> nn.Module:
    if name in MASKED:
        return training.from_start(start, MASKED[name], seed)
    dense = training.from_start(start, training.plain, seed)
    return dense if name == "dense" else training.pruned(dense, digits, 0.5, seed)


def _measured(network: nn.Module, test: Digits) -> _Row:
    """Accuracy in per cent, executed MAC, Brier scores, and what lists and routers do."""
    with torch.no_grad():
        return _shown(network, *test.tensors())


def _shown(network: nn.Module, images: Tensor, labels: Tensor) -> _Row:
    scores = network(images)
    found: _Row = {"accuracy": 100 * float((scores.argmax(1) == labels).float().mean())}
    macs = executed(network)
    found |= {"macs": float(macs.mean()), "worst_macs": float(macs.max())}
    found["clusters"] = {name: _clusters(layer.live) for name, layer in masked_layers(network).items()}
    found["told_apart"] = [told_apart(part.shares, labels) for part in _routed(network)]
    chance = torch.Generator().manual_seed(0)
    for name, (blur, noise) in DISTURBANCES.items():
        seen = training.blurred(images, blur) + noise * torch.randn(images.shape, generator=chance)
        found[f"brier {name}"] = brier(network(seen.clamp(0, 1)), labels)
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
        return part.live.sum(1).float(), part.predictor.weight.numel()
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


def compared(rows: Sequence[_Row], first: str, second: str, key: str = "accuracy") -> str:
    """The mean difference of two networks over seeds, its interval of 95 %, and what that says."""
    of = {name: {row["seed"]: row[key] for row in rows if row["name"] == name} for name in (first, second)}
    return _said(
        f"{first} - {second}", [of[first][seed] - of[second][seed] for seed in of[first] if seed in of[second]]
    )


def _said(what: str, gaps: Sequence[float]) -> str:
    if len(gaps) not in STUDENT:
        return f"{what}: too few seeds"
    middle, around = fmean(gaps), STUDENT[len(gaps)] * stdev(gaps) / math.sqrt(len(gaps))
    word = "a tie" if abs(middle) <= around else "more" if middle > 0 else "less"
    return f"{what}: {middle:+.2f} ± {around:.2f}, {word} ({len(gaps)} seeds)"


def cycles_on(board: str, toolchain: str, data: Digits) -> dict[str, float]:
    """Predicted cycles of the networks that are `BUILT`, with random weights, in the emulated board."""
    found = {}
    images = data.tensors()[0][:BATCH]
    for name, plan in BUILT.items():
        network = training.network(plan.layer, 0, plan.share)
        network(images)
        graph = export(network.eval(), images[:1], name=c_name(name))
        row = measure(Job(case_of("experiments", name, MemoryModel(graph, name)), "tinygen", toolchain, board))
        if row["error"]:
            raise TinygenError(row["error"], where=name)
        found[name] = float(row["cycles_predicted"])
    return found


def against_narrow(rows: Sequence[_Row], cycles: Mapping[str, float]) -> list[str]:
    """Each network against narrow ones of the same cycles, on a straight line between two of them, paired by seed."""
    of = {name: {row["seed"]: row["accuracy"] for row in rows if row["name"] == name} for name in cycles}
    narrow = sorted(("dense", *(f"narrow-{round(100 * width)}" for width in WIDTHS)), key=lambda name: cycles[name])
    found = []
    for name in cycles:
        for below, above in pairwise(narrow):
            if name in narrow or not cycles[below] <= cycles[name] <= cycles[above]:
                continue
            part = (cycles[name] - cycles[below]) / (cycles[above] - cycles[below])
            seeds = set(of[name]) & set(of[below]) & set(of[above])
            gaps = [of[name][seed] - (1 - part) * of[below][seed] - part * of[above][seed] for seed in sorted(seeds)]
            found.append(_said(f"{name} - narrow networks of its cycles", gaps))
    return found


PAIRS = (
    ("fbs-50", "narrow-50"),
    ("fbs-25", "narrow-25"),
    ("fbs-condconv-25", "fbs-25"),
    ("fbs-condconv-25", "narrow-condconv-25"),
    ("narrow-condconv-25", "narrow-25"),
    ("fbs-condconv-25", "fbs-condconv-25-apart"),
    *((f"ftwt-{mass}", "dense") for mass in MASSES),
    *((f"ftwt-{mass}-joint", f"ftwt-{mass}") for mass in MASSES),
    ("ftwt-fixed-50", "taylor-50"),
    ("ftwt-fixed-50", "narrow-50"),
    ("taylor-50", "narrow-50"),
)


def markdown(rows: Sequence[_Row], cycles: Mapping[str, float]) -> str:
    """Tables of all networks, of what routers and masks do, and the comparisons.

    Args:
        cycles: by name, see `cycles_on`; empty where they were not measured.
    """
    names = list(dict.fromkeys([*FROM_SCRATCH, *TUNED]))
    groups = {name: [row for row in rows if row["name"] == name] for name in names}
    groups = {name: mine for name, mine in groups.items() if mine}
    whole = max(row["worst_macs"] for row in rows if row["name"] == "dense") if "dense" in groups else 1.0
    lines = ["| network | accuracy, % | MAC, mean | at worst | expected | cycles |", "|---|---:|---:|---:|---:|---:|"]
    for name, mine in groups.items():
        macs, worst = (100 * fmean(row[key] for row in mine) / whole for key in ("macs", "worst_macs"))
        expected = f"{100 - fmean(row['expected'] for row in mine):.1f} %" if "expected" in mine[0] else ""
        took = f"{cycles[name]:,.0f}" if name in cycles else ""
        accuracy = _spread(mine, "accuracy", 2)
        lines.append(f"| {name} | {accuracy} | {macs:.1f} % | {worst:.1f} % | {expected} | {took} |")
    said = [*(compared(rows, *pair) for pair in PAIRS), *(against_narrow(rows, cycles) if cycles else ())]
    lines += ["", *(f"- {sentence}" for sentence in said), ""]
    keys = [f"brier {name}" for name in DISTURBANCES]
    lines += [f"| Brier score | {' | '.join(DISTURBANCES)} |", f"|---|{'---:|' * len(keys)}"]
    for name in ("dense", "ftwt-0.9", "ftwt-fixed-50", "taylor-50", "narrow-50"):
        if name in groups:
            lines.append(f"| {name} | {' | '.join(_spread(groups[name], key, 3) for key in keys)} |")
    lines += ["", "| masks | layer | different sets | core filters | never live |", "|---|---|---:|---:|---:|"]
    for name, mine in groups.items():
        for layer in mine[0]["clusters"]:
            of = {key: fmean(row["clusters"][layer][key] for row in mine) for key in mine[0]["clusters"][layer]}
            core = f"{of['core']:.1f} of {of['all']:.0f}"
            lines.append(f"| {name} | {layer} | {of['different']:.0f} | {core} | {of['never']:.1f} |")
    lines += ["", "| routers | " + " | ".join(f"conv{place}" for place in (1, 2, 3)) + " |", "|---|---:|---:|---:|"]
    for name, mine in groups.items():
        if mine[0]["told_apart"]:
            shares = [fmean(row["told_apart"][place] for row in mine) for place in range(3)]
            lines.append(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return "\n".join(lines)


def _spread(rows: Sequence[_Row], key: str, digits: int) -> str:
    values = [row[key] for row in rows]
    return f"{fmean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0.0:.{digits}f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is missing in the file, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="results, a line of JSON each")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,...")
    parser.add_argument("--epochs", type=int, default=training.EPOCHS, metavar="N", help="of each half")
    parser.add_argument("--board", metavar="NAME", help="also cycles, in its emulated board")
    parser.add_argument("--toolchain", default="gcc", metavar="NAME")
    options = parser.parse_args(arguments)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    data = training.small_digits()
    for seed in map(int, options.seeds.split(",")):
        done = [row["name"] for row in rows if row["seed"] == seed]
        for row in rows_of(seed, data, done, options.epochs):
            rows.append(row)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    print(markdown(rows, cycles_on(options.board, options.toolchain, data[0]) if options.board else {}))


if __name__ == "__main__":
    main()
