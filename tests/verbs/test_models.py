"""Real models, every runtime, every board, both compilers: not one differing code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.differential import compare_models
from tests.support.models import KWS, KWS_INPUTS, RESNET, needs_models, resnet_inputs
from tests.targets.tools import requires_tool
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import VerifyOptions, VerifyReport, verify

pytestmark = needs_models
CORRECT_OF_1000 = 901
"""What LiteRT's reference kernels score on kws01.npz (its XNNPACK kernels: 902)."""

on_qemu = requires_tool("qemu-system-arm")
with_gcc = (requires_tool("arm-none-eabi-gcc"), pytest.mark.long)


def check(report: VerifyReport, samples: int) -> None:
    assert report.samples == samples
    for comparison in report.comparisons:
        assert comparison.samples == samples
        assert comparison.mismatches == 0, comparison.as_json()
        assert comparison.max_abs_diff == 0


def run(model: Path, inputs: Path, count: int, **options: str) -> VerifyReport:
    report = verify(model, inputs, BuildOptions(**options), VerifyOptions(limit=count))  # type: ignore[arg-type]
    check(report, count)
    return report


@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=with_gcc)])
@pytest.mark.parametrize("kernels", ["tinygen", pytest.param("reference", marks=pytest.mark.long)])
def test_kws_on_f746zg(toolchain: str, kernels: str) -> None:
    count = 30 if kernels == "tinygen" else 5
    report = run(KWS, KWS_INPUTS, count, board="f746zg", toolchain=toolchain, kernels=kernels)
    assert report.accuracy is not None
    assert len(set(report.accuracy.values())) == 1


def test_under_sanitizers() -> None:
    """Host C of both kernel families under AddressSanitizer and UBSan, arenas of exact size."""
    kws = np.load(KWS_INPUTS)["x"][:3]
    images = np.random.default_rng(3).integers(-128, 128, (2, 1, 32, 32, 3)).astype(np.int8)
    models = [KWS.read_bytes(), RESNET.read_bytes()]
    compare_models(models, [[[x[None]] for x in kws], [[x] for x in images]], ["kws", "resnet"])


@pytest.mark.long
@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=with_gcc)])
def test_resnet_on_f746zg(tmp_path: Path, toolchain: str) -> None:
    run(RESNET, resnet_inputs(tmp_path, 10), 10, board="f746zg", toolchain=toolchain)


@pytest.mark.long
@on_qemu
@requires_tool("arm-none-eabi-gcc")
def test_on_qemu(tmp_path: Path) -> None:
    """With gcc; each on the other board with zig: test_more_inputs_on_qemu."""
    run(KWS, KWS_INPUTS, 20, board="mps2-an500", toolchain="gcc")
    run(RESNET, resnet_inputs(tmp_path, 5), 5, board="netduinoplus2", toolchain="gcc")


@pytest.mark.long
def test_kws_all_inputs() -> None:
    report = run(KWS, KWS_INPUTS, 1000, board="f746zg", toolchain="zig")
    assert report.accuracy is not None
    assert set(report.accuracy.values()) == {CORRECT_OF_1000}


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_resnet_more_inputs(tmp_path: Path) -> None:
    run(RESNET, resnet_inputs(tmp_path, 100), 100, board="f746zg", toolchain="gcc")


@pytest.mark.long
@on_qemu
def test_more_inputs_on_qemu(tmp_path: Path) -> None:
    run(KWS, KWS_INPUTS, 100, board="netduinoplus2")
    run(RESNET, resnet_inputs(tmp_path, 50), 50, board="mps2-an500")
