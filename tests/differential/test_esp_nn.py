"""Calls of the real ESP-NN on an emulated ESP32-C3, against the semantics with the library's own arithmetic."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.differential.test_binary import case as binary_case
from tests.differential.test_cmsis_nn import SHAPES
from tests.differential.test_conv_2d import conv_case
from tests.differential.test_fully_connected import dense, tied
from tests.differential.test_pool_2d import case as pool_case
from tests.differential.test_unary import case as unary_case
from tests.support.cases import Case, models
from tests.support.models import KWS, KWS_INPUTS, RESNET, needs_models
from tests.support.vendor_library import ESP_NN_USER, expected, needs_esp_nn
from tests.targets.tools import requires_tool
from tinygen.bench.bare_models import BareModels
from tinygen.demo import MODEL
from tinygen.frontends.load import load_model
from tinygen.lowering.select import ESP_NN
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import flash_image
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.build import build as build_verb
from tinygen.verbs.verify import VerifyOptions, verify

pytestmark = needs_esp_nn

CASES: dict[str, tuple[Case, int]] = {
    "conv": (partial(conv_case, dtype="int8", depthwise=False), 48),
    "depthwise": (partial(conv_case, dtype="int8", depthwise=True), 48),
    "dense": (partial(dense, dtype="int8"), 48),
    "dense ties": (partial(tied, dtype="int8"), 24),
    "AVERAGE_POOL_2D": (partial(pool_case, name="AVERAGE_POOL_2D", dtype="int8"), 24),
    "MAX_POOL_2D": (partial(pool_case, name="MAX_POOL_2D", dtype="int8"), 24),
    "ADD": (partial(binary_case, name="ADD", dtype="int8"), 24),
    "MUL": (partial(binary_case, name="MUL", dtype="int8"), 24),
    "SOFTMAX": (partial(unary_case, name="SOFTMAX", source="int8"), 48),
}


@pytest.mark.parametrize("name", CASES)
def test_models(name: str) -> None:
    """What the library cannot do is left to our own kernels: dilated windows, groups, operands that broadcast."""
    programs = ESP_NN_USER.compare_on_core(models(f"esp-nn {name}", *CASES[name]), all_by_library=False)
    by_library = sum(program.layers[0].kernel.family == ESP_NN for program in programs)
    assert by_library >= 5


@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=requires_tool("riscv64-unknown-elf-gcc"))])
def test_shapes_of_networks(toolchain: str) -> None:
    programs = ESP_NN_USER.compare_on_core(list(SHAPES.values()), toolchain=toolchain)
    # The plain C of convolutions takes no scratch.
    assert {program.layers[0].plan.scratch_bytes for program in programs} == {0}


@needs_models
@requires_tool("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize("model", [KWS, RESNET], ids=["kws", "resnet"])
def test_whole_models(model: Path) -> None:
    """Every layer is the library's, and codes are its arithmetic."""
    graph = load_model(model)
    program = ESP_NN_USER.lowered(graph, "gcc")
    assert {step.kernel.family for step in program.layers} == {ESP_NN}
    user = ESP_NN_USER.library("gcc")
    bare = BareModels([program], user.board, user.toolchain, library=user)
    sample = [np.random.default_rng(7).integers(-128, 128, tensor.shape).astype(np.int8) for tensor in program.inputs]
    np.testing.assert_array_equal(bare.run(0, sample).outputs[0], expected(graph, program, sample)[0])


@needs_models
def test_verify_says_what_differs() -> None:
    """On host and board; the dense layer is compared with the library's arithmetic and reported against LiteRT's."""
    report = verify(KWS, KWS_INPUTS, BuildOptions(board="esp32c3", kernels=ESP_NN), VerifyOptions(limit=2))
    assert report.identical
    pairs = [comparison.as_json()["pair"] for comparison in report.comparisons]
    assert pairs == ["litert-ref/semantics", "esp-nn/host", "esp-nn/esp32c3-emulated"]
    assert [layer.layer.rsplit("_", 1)[0] for layer in report.library] == ["fully_connected"]


def test_make_builds_it_again(tmp_path: Path) -> None:
    """From the project's own copy of the library, which has no C library beside it."""
    report = build_verb(MODEL, tmp_path / "out", BuildOptions(board="esp32c3", kernels=ESP_NN), profile=False)
    assert report.as_json()["library"]["name"] == "ESP-NN"
    board = load_board("esp32c3")
    before = flash_image(tmp_path / "out/firmware.elf", board.link_flash.origin)
    (tmp_path / "out/firmware.elf").unlink()
    command = ["make", "-s", "-j2", "TOOLCHAIN=zig", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert flash_image(tmp_path / "out/firmware.elf", board.link_flash.origin) == before
