"""Cycles of the trained networks of `experiments`, in an emulated board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from examples.studies.channel_selection.plans import DYNAMIC
from tinygen.apps.digits.lowbit import Digits
from tinygen.bench.case import Trained, case_of
from tinygen.bench.measure import Job, measure
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine

DIGITS, ALIKE = 20, 2
"""Test digits that the board gets: of networks whose cycles depend on the digit, and of others."""
_Row = dict[str, Any]


@dataclass(frozen=True)
class Cycles:
    """Of an inference of one trained network: the mean over test digits, and the most."""

    mean: float
    worst: float


Costs = Mapping[str, Mapping[int, Cycles]]
"""By name and seed. Networks whose cycles depend on no input have those of one seed, which stand for all."""


@dataclass(frozen=True)
class Place:
    """Where networks run, and which gated layers compute live channels alone (`BuildOptions`)."""

    board: str
    toolchain: str
    gates: str = "always"


@dataclass(frozen=True)
class Networks:
    """Trained networks, see `network_file`, and digits for them."""

    folder: Path
    test: Digits


def at(costs: Mapping[int, Cycles], seed: int) -> Cycles:
    """Those of a seed."""
    return costs[seed] if seed in costs else next(iter(costs.values()))


def costs_of(rows: Sequence[_Row], place: Place) -> Costs:
    """Those of the rows that `measured` made."""
    found: dict[str, dict[int, Cycles]] = {}
    for row in rows:
        if Place(row["board"], row["toolchain"], row.get("gates", "always")) == place:
            found.setdefault(row["name"], {})[row["seed"]] = Cycles(row["cycles"], row["worst_cycles"])
    return found


def measured(rows: Sequence[_Row], costs: Sequence[_Row], networks: Networks, place: Place) -> Iterator[_Row]:
    """A row for each trained network whose cycles are unknown; of networks whose cycles depend on no input only for the
    first seed.

    The digit that takes most multiply-accumulates is among those that the board gets, for the worst case, but not in
    the mean.

    Args:
        rows: of trained networks.
        costs: rows of cycles that were measured earlier.

    Raises:
        TinygenError: the firmware does not fit, or its outputs are wrong.
    """
    known = {name: set(of_seeds) for name, of_seeds in costs_of(costs, place).items()}
    for row in rows:
        name, seed = row["name"], row["seed"]
        is_dynamic, seeds = name in DYNAMIC, known.setdefault(name, set())
        if seed in seeds or (seeds and not is_dynamic):
            continue
        seeds.add(seed)
        digits = [*range(DIGITS), row["dearest"]] if is_dynamic else [*range(ALIKE)]
        chosen = Digits(networks.test.images[digits], networks.test.labels[digits])
        cycles = cycles_of(network_file(networks.folder, name, seed), chosen, place)
        yield (
            {"name": name, "seed": seed}
            | asdict(place)
            | {"cycles": fmean(cycles[:DIGITS]), "worst_cycles": max(cycles)}
        )


def network_file(folder: Path, name: str, seed: int) -> Path:
    """Where a trained network is saved."""
    return folder / f"{name}-{seed}.tg"


def cycles_of(model: Path, digits: Digits, place: Place) -> list[int]:
    """Predicted cycles for each digit; outputs are compared with the integer semantics.

    Raises:
        TinygenError: see `measured`.
    """
    graph = load_model(model)
    encoding = graph.tensors[graph.inputs[0]].encoding
    assert isinstance(encoding, Affine)
    codes = np.floor(digits.images.astype(np.float64) / encoding.scale[0] + 0.5) + encoding.zero_point[0]
    inputs = codes.clip(-128, 127).astype(np.int8).transpose(0, 2, 3, 1)
    case = replace(
        case_of("gated-experiments", model.stem, model),
        trained=Trained({}, [[each[None]] for each in inputs], digits.labels.tolist()),
        each=True,
        gates=place.gates,
    )
    row = measure(Job(case, "tinygen", place.toolchain, place.board))
    if row["error"]:
        raise TinygenError(row["error"], where=model.name)
    return list(row["sample_cycles"])
