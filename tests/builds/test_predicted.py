"""Time and energy from cycles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tinygen.builds.manifest import Predicted
from tinygen.builds.predicted import error_text, median_profile, profile_json, time_and_energy
from tinygen.builds.report import NO_ENERGY, energy_text
from tinygen.targets.board import RunCurrent
from tinygen.targets.boards import load_board
from tinygen.targets.cycles.interval import interval_of, percent
from tinygen.targets.emulator.profile import ExecutedBlock, Profile


def profile(scale: int = 1) -> Profile:
    stalled = ExecutedBlock(1, 0x100, 4, 2, 2, 1, stalls=7)
    return Profile((stalled,), (10 * scale, 20 * scale), (8 * scale, 16 * scale), 5 * scale, 4 * scale, {"f": 35})


def test_energy_is_voltage_times_current_times_time() -> None:
    """216 million cycles at 216 MHz: one second at 3.3 V and 102 mA is 336.6 mJ."""
    board = load_board("f746zg")
    entry = time_and_energy(216_000_000, board)
    assert entry["milliseconds_predicted"] == 1000
    assert entry["microjoules_predicted"] == pytest.approx(336_600)
    assert entry["microjoules_interval"] == pytest.approx([0.7 * 336_600, 1.3 * 336_600])
    measured = replace(board, run_current=RunCurrent(10, 1.8, "measured", 0.1))
    assert time_and_energy(216_000_000, measured)["microjoules_interval"] == pytest.approx([16_200, 19_800])


def test_the_time_lies_between_what_published_programs_say() -> None:
    found = interval_of("cortex-m4")
    assert found is not None
    entry = time_and_energy(120_000, load_board("l4r5zi"))
    assert entry["milliseconds_interval"] == pytest.approx([found.low, found.high])
    said = error_text(load_board("l4r5zi"))
    low, high = percent(found.low), percent(found.high)
    assert (
        said == f"90 % of measured cycles are {low} to {high} % from the predicted, by {found.points} published "
        "measurements on cortex-m4"
    )
    unknown = replace(load_board("l4r5zi"), core="cortex-m3")
    assert "milliseconds_interval" not in time_and_energy(120_000, unknown)
    assert error_text(unknown) == "too little was measured on cortex-m3 to say how far off"


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert "microjoules_predicted" not in time_and_energy(1000, load_board("mps2-an500"))
    assert time_and_energy(1000, load_board("host")) == {}


def test_energy_that_is_not_known_is_absent_and_said_to_be() -> None:
    """Never 0: the key is missing, and tables say why there is none."""
    texts = {}
    for name in ("g474re", "f746zg", "host"):
        entry = time_and_energy(170_000, load_board(name))
        assert ("microjoules_predicted" in entry) == ("microjoules_interval" in entry) == (name == "f746zg")
        texts[name] = energy_text(Predicted(instructions=1, cycles_predicted=170_000, **entry))
    assert texts["g474re"] == NO_ENERGY and "µJ" in texts["f746zg"] and texts["host"] == ""


def test_layers_and_what_comes_after_add_up() -> None:
    entry = profile_json(profile(), ["a", "b"], load_board("f746zg"))
    assert (entry["instructions"], entry["cycles_predicted"], entry["cycles_source"]) == (35, 28, "predicted")
    keys = ("name", "instructions", "cycles_predicted", "memory_stalls_predicted")
    assert [tuple(e[key] for key in keys) for e in entry["layers"]] == [("a", 10, 8, 0), ("b", 20, 16, 7)]


def test_median_over_inferences() -> None:
    assert median_profile([profile(1), profile(2), profile(9)]) == profile(2)
