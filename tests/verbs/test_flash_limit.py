"""`--flash`: the firmware is no larger, the fastest of those that are not, and says so; or an error does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinygen as package
from tests.support.command import tinygen as call
from tests.support.gated import Gated, gated_conv
from tests.support.gates import exits
from tests.support.integer_layers import TERNARY, affine, levels
from tests.support.switchable import random_inputs, small_graph, small_network
from tests.targets.tools import requires_tool
from tinygen.builds.manifest import Manifest
from tinygen.errors import FitError, TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network
from tinygen.paths import resource
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, BuildReport, build

TERNARY_NETWORK = Network.of(small_graph("net", TERNARY, affine(-128)))
DIGITS = resource("tinygen") / "demo/digits.tflite"


def limited(network: Network, out: Path, flash: int, **options: object) -> BuildReport:
    return build(MemoryModel(network, "net"), out, BuildOptions(flash_bytes=flash, **options))  # type: ignore[arg-type]


def cycles(manifest: Manifest) -> float:
    if manifest.costs is not None:
        return manifest.costs.worst.cycles
    profiles = [entry.profile for entry in manifest.switches or (manifest,)]
    return sum(profile.cycles_predicted for profile in profiles if profile is not None)


def check(report: BuildReport, flash: int) -> None:
    """The firmware holds the limit, and is what the manifest says."""
    manifest = report.manifest
    budget = manifest.flash_budget
    assert budget is not None and budget.limit_bytes == flash
    assert manifest.flash_bytes is not None and manifest.flash_bytes <= flash
    image = report.folder / "firmware.bin"
    assert load_board(manifest.board).esp_chip or image.stat().st_size <= flash
    assert any(point.flash_bytes == manifest.flash_bytes for point in budget.curve)
    # Layers were measured one by one, in other firmware: what they find in caches differs.
    assert cycles(manifest) == pytest.approx(budget.cycles_predicted, rel=0.01)
    for small, large in zip(budget.curve, budget.curve[1:], strict=False):
        assert small.flash_bytes < large.flash_bytes and small.cycles_predicted > large.cycles_predicted


def test_between_data_and_code(tmp_path: Path) -> None:
    """With all flash the weights are instructions, halfway to the smallest they are data; the outputs are the same."""
    most = load_board("f746zg").flash_bytes
    fast = limited(TERNARY_NETWORK, tmp_path / "fast", most)
    check(fast, most)
    assert fast.manifest.flash_budget is not None and fast.manifest.flash_bytes is not None
    curve = fast.manifest.flash_budget.curve
    assert fast.manifest.flash_bytes == curve[-1].flash_bytes > curve[0].flash_bytes
    assert any("stream" in layer.kernel for layer in fast.manifest.layers)
    limit = (curve[0].flash_bytes + curve[-1].flash_bytes) // 2
    small = package.build(TERNARY_NETWORK, tmp_path / "small", flash=limit)
    check(small, limit)
    assert cycles(small.manifest) > cycles(fast.manifest)
    assert not any("stream" in layer.kernel for layer in small.manifest.layers)
    page = (small.folder / "report.html").read_text()
    assert "Flash against cycles" in page and f"limit {limit:,} B" in page
    (sample,) = random_inputs(TERNARY_NETWORK, 1)
    np.save(tmp_path / "x.npy", sample[0])
    semantics = evaluate(TERNARY_NETWORK.first, sample)[0]
    for report in (fast, small):
        found = package.run(report.folder, tmp_path / "x.npy", outputs=None)
        assert np.array_equal(found.outputs[0].reshape(semantics.shape), semantics)


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(FitError) as caught:
        limited(TERNARY_NETWORK, tmp_path / "out", 4096)
    error = caught.value
    needed = 4096 + error.excess["FLASH"]
    assert f"does not fit 4,096 bytes of flash: the smallest that was found takes {needed:,}" in error.what
    assert "largest layers in it" in error.what and "layer1 (" in error.what
    assert "--flash" in error.where and str(needed) in error.fix
    assert not (tmp_path / "out").exists() and not list(tmp_path.iterdir())
    # What the error says is true: so much is enough, and a byte less is not.
    check(limited(TERNARY_NETWORK, tmp_path / "out", needed), needed)


@pytest.mark.parametrize(
    ("board", "flash", "said"),
    [
        ("f746zg", "-1", "--flash"),
        ("f746zg", "64K", "--flash"),
        ("f746zg", "1048577", "the board has 1,048,576 bytes of flash, not 1,048,577"),
        ("host", "65536", "flash cannot be limited: this computer has none"),
        ("esp32s3", "65536", "flash cannot be limited: the ESP-IDF links the firmware"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, board: str, flash: str, said: str) -> None:
    done = call("build", DIGITS, "--board", board, "--flash", flash, "-o", tmp_path / "out")
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())
    assert not (tmp_path / "out").exists()


def test_options() -> None:
    with pytest.raises(TinygenError, match="a firmware of -5 bytes cannot be"):
        BuildOptions(flash_bytes=-5)
    options = BuildOptions(flash_bytes=5)
    assert options.for_board("host").flash_bytes is None and options.for_board("nrf52840dk").flash_bytes == 5


@pytest.mark.long
def test_more_flash_is_never_slower(tmp_path: Path) -> None:
    """Real weights, seven limits, the command line."""
    last = None
    for flash in (28500, 29250, 30000, 31500, 33000, 34000, 40000):
        out = tmp_path / str(flash)
        done = call("build", DIGITS, "--flash", str(flash), "-o", out, "--json")
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        assert content["flash_budget"]["limit_bytes"] == flash and content["flash_bytes"] <= flash
        manifest = Manifest.from_json(content)
        check(BuildReport(out, manifest), flash)
        # By what the parts were measured to take: where the whole has its code and data changes that a little.
        measured = content["flash_budget"]["cycles_predicted"]
        assert last is None or (measured <= last[0] and cycles(manifest) <= 1.003 * last[1])
        last = measured, cycles(manifest)


@pytest.mark.long
def test_what_is_measured_is_what_is_linked(tmp_path: Path) -> None:
    """In stripes, where kernels share scratch; and where they share functions: cycles are those of the measurements,
    and the smallest firmware on the curve can be had.
    """
    for flash in (35000, 38000, 42000):
        check(build(DIGITS, tmp_path / str(flash), BuildOptions(flash_bytes=flash, stream=True)), flash)
    shared = build(DIGITS, tmp_path / "shared", BuildOptions(board="esp32c3", flash_bytes=38000)).manifest
    assert shared.flash_budget is not None
    with pytest.raises(FitError) as caught:
        build(DIGITS, tmp_path / "small", BuildOptions(board="esp32c3", flash_bytes=20000))
    smallest = 20000 + caught.value.excess["FLASH"]
    assert shared.flash_budget.curve[0].flash_bytes == pytest.approx(smallest, abs=256)


@pytest.mark.long
def test_never_slower_than_without_a_limit(tmp_path: Path) -> None:
    """No kernel by name mixes the weights of experts filter by filter."""
    network = Network.of(gated_conv(Gated(name="net", image=(6, 7, 12), filters=24, live=(0, 8), experts=3)))
    plain = build(MemoryModel(network, "net"), tmp_path / "plain", BuildOptions(board="esp32c3")).manifest
    assert plain.flash_bytes is not None
    report = limited(network, tmp_path / "limited", plain.flash_bytes, board="esp32c3")
    check(report, plain.flash_bytes)
    assert cycles(report.manifest) <= cycles(plain)


@pytest.mark.long
def test_switches_share_a_limit(tmp_path: Path) -> None:
    network = small_network()
    plain = build(MemoryModel(network, "net"), tmp_path / "plain", BuildOptions()).manifest
    compact = build(MemoryModel(network, "net"), tmp_path / "compact", BuildOptions(kernels="compact")).manifest
    assert plain.flash_bytes is not None and compact.flash_bytes is not None
    last = None
    for name, flash in (("a", compact.flash_bytes), ("b", (compact.flash_bytes + plain.flash_bytes) // 2)):
        report = limited(network, tmp_path / name, flash)
        check(report, flash)
        assert cycles(report.manifest) <= (last or cycles(compact))
        last = cycles(report.manifest)
        assert report.manifest.network is not None
        (sample,) = random_inputs(network, 1)
        for switch in network:
            found = package.run(report.folder, sample[0], switch=switch.name)
            semantics = evaluate(switch.graph, sample)[0]
            assert np.array_equal(found.outputs[0].reshape(semantics.shape), semantics)


@pytest.mark.long
def test_kernels_in_branches(tmp_path: Path) -> None:
    """Small ones where flash lacks; then fast ones on the slowest path first."""
    network = Network.of(exits())
    with pytest.raises(FitError) as caught:
        limited(network, tmp_path / "out", 0)
    small = limited(network, tmp_path / "out", caught.value.excess["FLASH"])
    check(small, caught.value.excess["FLASH"])
    curve = small.manifest.flash_budget.curve if small.manifest.flash_budget else ()
    names = [{layer.name: layer.kernel for layer in small.manifest.layers}]
    for point in (curve[len(curve) // 2], curve[-1]):
        report = limited(network, tmp_path / "out", point.flash_bytes + 200)
        check(report, point.flash_bytes + 200)
        names.append({layer.name: layer.kernel for layer in report.manifest.layers})
    slowest, other = ([each[f"first/0/second/{i}/conv_2d_0"] for each in names] for i in (0, 1))
    assert slowest[0] == other[0] == other[1] == "conv_2d_s8"
    assert slowest[1] == slowest[2] == other[2] == "conv_2d_dsp_rows"


@pytest.mark.long
@requires_tool("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize("options", [{"board": "esp32c3", "toolchain": "gcc"}, {"stream": True}, {"weights": "ram"}])
def test_with_other_options(tmp_path: Path, options: dict[str, object]) -> None:
    network = Network.of(small_graph("net", levels(4, True), levels(4)))
    with pytest.raises(FitError) as caught:
        limited(network, tmp_path / "out", 0, **options)
    needed = caught.value.excess["FLASH"]
    check(limited(network, tmp_path / "out", needed, **options), needed)
    # Whether some kernels need less memory in stripes, which take more code, does not matter.
    compact = BuildOptions(kernels="compact", **options)  # type: ignore[arg-type]
    plain = build(MemoryModel(network, "net"), tmp_path / "plain", compact).manifest.flash_bytes
    assert plain is not None and needed <= plain
