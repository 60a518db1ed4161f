"""`tinygen demo wakeword --train`: what it shows."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen.cli.console import console, print_json, progress
from tinygen.cli.demo_wakeword_view import LiveView, demo_view
from tinygen.cli.sheet import Sheet, name, number
from tinygen.errors import TinygenError
from tinygen.extras import optional_imports

if TYPE_CHECKING:
    from tinygen.apps.wakeword.det import Point, Rate
    from tinygen.apps.wakeword.evaluate import Evaluation
    from tinygen.apps.wakeword.sizes import Size
    from tinygen.apps.wakeword.train import Trained

_NEEDED = ("torch", "espeakng_loader", "matplotlib")


@dataclass(frozen=True)
class Training:
    """What the command line says; see `TrainOptions`."""

    board: str
    quick: bool
    seed: int
    toolchain: str | None
    force: bool
    recipes: tuple[str, ...]
    exits: bool


def train_and_show(phrase: str, out: Path, training: Training, *, as_json: bool) -> None:
    """Trains, and prints the report: text and tables, or one JSON document."""
    with optional_imports("training"):
        for module in _NEEDED:
            importlib.import_module(module)
    from tinygen.apps.digits.lowbit import REGIMES
    from tinygen.apps.wakeword.demo import Watcher
    from tinygen.apps.wakeword.train import FULL, QUICK, TrainOptions, train_wakeword

    unknown = [name for name in training.recipes if name not in REGIMES]
    if unknown:
        raise TinygenError(
            f"there is no recipe '{unknown[0]}'", where="--recipes", fix=f"Recipes: {', '.join(REGIMES)}."
        )
    options = TrainOptions(
        training.board,
        QUICK if training.quick else FULL,
        training.seed,
        training.toolchain,
        training.force,
        tuple(dict.fromkeys(training.recipes)),
        training.exits,
    )
    with LiveView(console, quiet=as_json) as view, progress(as_json) as update:
        trained = train_wakeword(
            phrase,
            out,
            options,
            Watcher(progress=update, on_start=view.start, on_hop=view.show),
        )
    if as_json:
        print_json(trained.as_json())
    else:
        console.print(trained_view(trained))


def trained_view(trained: Trained) -> RenderableType:
    """Everything that came of it."""
    point = trained.evaluations[0].chosen
    words = (
        f"Held-out voices: the phrase {point.phrases:,} times, {point.hours:.1f} h of speech and noise without it and "
        "without near misses, which are judged apart (FA: false accepts); in brackets 95 % confidence. All speech is "
        "synthesised: real voices and rooms will do worse."
    )
    title = f"'{trained.phrase.text}': false rejects, held-out voices"
    parts: list[RenderableType] = [_accuracy(trained.evaluations, title)]
    if trained.recipes:
        parts += [Text(), _accuracy(trained.recipes, "The same of networks of their own, by each recipe")]
    if trained.exits:
        answers = tuple(one.evaluation for one in trained.exits)
        parts += [Text(), _accuracy(answers, "A network with an exit that may lose so many of the validation phrases")]
    parts += [Text(words), Text()]
    parts += [_hours(trained), Text()] if trained.hours else []
    if trained.sizes:
        parts += [_sizes(trained.sizes), Text()]
    same = f"{trained.differing} of {trained.steps:,} codes differ from the integer semantics."
    parts += [demo_view(trained.demo), Text(same)]
    total = sum(trained.seconds.values())
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in trained.seconds.items())
    parts += [
        Text(f"{total / 60:.1f} minutes: {stages}."),
        Text(f"All of it is in {trained.folder}: det.png, report.json, model.tg."),
    ]
    return Group(*parts)


def _accuracy(evaluations: Sequence[Evaluation], title: str) -> Sheet:
    rates = (number("at 0.5 FA/h", 1), number("1 FA/h"), number("2 FA/h", 2))
    chosen = (number("chosen cutoff"), number("there"), number("FA/h there"), number("near misses", 3))
    table = Sheet(title, [name("precision"), *rates, *chosen])
    for one in evaluations:
        table.add_row(one.name, *(_rejects(one.at(allowed)) for allowed in (0.5, 1.0, 2.0)), *_chosen(one))
    return table


def _chosen(one: Evaluation) -> tuple[str, ...]:
    accepts = one.chosen.false_accepts
    return (
        f"{one.chosen.cutoff:.2f}",
        _share(one.chosen.false_rejects),
        f"{accepts.value:.2f} ({accepts.low:.2f}-{accepts.high:.2f})",
        f"{one.confused} of {one.near_misses}",
    )


def _rejects(point: Point | None) -> str:
    return "none" if point is None else f"{100 * point.false_rejects.value:.1f} %"


def _share(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}-{100 * rate.high:.1f})"


def _hours(trained: Trained) -> Sheet:
    """Energy of listening, and why: how many steps go on, and what they cost."""
    headings = (
        "front end,\ncycles a step",
        "network:\nno speech",
        "\nspeech",
        "\nworst",
        "J an hour:\nno speech",
        "\nspeech",
    )
    shares = (number("goes on, %:\nno speech", 1), number("\nspeech", 1))
    table = Sheet("An hour of listening, predicted", [name("board"), name("network"), *shares, *map(number, headings)])
    known = {one.evaluation.name: (one.noise, one.speech) for one in trained.exits}
    for one in trained.hours:
        cells = [f"{100 * share:.2f}" for share in known[one.name]] if one.name in known else ["", ""]
        cells += [f"{cycles:,.0f}" for cycles in (one.front_end, one.noise, one.speech, one.worst)]
        cells += ["" if joules is None else f"{joules:.1f}" for joules in (one.joules_noise, one.joules_speech)]
        table.add_row(one.board, one.name, *cells)
    return table


def _sizes(sizes: tuple[Size, ...]) -> Sheet:
    ranks = {"flash B": 0, "RAM B": 0, "constants B, alone": 2, "cycles of a step": 1, "ms of 30": 0}
    table = Sheet(
        "Sizes of firmwares that listen; a switch's are those of all switches together",
        [name("board"), name("precision"), *(number(heading, rank) for heading, rank in ranks.items())],
    )
    for one in sizes:
        table.add_row(
            one.board,
            one.name,
            f"{one.flash:,}",
            f"{one.ram:,}",
            f"{one.weights:,}",
            f"{one.cycles:,}",
            f"{one.milliseconds:.2f}",
        )
    return table
