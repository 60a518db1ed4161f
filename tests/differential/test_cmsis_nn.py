"""Calls of the real CMSIS-NN on an emulated Cortex-M7, against the semantics with the library's own arithmetic."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.differential.test_binary import case as binary_case
from tests.differential.test_conv_2d import conv_case
from tests.differential.test_fully_connected import dense, tied
from tests.differential.test_pool_2d import case as pool_case
from tests.differential.test_unary import case as unary_case
from tests.support.cases import Case, models
from tests.support.models import KWS, KWS_INPUTS, RESNET, needs_models, resnet_inputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.vendor_library import CMSIS_NN_USER, expected, needs_cmsis_nn
from tests.targets.tools import requires_tool
from tinygen.bench.bare_models import BareModels
from tinygen.demo import MODEL
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.select import CMSIS_NN
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import flash_image
from tinygen.targets.vendors import CMSIS_NN_LIBRARY, find_checkout
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.build import build as build_verb
from tinygen.verbs.verify import VerifyOptions, verify

pytestmark = needs_cmsis_nn
_RELU = ActivationFunctionType.RELU


CASES: dict[str, tuple[Case, int]] = {
    **{
        f"{'depthwise' if depthwise else 'conv'} {dtype}": (partial(conv_case, dtype=dtype, depthwise=depthwise), 48)
        for depthwise in (False, True)
        for dtype in ("int8", "int16")
    },
    **{f"dense {dtype}": (partial(dense, dtype=dtype), 48) for dtype in ("int8", "int16")},
    "dense ties": (partial(tied, dtype="int8"), 24),
    **{
        f"{name} {dtype}": (partial(pool_case, name=name, dtype=dtype), 24)
        for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        for dtype in ("int8", "int16")
    },
    **{
        f"{name} {dtype}": (partial(binary_case, name=name, dtype=dtype), 24)
        for name in ("ADD", "MUL")
        for dtype in ("int8", "int16")
    },
    "SOFTMAX": (partial(unary_case, name="SOFTMAX", source="int8"), 48),
}


@pytest.mark.parametrize("name", CASES)
def test_models(name: str) -> None:
    """Operands that broadcast are left to our own kernels."""
    CMSIS_NN_USER.compare_on_core(
        models(f"cmsis-nn {name}", *CASES[name]), all_by_library=not name.startswith(("ADD", "MUL"))
    )


def conv_spec(
    size: tuple[int, int], channels: int, filters: int, kernel: int = 3, stride: int = 1, depthwise: bool = False
) -> ModelSpec:
    """An int8 convolution as networks have them: SAME padding, ReLU, scales per channel."""
    rng = np.random.default_rng(kernel * channels + filters)
    out = tuple(-(-n // stride) for n in size)
    shape = (1, kernel, kernel, filters) if depthwise else (filters, kernel, kernel, channels)
    w_scale = rng.uniform(0.002, 0.02, filters)
    taps = kernel * kernel * (1 if depthwise else channels)
    chosen = {"padding": Padding.SAME, "strideH": stride, "strideW": stride, "fusedActivationFunction": _RELU}
    table = (
        options("DepthwiseConv2DOptions", depthMultiplier=1, dilationHFactor=1, dilationWFactor=1, **chosen)
        if depthwise
        else options("Conv2DOptions", dilationHFactor=1, dilationWFactor=1, **chosen)
    )
    return ModelSpec(
        BuiltinOperator.DEPTHWISE_CONV_2D if depthwise else BuiltinOperator.CONV_2D,
        [
            TensorSpec((1, *size, channels), "int8", 0.05, -17),
            TensorSpec(shape, "int8", w_scale, 0, 3 if depthwise else 0, rng.integers(-127, 128, shape)),
            TensorSpec((filters,), "int32", w_scale * 0.05, 0, 0, rng.integers(-5000, 5000, filters)),
        ],
        [TensorSpec((1, *out, filters), "int8", 0.04 * float(np.sqrt(taps)), -128)],
        **table,
        label=f"{'depthwise' if depthwise else 'conv'} {kernel}x{kernel}, {channels} to {filters}",
    )


SHAPES = {
    "first layer, 3 channels": conv_spec((16, 16), 3, 16),
    "first layer, 1 channel": conv_spec((25, 10), 1, 64, stride=2),
    "3x3": conv_spec((9, 8), 16, 17),
    "3x3 stride 2": conv_spec((8, 8), 16, 32, stride=2),
    "1x1": conv_spec((12, 5), 64, 64, kernel=1),
    "1x1 stride 2": conv_spec((8, 8), 16, 32, kernel=1, stride=2),
    "depthwise 3x3": conv_spec((12, 5), 64, 64, depthwise=True),
    "depthwise 3x3 stride 2": conv_spec((12, 12), 32, 32, stride=2, depthwise=True),
    "depthwise 5x5": conv_spec((9, 9), 6, 6, kernel=5, depthwise=True),
}


@pytest.mark.parametrize("toolchain", ["zig", pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))])
def test_shapes_of_networks(toolchain: str) -> None:
    programs = CMSIS_NN_USER.compare_on_core(list(SHAPES.values()), toolchain=toolchain)
    scratch = dict(zip(SHAPES, (program.layers[0].plan.scratch_bytes for program in programs), strict=True))
    # Two columns of int16, and for the DSP form of a general depthwise window one of them; by the library's account.
    assert scratch["3x3"] == 2 * 2 * 9 * 16
    assert scratch["1x1"] == scratch["depthwise 3x3"] == 0
    assert scratch["depthwise 5x5"] == 2 * 25 * 6


@needs_models
@requires_tool("arm-none-eabi-gcc")
@pytest.mark.parametrize(("model", "instructions"), [(KWS, 7_645_571), (RESNET, 30_025_572)], ids=["kws", "resnet"])
def test_whole_models(model: Path, instructions: int) -> None:
    """Codes are the library's arithmetic; instructions those of TFLM + CMSIS-NN, measured elsewhere (GCC, -O2)."""
    graph = load_model(model)
    program = CMSIS_NN_USER.lowered(graph, "gcc")
    assert {step.kernel.family for step in program.layers} == {CMSIS_NN}
    user = CMSIS_NN_USER.library("gcc")
    bare = BareModels([program], user.board, user.toolchain, library=user)
    rng = np.random.default_rng(7)
    for _ in range(3):
        sample = [rng.integers(-128, 128, tensor.shape).astype(np.int8) for tensor in program.inputs]
        run = bare.run(0, sample)
        np.testing.assert_array_equal(run.outputs[0], expected(graph, program, sample)[0])
        assert run.instructions == pytest.approx(instructions, rel=0.03)


@needs_models
def test_verify_says_what_differs(tmp_path: Path) -> None:
    """On host and board; the dense layer is compared with the library's arithmetic and reported against LiteRT's."""
    for model, inputs in ((KWS, KWS_INPUTS), (RESNET, resnet_inputs(tmp_path, 4))):
        report = verify(model, inputs, BuildOptions(kernels=CMSIS_NN), VerifyOptions(limit=4))
        assert report.identical
        pairs = [comparison.as_json()["pair"] for comparison in report.comparisons]
        assert pairs == ["litert-ref/semantics", "cmsis-nn/host", "cmsis-nn/f746zg-emulated"]
        assert [layer.layer.rsplit("_", 1)[0] for layer in report.library] == ["fully_connected"]
        assert report.library[0].codes == 4 * (12 if model is KWS else 10)
        assert report.library_outputs is not None and report.library_outputs.samples == 4


def test_rounding_twice() -> None:
    """1 at a scale of 0.3 is 0 for LiteRT; the library first makes 1 of 0.6, then 1 of 1 / 2."""
    codes = np.arange(-8, 8, dtype=np.int8).reshape(16, 1)
    spec = ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        [TensorSpec((1, 1), "int8", 1.0, 0), TensorSpec(codes.shape, "int8", 3.0, 0, 0, codes)],
        [TensorSpec((1, 16), "int8", 10.0, 0)],
        **options("FullyConnectedOptions"),
        label="FULLY_CONNECTED int8",
    )
    graph = read_tflite(build(spec), name="twice")
    program = CMSIS_NN_USER.lowered(graph)
    user = CMSIS_NN_USER.library()
    bare = BareModels([program], user.board, user.toolchain, library=user)
    differences = {}
    for code in range(-20, 21):
        sample = [np.array([[code]], np.int8)]
        got = bare.run(0, sample).outputs[0]
        np.testing.assert_array_equal(got, expected(graph, program, sample)[0])
        differences[code] = (got.astype(int) - evaluate(graph, sample)[0])[0, 9]
    # Row 9 has weight 1.
    assert differences[1] == 1 and differences[-1] == -1 and differences[2] == 0


def test_same_firmware_wherever_the_library_lies(tmp_path: Path) -> None:
    """And `make` builds it again, from the project's own copy of the library."""
    here = find_checkout(CMSIS_NN_LIBRARY, None).path
    shutil.copytree(here / "Include", tmp_path / "elsewhere/Include")
    shutil.copytree(here / "Source", tmp_path / "elsewhere/Source")
    manifests = []
    for index, path in enumerate((None, tmp_path / "elsewhere")):
        options = BuildOptions(kernels=CMSIS_NN, cmsis_nn=path)
        manifests.append(build_verb(MODEL, tmp_path / f"out{index}", options, profile=False).as_json())
    assert manifests[0]["build_id"] == manifests[1]["build_id"]
    assert manifests[0]["library"]["sha256"] == manifests[1]["library"]["sha256"]
    images = [(tmp_path / f"out{index}/firmware.bin").read_bytes() for index in (0, 1)]
    assert images[0] == images[1]
    (tmp_path / "out1/firmware.elf").unlink()
    command = ["make", "-s", "-j2", "TOOLCHAIN=zig", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=tmp_path / "out1", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = flash_image(tmp_path / "out1/firmware.elf", load_board("f746zg").link_flash.origin)
    assert again == images[0]
