"""Suite `lowbit-wakeword`: the demo's network, and steps of few bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.torch_models import need
from tinygen.bench import wakeword
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.errors import TinygenError
from tinygen.frontends.tg import save_tg
from tinygen.ir.network import Network

need("torch")


def test_cases() -> None:
    """Only what is asked for; inner layers have the recipe's bits, a step has three frames."""
    found = find_suite("lowbit-wakeword").cases(SuiteOptions(only=("w1a2", "xnor")))
    assert [(case.name, case.encoding) for case in found.cases] == [
        ("w1a2", "2-bit x binary"),
        ("xnor", "binary x binary"),
    ]
    assert list(found.unwanted) == ["int8", "w4a4", "w2a2", "fbs-50"]
    assert all(case.shape == "1x3x1x40 -> 1x1x1x1" for case in found.cases)
    macs = 40 * 48 * 5 + 48 * 48 * (5 + 7 + 7) + 48 * 30
    assert all(case.macs == macs for case in found.cases)


def test_gates_compute_whole_windows() -> None:
    """A step of a gated network is a window: half of the first layer's channels, then half of half."""
    (case,) = find_suite("lowbit-wakeword").cases(SuiteOptions(only=("fbs-50",))).cases
    assert (case.encoding, case.shape) == ("int8", "1x3x1x40 -> 1x1x1x1")
    steps = (46, 42, 36, 30)
    heads = 40 * 48 + 3 * 48 * 48
    macs = steps[0] * 5 * 40 * 24 + 24 * 24 * (5 * steps[1] + 7 * steps[2] + 7 * steps[3]) + heads + 48 * 30
    assert case.macs == macs


def test_trained_ones_and_what_they_miss(tmp_path: Path) -> None:
    """From a folder of a training by recipes; one of other models is passed over."""
    for file in ("xnor.tg", "model.tg"):
        save_tg(Network.of(wakeword.untrained("xnor")), tmp_path / file)
    point = {"false_rejects": {"value": 0.08, "low": 0.06, "high": 0.1}, "false_accepts_per_hour": {"value": 0.4}}
    evaluation = {
        "name": "xnor",
        "chosen": {**point, "cutoff": 0.7, "phrases": 531, "hours": 2.1},
        "false_accepts_per_hour": {"0.5": point, "1": None},
        "near_misses": {"share": {"value": 0.25}},
    }
    (tmp_path / "report.json").write_text(
        json.dumps({"recipes": [evaluation], "evaluations": [{**evaluation, "name": "int8"}]})
    )
    (tmp_path / "others").mkdir()
    found = find_suite("lowbit-wakeword").cases(SuiteOptions(models=(tmp_path / "others", tmp_path)))
    demos, case = found.cases
    assert (demos.name, demos.model) == ("int8", tmp_path / "model.tg")
    assert (case.name, case.encoding, case.model) == ("xnor", "binary x binary", tmp_path / "xnor.tg")
    assert case.figures["rejects"] == 8.0 and case.figures["rejects_interval"] == [6.0, 10.0]
    assert case.figures["near_misses_at_cutoff"] == 25.0 and case.figures["cutoff"] == 0.7
    never = wakeword.rejects_of({**evaluation, "false_accepts_per_hour": {"0.5": None}})
    assert never["rejects"] is None and never["rejects_interval"] is None


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(TinygenError, match=r"report\.json"):
        find_suite("lowbit-wakeword").cases(SuiteOptions(models=(tmp_path,)))


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(recipe: str) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(wakeword, "untrained", missing)
    with pytest.raises(TinygenError, match=r"(?s)torch is not installed.*pip install"):
        find_suite("lowbit-wakeword").cases(SuiteOptions())


@pytest.mark.long
def test_on_a_board() -> None:
    """A stream of steps gives the codes of the semantics, in tuned kernels."""
    options = BenchOptions(kernels=("compact",), toolchains=("zig",), only=("w2a2", "xnor"), jobs=1)
    for row in bench([], ["lowbit-wakeword"], options).rows:
        assert row["error"] is None and row["max_abs_diff"] == 0
        assert row["microjoules_predicted"] > 0
        assert all(layer["kernel"] != "conv_2d_codes" for layer in row["layers"])
