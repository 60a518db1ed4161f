"""The report of a session: what is in it, and that every figure says where it is from."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hil.faulty import digits_on
from tinygen.demo import load_test_digits
from tinygen.errors import TinygenError
from tinygen.hil.checks import FAILED, PASSED, Limits, junit_xml, switch_checks
from tinygen.hil.output import HilReport, check_junit, check_output
from tinygen.hil.page import render_hil
from tinygen.hil.report import SCHEMA, SCHEMA_VERSION
from tinygen.targets.boards import load_board
from tinygen.verbs.hil import HilOptions, hil

FILES = {"hil-report.json", "junit.xml", "report.html", "outputs.npz"}

COUNT = 6


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> HilReport:
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_test_digits()
    np.savez(folder / "digits.npz", x=images[:COUNT], y=labels[:COUNT])
    limits = Limits(min_accuracy=0.5, max_latency_us=1.0)
    return hil(digits_on("f746zg", folder), HilOptions(inputs=folder / "digits.npz", limits=limits))


def part(report: HilReport) -> dict[str, Any]:
    return dict(report.content["switches"][0])


def test_figures(report: HilReport) -> None:
    content, board = report.content, load_board("f746zg")
    assert (content["schema"], content["schema_version"]) == (SCHEMA, SCHEMA_VERSION)
    assert content["limits"] == {"min_accuracy": 0.5, "max_latency_us": 1.0}
    assert content["inputs"]["count"] == COUNT and content["inputs"]["labels"]
    found = part(report)
    cycles = [row["cycles"] for row in found["rows"]]
    latency = found["latency"]
    assert latency["cycles"]["median"] == np.median(cycles)
    assert (latency["cycles"]["min"], latency["cycles"]["max"]) == (min(cycles), max(cycles))
    assert latency["microseconds"]["max"] == pytest.approx(max(cycles) / 216, abs=1e-3)
    (energy,) = found["energy"]
    assert energy["source"] == "predicted" and board.run_current is not None
    watts = board.run_current.volts * board.run_current.ma * 1e-3
    assert energy["microjoules"] == pytest.approx(watts * latency["microseconds"]["median"], abs=2e-3)
    low, high = energy["interval"]
    assert low < energy["microjoules"] < high
    assert board.run_current.source in energy["about"]
    assert [row["label"] for row in found["rows"]] == load_test_digits()[1][:COUNT].tolist()
    assert {layer["source"] for layer in found["layers"]} == {"predicted"}
    json.dumps(content)


def test_junit(report: HilReport) -> None:
    root = ElementTree.fromstring(report.junit())
    assert root.tag == "testsuites"
    (suite,) = root
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "boot",
        "build-id",
        "clock",
        "results",
        "bit-exact",
        "stable",
        "accuracy",
        "latency",
    ]
    assert {case.get("classname") for case in cases} == {"digits.f746zg-emulated"}
    assert suite.get("tests") == str(len(cases)) and suite.get("failures") == "1"
    (failure,) = suite.iter("failure")
    assert cases[-1].find("failure") is failure
    assert re.fullmatch(r"slowest of 6: [\d,.]+ µs predicted, at most 1", failure.get("message", ""))
    names = {one.get("name", "") for one in suite.iter("property")}
    assert {"accuracy", "latency_us_predicted", "energy_uj_predicted"} <= names


def test_junit_of_a_board_that_answers_garbage(report: HilReport) -> None:
    content = json.loads(json.dumps(report.content))
    content["checks"][0] |= {"status": "failed", "message": "answers \x00\x1b[31m<&\ufffe\ud800 é"}
    content["inputs"]["source"] = "in\x07puts.npz"
    root = ElementTree.fromstring(junit_xml(content).encode())
    (first, *_) = root.iter("failure")
    assert first.text == first.get("message") == "answers \ufffd\ufffd[31m<&\ufffd\ufffd é"
    assert "in\ufffdputs.npz" in {one.get("value") for one in root.iter("property")}


def test_page(report: HilReport) -> None:
    page = render_hil(report.content)
    assert "failed</span></h1>" in page
    assert "median latency, predicted" in page and "energy per inference, predicted" in page
    assert "measured" not in page
    assert page.count("<svg") == 3
    for layer in part(report)["layers"]:
        assert f"{layer['cycles']:,} cycles" in page
    # Self-contained: nothing to fetch.
    assert not re.search(r"(src|href)=|https?://|@import|<script", page)


def test_names_are_text_on_the_page(report: HilReport) -> None:
    content = json.loads(json.dumps(report.content))
    content["checks"][0]["message"] = "<b>&"
    content["switches"][0]["incidents"] = [{"sample": 1, "what": "<i>e-[crc]"}]
    page = render_hil(content)
    assert "&lt;b&gt;&amp;" in page and "&lt;i&gt;e-[crc]" in page
    assert "tried again" in page


def test_measured_stands_beside_predicted(report: HilReport) -> None:
    content = json.loads(json.dumps(report.content))
    content["switches"][0]["energy"].append({"source": "measured", "about": "PPK2", "microjoules": 777.0})
    page = render_hil(content)
    assert "energy per inference, predicted" in page and "energy per inference, measured" in page
    assert "777.0 µJ" in page and "Energy: measured, PPK2." in page


def test_an_empty_report_has_a_page(report: HilReport) -> None:
    content = json.loads(json.dumps(report.content))
    empty = {"rows": [], "layers": [], "energy": [], "latency": None, "accuracy": None, "completed": 0}
    content["switches"][0] |= empty
    assert f"0 of {COUNT}" in render_hil(content)


def entry(**changed: Any) -> dict[str, Any]:
    """A switch's part of a report in which all is well."""
    row = {"sample": 0, "stable": True}
    figures = dict.fromkeys(("min", "median", "mean", "p99", "max"), 10.0)
    return {
        "switch": None,
        "planned": 1,
        "completed": 1,
        "stopped": None,
        "mismatches": 0,
        "first_mismatch": None,
        "rows": [row],
        "accuracy": {"correct": 9, "of": 10, "accuracy": 0.9},
        "latency": {"source": "measured", "inferences": 1, "microseconds": figures},
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "limits", "failed"),
    [
        ({}, Limits(0.9, 10.0), []),
        ({}, Limits(0.91), ["accuracy"]),
        ({}, Limits(None, 9.9), ["latency"]),
        ({"latency": None}, Limits(None, 9.9), ["latency"]),
        ({"mismatches": 1}, Limits(), ["bit-exact"]),
        ({"rows": [{"sample": 0, "stable": False}]}, Limits(), ["stable"]),
        ({"completed": 0, "rows": [], "stopped": "at input 0: gone"}, Limits(0.5, 1.0), ["results"]),
    ],
)
def test_checks(changed: dict[str, Any], limits: Limits, failed: list[str]) -> None:
    checks = switch_checks(entry(**changed), limits)
    assert [one.name for one in checks if one.status == FAILED] == failed
    if changed.get("rows") != []:
        assert all(one.status in (PASSED, FAILED) for one in checks)


def test_files(report: HilReport, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report.write(out, tmp_path / "ci.xml")
    report.write(out)
    assert {path.name for path in out.iterdir()} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"out", "ci.xml"}
    content = json.loads((out / "hil-report.json").read_text())
    assert content.pop("files").keys() == FILES - {"hil-report.json"} and content.pop("record_sha256")
    assert content == report.content
    assert (tmp_path / "ci.xml").read_text() == (out / "junit.xml").read_text() == report.junit()
    assert np.load(out / "outputs.npz")["y0"].shape == (COUNT, 1, 10)


def test_other_files_stay(report: HilReport, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for use in (check_output, report.write):
        with pytest.raises(TinygenError, match="not an earlier hil report"):
            use(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(TinygenError, match="is a directory"):
        check_junit(tmp_path)
    with pytest.raises(TinygenError, match="directory does not exist"):
        check_junit(tmp_path / "none/ci.xml")
