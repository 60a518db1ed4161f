"""The table of published points, and ratios that do not need their programs."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest

from tests.timing.published import held_out, inside, intervals, main, read_points, read_ratios
from tinygen.demo import MODEL, load_test_digits
from tinygen.hil.client import DeviceClient
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import core_cost
from tinygen.targets.cycles.elf_code import ElfCode
from tinygen.targets.cycles.interval import INTERVALS, LEAST, LEAST_PROGRAMS, as_yaml, interval_from, interval_of
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.verbs.build import BuildOptions, build

POINTS = read_points()


@pytest.mark.parametrize(("core", "median"), [("cortex-m4", 0.05), ("cortex-m7", 0.22), ("cortex-m33", 0.08)])
def test_errors_stay_what_they_are(core: str, median: float) -> None:
    errors = [abs(p.error) for p in POINTS if p.core == core]
    assert len(errors) >= 4
    assert statistics.median(errors) <= median
    assert max(errors) <= 0.35


def test_an_interval_is_that_of_one_more_normal_number() -> None:
    """Logarithms -0.1, 0, 0.1: deviation 0.1, Student's 95 % with two degrees of freedom 2.920."""
    ratios = [math.exp(one) for one in (-0.1, 0.0, 0.1)]
    found = interval_from([[ratio] for ratio in ratios])
    assert found is not None
    assert math.log(found.high) == pytest.approx(2.920 * 0.1 * math.sqrt(4 / 3), abs=1e-3)
    assert found.low * found.high == pytest.approx(1, abs=2e-3)
    biased = interval_from([[1.1 * ratio] for ratio in ratios])
    assert biased is not None and biased.low * biased.high == pytest.approx(1.21, abs=2e-3)
    assert interval_from([[1.0], [1.1]]) is None and interval_from([ratios]) is None


def test_each_program_counts_the_same() -> None:
    """Fifty points of one say no more of others than five: between the middle of both, with nearly its deviation."""
    found = interval_from([[1.0] * 50, [2.0] * 50])
    assert found is not None and (found.points, found.programs) == (100, 2)
    assert interval_from([[1.0] * 90, [2.0] * 10]) == found
    margin = 1.753 * math.log(2) / 2 * math.sqrt(1.5 * 100 / 99)
    assert math.log(found.high) == pytest.approx(math.log(2) / 2 + margin, abs=1e-3)


def test_an_interval_holds_nine_of_ten_more() -> None:
    """The claim itself, of few points: of 4,000 draws of a known spread, one more is inside 90 % of the intervals."""
    logs = np.random.default_rng(1).normal(0.1, 0.15, (4000, 5))
    held = 0
    for *known, more in np.exp(logs).tolist():
        found = interval_from([[ratio] for ratio in known])
        assert found is not None
        held += found.low <= more <= found.high
    assert 0.885 <= held / len(logs) <= 0.915


def test_the_shipped_intervals_are_those_of_the_points() -> None:
    """If not: python -m tests.timing.published --write."""
    assert INTERVALS.read_text(encoding="utf-8") == as_yaml(intervals(POINTS))
    for core, points in held_out(POINTS).items():
        found = interval_of(core)
        few = len(points) < LEAST or len({p.program for p in points}) < LEAST_PROGRAMS
        assert (found is None) is few
        if found is not None:
            assert found.points == len(points) and inside(points)[0] >= 0.9 * len(points)


def test_pages_say_the_shipped_intervals() -> None:
    """README and docs/cycles.md, a cell per core; the measured by the predicted."""
    for page in ("README.md", "docs/cycles.md"):
        text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
        for core, found in intervals(POINTS).items():
            assert str(found) in text, f"{page}: {core} is {found}"


def test_the_table_is_whole() -> None:
    assert len({p.name for p in POINTS}) == len(POINTS)
    for point in POINTS:
        assert not point.memory or load_board(point.memory).timing is not None
        assert 0 <= point.stalls < 0.35 * point.predicted
        counted = sum(point.classes.values())
        assert not counted or 0.97 * point.instructions <= counted <= point.instructions + 0.001, point.name
    assert any(p.fitted for p in POINTS) and not all(p.fitted for p in POINTS)


def test_ratios_of_hand_written_programs() -> None:
    """Pairing rules alone: no compiler, no memory."""
    ratios = read_ratios()
    assert len(ratios) >= 3
    assert all(abs(ratio.error) <= 0.1 for ratio in ratios)


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(point.name in text for point in POINTS)
    assert "cortex-m7, held out: median" in text


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], float]:
    """Multiply-accumulates per predicted cycle of the demo's convolutional network, without flash wait states."""
    found = {}
    for board in ("f746zg", "netduinoplus2"):
        for kernels in ("tinygen", "reference"):
            folder = tmp_path_factory.mktemp("ratio") / "out"
            options = BuildOptions(board=board, toolchain="zig", kernels=kernels)
            manifest = build(MODEL, folder, options, profile=False).as_json()
            target, elf = load_board(board), folder / "firmware.elf"
            emulated = EmulatedBoard(target, elf, Watch(cost=core_cost(target.core, ElfCode(elf).read), strict=False))
            client = DeviceClient(emulated, nonce=0)
            client.wait_for_boot()
            client.load(0, load_test_digits()[0][0].tobytes())
            emulated.clear_profile()
            client.run()
            found[board, kernels] = manifest["macs"] / emulated.profile(1).cycles
    return found


def test_m7_against_m4(rates: dict[tuple[str, str], float]) -> None:
    """One engine on both cores needs 1.45 to 1.85 times as many cycles on the M4: MLPerf Tiny v1.1 Plumerai and v1.2
    Bosch HALE, L4R5ZI against F746NG, KWS, IC and VWW: 1.48 to 1.76; their flash is in these."""
    for kernels in ("tinygen", "reference"):
        assert 1.4 < rates["f746zg", kernels] / rates["netduinoplus2", kernels] < 2.0


def test_rates_are_those_of_published_code_of_the_same_structure(rates: dict[tuple[str, str], float]) -> None:
    """MAC per cycle: scalar C on an M4 0.10 to 0.15 (MLPerf Tiny v0.5, TFLM 2.3.1 reference); kernels with SMLAD on an
    M4 0.21 to 0.37 (v1.0 and v1.1, CMSIS-NN), at best 0.70; on an M7 0.36 for a first layer (arXiv 1801.06601),
    at best 1.1 (v1.2)."""
    assert 0.08 < rates["netduinoplus2", "reference"] < 0.2
    assert 0.2 < rates["netduinoplus2", "tinygen"] < 0.72
    assert 0.36 < rates["f746zg", "tinygen"] < 1.15
