"""The first minute: does it answer, does its clock keep time, is its line at its rate, do its memories wait as they
should. Files of the suite are numbered, so that what everything else depends on is tried first.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.clock import core_rate, line_rate, tolerance_of
from hil.foreign import skip_slow_clock
from hil.loops import NAMES, client_of, predict_loops, right_sums, time_loops
from hil.place import Place
from hil.record import Record
from tinygen.targets.first_light import LOOP, Point

SECONDS = 3.0
REGISTERS = 0.03
"""A loop in registers leaves nothing to guess."""
FACTOR = 1.5
"""Of a memory that is set up otherwise than its board file says; predictions are better than that."""


def _require_time(place: Place) -> None:
    if place.timeless:
        pytest.skip(place.timeless)


def test_it_runs_at_full_speed(place: Place, loops: Path, record: Record) -> None:
    with place.line(loops) as line:
        record.clock_hz = client_of(line).info().clock_hz
    skip_slow_clock(place, record.clock_hz)
    assert record.clock_hz == place.board.core_hz


def test_its_cycle_counter_keeps_time(place: Place, loops: Path, record: Record) -> None:
    _require_time(place)
    with place.line(loops) as line:
        client_of(line).info()
        rate = core_rate(line, place.board, SECONDS)
    record.rate("core, Hz", rate)
    assert rate.near(tolerance_of(place.board)), f"{100 * rate.error:+.2f} % off"


def test_its_line_runs_at_its_rate(place: Place, loops: Path, record: Record) -> None:
    _require_time(place)
    with place.line(loops) as line:
        client_of(line).info()
        rate = line_rate(line, place.board)
    record.rate("line, baud", rate)
    assert rate.near(tolerance_of(place.board) + 0.01), f"{100 * rate.error:+.2f} % off"


def test_known_loops_take_what_they_should(place: Place, loops: Path, record: Record) -> None:
    """A cache that is off, or wait states too many, show as a factor."""
    predicted, profile = predict_loops(place.board, loops / "firmware.elf")
    with place.line(loops) as line:
        counted, sums = time_loops(client_of(line))
    record.points += [
        Point(
            LOOP,
            name,
            cycles=None if place.is_foreign else counted[index],
            predicted=predicted[index],
            stalls=profile.layer_stalls[index],
            instructions=profile.layers[index],
        )
        for index, name in enumerate(NAMES)
    ]
    assert sums == right_sums()
    if not place.is_foreign:
        ratios = {name: counted[index] / predicted[index] for index, name in enumerate(NAMES)}
        assert abs(ratios["registers"] - 1) < REGISTERS, ratios
        assert all(1 / FACTOR < ratio < FACTOR for ratio in ratios.values()), ratios
