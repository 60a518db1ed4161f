"""Networks with branches from file to firmware: what commands say of them, and that a wrong choice is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.branches import gated
from tests.support.command_line import call
from tinygen.builds.report import plain_text
from tinygen.frontends.tg import save_tg
from tinygen.ir.interpreter import evaluate_all
from tinygen.ir.ops.reduce import ArgMax
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.inspect import inspect_model
from tinygen.verbs.verify import verify


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_tg(gated(), tmp_path / "gated.tg")
    return tmp_path / "gated.tg"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """They take all three branches."""
    rng = np.random.default_rng(3)
    rows = [rng.integers(low, low + 90, (8, 8, 4)).astype(np.int8) for low in range(-128, 40, 8)]
    assert {int(evaluate_all(gated(), [row[None]])["index"][0]) for row in rows} == {0, 1, 2}
    np.savez(tmp_path / "x.npz", x=np.stack(rows))
    return tmp_path / "x.npz"


@pytest.mark.parametrize("board", ["f746zg", "esp32c3"])
def test_on_emulated_boards(model: Path, images: Path, board: str) -> None:
    report = verify(model, images, BuildOptions(board=board))
    assert report.identical
    assert [c.as_json()["pair"] for c in report.comparisons] == ["semantics/host", f"semantics/{board}-emulated"]


def test_a_wrong_gate_is_found(model: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The semantics takes the next branch: the index differs, and that is what is named."""
    right = ArgMax.evaluate

    def wrong(self: ArgMax, node, values):  # type: ignore[no-untyped-def]
        return [(right(self, node, values)[0] + 1) % 3]

    monkeypatch.setattr(ArgMax, "evaluate", wrong)
    report = verify(model, images, BuildOptions(board="host"))
    (comparison,) = report.comparisons
    assert not report.identical and comparison.where is not None
    assert (comparison.where.layer, comparison.where.tensor) == ("choose", "index")


def test_build_and_inspect(model: Path, tmp_path: Path) -> None:
    built = build(model, tmp_path / "out", BuildOptions(board="f746zg"))
    layer = built.manifest.layers[-1]
    content = json.loads(json.dumps(inspect_model(model)))
    branches = content["operators"][-1]["branches"]
    assert layer.macs == max(branch["macs"] for branch in branches) == content["operators"][-1]["macs"]
    assert layer.kernel == "branch" and layer.weight_bytes > sum(branch["macs"] > 0 for branch in branches)
    assert plain_text(built.manifest) == ""
    done = call("inspect", model)
    assert "experts/0/conv_2d_0" in done.text and "experts/2/" in done.text


def test_within_a_limit_of_flash(model: Path, tmp_path: Path) -> None:
    """The operator is one layer with one kernel: the others' are chosen around it."""
    usual = build(model, tmp_path / "usual", BuildOptions(board="f746zg")).manifest
    assert usual.flash_bytes is not None
    limit = usual.flash_bytes - 300
    limited = build(model, tmp_path / "limited", BuildOptions(board="f746zg", flash_bytes=limit)).manifest
    assert limited.flash_bytes is not None and limited.flash_bytes <= limit
    assert limited.layers[-1].kernel == "branch"
