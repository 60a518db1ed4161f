"""Counted instructions and predicted cycles, time and energy of an inference, as the CLI and reports give them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.targets.board import Board
from tinygen.targets.cycles.interval import interval_of, percent
from tinygen.targets.emulator import Profile
from tinygen.targets.first_light import spread_on

CYCLES_SOURCE = "predicted"


@dataclass(frozen=True)
class CycleError:
    """The error of predicted cycles.

    Attributes:
        interval: measured by predicted cycles, of 90 % of programs; None where too little was measured to say.
        source: description of the measurements.
    """

    interval: tuple[float, float] | None
    source: str


def error_of(board: Board) -> CycleError:
    """The error of predictions for a board, from measurements on it or else from published ones of its core.

    Raises:
        BoardError: a stored measurement was not made on a real board.
    """
    spread = spread_on(board.name)
    if spread is not None:
        return CycleError((spread.low, spread.high), f"{spread.points} measurements on this board")
    found = interval_of(board.core)
    if found is None:
        return CycleError(None, f"too little was measured on {board.core} to say how far off")
    return CycleError((found.low, found.high), f"{found.points} published measurements on {board.core}")


def profile_json(profile: Profile, names: Sequence[str], board: Board) -> dict[str, Any]:
    """One inference.

    Args:
        profile: of the emulated board.
        names: of the layers.
        board: gives clock and supply current; without them there is no time, no energy.

    `memory_stalls_predicted` are those of `cycles_predicted` that waited for memory.
    """
    layers = zip(names, profile.layers, profile.layer_cycles, profile.layer_stalls, strict=True)
    return {
        "instructions": profile.instructions,
        "cycles_predicted": profile.cycles,
        "cycles_source": CYCLES_SOURCE,
        **time_and_energy(profile.cycles, board),
        "cycles_interval_source": error_of(board).source,
        "layers": [
            {
                "name": name,
                "instructions": instructions,
                "cycles_predicted": cycles,
                "memory_stalls_predicted": stalls,
                **time_and_energy(cycles, board),
            }
            for name, instructions, cycles, stalls in layers
        ],
    }


def error_text(board: Board) -> str:
    """For people: what 90 % of measured cycles lie between, by the predicted; or why that is not known."""
    found = error_of(board)
    if found.interval is None:
        return found.source
    low, high = map(percent, found.interval)
    return f"90 % of measured cycles are {low} to {high} % from the predicted, by {found.source}"


def time_and_energy(cycles: int, board: Board) -> dict[str, Any]:
    """Milliseconds at the board's clock, and microjoules: supply voltage x run current x time.

    The energy's interval is that of the run current (see `RunCurrent.interval`); the error of the cycles comes on top
    of it. Keys are omitted if the board's clock or current is unknown. The time has an interval where enough was
    measured to say (see `error_of`).
    """
    if not board.core_hz:
        return {}
    seconds = cycles / board.core_hz
    entry: dict[str, Any] = {"milliseconds_predicted": round(seconds * 1e3, 6)}
    interval = error_of(board).interval
    if interval is not None:
        entry["milliseconds_interval"] = [round(seconds * 1e3 * ratio, 6) for ratio in interval]
    energy = predicted_energy(seconds, board)
    if energy is not None:
        entry["microjoules_predicted"], entry["microjoules_interval"] = energy
    return entry


def predicted_energy(seconds: float, board: Board) -> tuple[float, list[float]] | None:
    """Energy of a computation in microjoules, with its interval; None if the board's current is unknown."""
    if board.run_current is None:
        return None
    current = board.run_current
    joules = current.volts * current.ma * 1e-3 * seconds
    low, high = (joules * (1 + sign * current.interval) for sign in (-1, 1))
    return round(joules * 1e6, 3), [round(low * 1e6, 3), round(high * 1e6, 3)]


def median_profile(profiles: Sequence[Profile]) -> Profile:
    """The median of every count over several inferences; blocks (so, stalls) and functions are those of the first."""

    def median(values: Iterable[int]) -> int:
        return round(statistics.median(values))

    first = profiles[0]
    layers = range(len(first.layers))
    return replace(
        first,
        layers=tuple(median(p.layers[i] for p in profiles) for i in layers),
        layer_cycles=tuple(median(p.layer_cycles[i] for p in profiles) for i in layers),
        after=median(p.after for p in profiles),
        after_cycles=median(p.after_cycles for p in profiles),
    )
