"""--cmsis-nn and --esp-nn on the command line, without the libraries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tinygen.demo import MODEL, load_test_digits
from tinygen.targets.vendors import CMSIS_NN_LIBRARY, ESP_NN_LIBRARY, VENDORS, Vendor
from tinygen.verbs.doctor import examine


@pytest.mark.parametrize(
    ("verb", "vendor"),
    [("build", CMSIS_NN_LIBRARY), ("verify", CMSIS_NN_LIBRARY), ("build", ESP_NN_LIBRARY)],
    ids=lambda value: value if isinstance(value, str) else value.family,
)
def test_wrong_path(tmp_path: Path, verb: str, vendor: Vendor) -> None:
    rest = ["--out", tmp_path / "out"] if verb == "build" else ["--inputs", _inputs(tmp_path)]
    done = tinygen(verb, MODEL, "--kernels", vendor.family, vendor.option, tmp_path, *rest, "--json")
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["where"] == str(tmp_path) and error["what"].startswith(f"is not {vendor.title}")
    assert f"git clone {vendor.url}" in error["fix"] and vendor.commit in error["fix"]


def _inputs(folder: Path) -> Path:
    path = folder / "x.npz"
    np.savez(path, x=load_test_digits()[0][:1])
    return path


def said_of(vendor: Vendor) -> dict:
    return next(entry for entry in examine() if entry["what"] == vendor.title)


@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
def test_doctor_looks_for_it(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vendor.variable, raising=False)
    entry = said_of(vendor)
    assert not entry["found"] and vendor.variable in entry["get"]
    for mark in vendor.marks:
        path = tmp_path / mark
        (path.parent if path.suffix else path).mkdir(exist_ok=True)
        if path.suffix:
            path.touch()
    monkeypatch.setenv(vendor.variable, str(tmp_path))
    assert said_of(vendor)["found"] and said_of(vendor)["version"] == str(tmp_path)
