"""Builds in stripes: when asked, when the board's RAM asks, and what is said when even that is too much."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.networks import Network, mobilenet
from tinygen.errors import FitError, TinygenError
from tinygen.paths import resource
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stripes") / "wake.tflite"
    path.write_bytes(mobilenet(48).model())
    return path


def small_board(folder: Path, ram: int) -> str:
    """NUCLEO-F746ZG with so little RAM."""
    content = yaml.safe_load((resource("boards") / "f746zg.yaml").read_text())
    content["memories"] = [m for m in content["memories"] if m["name"] not in ("SRAM1", "SRAM2")]
    content["timing"]["data_cache"]["miss_cycles"] = {"FLASH": 8}
    next(m for m in content["memories"] if m["name"] == "DTCM")["size"] = ram
    content["name"] = "small"
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def arena(model: Path, out: Path, **options: object) -> tuple[int, dict]:
    manifest = build(model, out, BuildOptions(**options), profile=False).as_json()  # type: ignore[arg-type]
    return manifest["arena_bytes"], manifest


@pytest.mark.long
def test_stripes_when_asked(model: Path, tmp_path: Path) -> None:
    whole, plain = arena(model, tmp_path / "a")
    smallest, striped = arena(model, tmp_path / "b", stream=True)
    limited, _ = arena(model, tmp_path / "c", arena_bytes=(whole + smallest) // 2)
    assert smallest <= limited <= (whole + smallest) // 2 < whole
    assert plain["stream"] is None
    assert smallest < striped["stream"]["arena_bytes_before"] <= whole
    assert json.loads((tmp_path / "b/manifest.json").read_text())["stream"]["rows"] == striped["stream"]["rows"]
    assert "stripes" in (tmp_path / "b/report.html").read_text()


@pytest.mark.long
def test_stripes_when_the_board_asks(model: Path, tmp_path: Path) -> None:
    """RAM for stack and statics, but not for the whole arena: the build finds the stripes that fit, and they run."""
    smallest, manifest = arena(model, tmp_path / "a", stream=True)
    # Where RAM lacks, the benchmark's buffer goes before the arena shrinks.
    statics = manifest["ram_bytes"] - smallest - manifest["benchmark"]["db_bytes"]
    most = (smallest + manifest["stream"]["arena_bytes_before"]) // 2
    board = small_board(tmp_path, -(-(statics + most) // 256) * 256)
    fitted, manifest = arena(model, tmp_path / "b", board=board)
    assert manifest["stream"] is not None
    assert fitted <= most + 256
    images = np.random.default_rng(0).integers(-128, 128, (3, 48, 48, 3)).astype(np.int8)
    np.savez(tmp_path / "x.npz", x=images)
    report = verify(model, tmp_path / "x.npz", BuildOptions(board=board))
    assert report.identical and report.samples == 3


@pytest.mark.long
def test_even_stripes_do_not_fit(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FitError) as caught:
        build(model, tmp_path / "out", BuildOptions(board=small_board(tmp_path, 8192)), profile=False)
    assert "does not fit RAM" in caught.value.what
    assert "at best in stripes" in caught.value.what
    assert not (tmp_path / "out").exists()


def test_flash_that_lacks_is_no_reason_for_stripes(model: Path, tmp_path: Path) -> None:
    path = small_board(tmp_path, 0x10000)
    content = yaml.safe_load(Path(path).read_text())
    next(m for m in content["memories"] if m["name"] == "FLASH")["size"] = 0x8000
    Path(path).write_text(yaml.safe_dump(content))
    with pytest.raises(FitError, match="does not fit flash") as caught:
        build(model, tmp_path / "out", BuildOptions(board=path), profile=False)
    assert "stripes" not in caught.value.what


def test_an_impossible_limit(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="does not fit 100 bytes"):
        build(model, tmp_path / "out", BuildOptions(arena_bytes=100), profile=False)
    with pytest.raises(TinygenError, match="-1 bytes cannot be"):
        build(model, tmp_path / "out", BuildOptions(arena_bytes=-1), profile=False)


def test_the_smallest_arena_within_a_limit(tmp_path: Path) -> None:
    """Asked for both, it is the smallest, however loose the limit."""
    path = tmp_path / "wake.tflite"
    network = Network(1)
    network.conv(network.conv(network.input(16, 16, 4), 8, 3), 4, 3, stride=2)
    path.write_bytes(network.model())
    whole, _ = arena(path, tmp_path / "a", board="host")
    smallest, _ = arena(path, tmp_path / "b", board="host", stream=True)
    both, manifest = arena(path, tmp_path / "c", board="host", stream=True, arena_bytes=whole)
    assert both == smallest < whole and manifest["stream"] is not None
    with pytest.raises(FitError, match="does not fit 100 bytes"):
        arena(path, tmp_path / "d", board="host", stream=True, arena_bytes=100)


def test_verify_takes_the_smallest_limit(tmp_path: Path) -> None:
    """That which a refusal names, and none below it."""
    network = Network(1)
    network.conv(network.input(6, 6, 16), 16, 3)
    path = tmp_path / "net.tflite"
    path.write_bytes(network.model())
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(-128, 128, (2, 6, 6, 16)).astype(np.int8))
    with pytest.raises(FitError, match="does not fit") as refused:
        arena(path, tmp_path / "a", board="esp32c3", arena_bytes=0)
    smallest = refused.value.excess["arena"]
    options = BuildOptions(board="esp32c3", arena_bytes=smallest)
    report = verify(path, tmp_path / "x.npz", options)
    assert report.identical and len(report.comparisons) == 3
    with pytest.raises(FitError, match="does not fit"):
        verify(path, tmp_path / "x.npz", replace(options, arena_bytes=smallest - 1))
