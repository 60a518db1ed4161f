"""The kernels that call CMSIS-NN, as far as they can be tested without the library."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.emit.test_golden import check
from tests.support.integer_layers import affine, levels, max_pool
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.vendor_library import Answers
from tinygen.demo import MODEL
from tinygen.emit.model import emit_model
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.lowering.lower import lower
from tinygen.lowering.plan import VendorCall
from tinygen.lowering.select import CMSIS_NN
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain
from tinygen.targets.vendor_library import VendorLibrary
from tinygen.targets.vendors import CMSIS_NN_LIBRARY, find_checkout
from tinygen.verbs import build as verb
from tinygen.verbs.build import BuildOptions


def conv_graph(dtype: str = "int8") -> Graph:
    rng = np.random.default_rng(3)
    wide = dtype == "int16"
    spec = ModelSpec(
        BuiltinOperator.CONV_2D,
        [
            TensorSpec((1, 7, 6, 2), dtype, 0.02, 0 if wide else -5),
            TensorSpec((3, 3, 2, 2), "int8", [0.01, 0.02, 0.03], 0, 0, rng.integers(-127, 128, (3, 3, 2, 2))),
            TensorSpec((3,), "int64" if wide else "int32", [2e-4, 4e-4, 6e-4], 0, 0, np.array([1, -2, 3])),
        ],
        [TensorSpec((1, 4, 6, 3), dtype, 0.3, 0 if wide else 4)],
        **options(
            "Conv2DOptions",
            padding=Padding.SAME,
            strideH=2,
            strideW=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=ActivationFunctionType.RELU,
        ),
    )
    return simplify(read_tflite(build(spec), name="layer"))


def test_generated_call() -> None:
    library = Answers(96)
    program = lower(conv_graph(), family=CMSIS_NN, library=library)
    check("cmsis_nn_conv_kernels.c", emit_model(program, "layer.tflite").files["layer_kernels.c"])
    call = program.layers[0].plan.library
    assert call is not None and library.asked == [call]
    assert call.buffer_query == "arm_convolve_wrapper_s8_get_buffer_size"
    # cmsis_nn_conv_params: offsets; stride, padding and dilation as w, h; clamp. Then dims of input, filter, output.
    params = (5, 4, 1, 2, 0, 1, 1, 1, 4, 127)
    assert call.buffer_arguments == (params, (1, 7, 6, 2), (3, 3, 2, 2), (1, 4, 6, 3))
    assert program.memory.arena_bytes >= 96 + 7 * 6 * 2 + 4 * 6 * 3


def test_layers_it_cannot_do_are_ours() -> None:
    """A graph with one operator the library has and one it has not in this form."""
    x = TensorSpec((1, 4, 4, 2), "int8", 0.1, 3)
    one = TensorSpec((1, 1, 1, 2), "int8", 0.1, 3, data=np.array([[[[5, -7]]]]))
    spec = ModelSpec(
        BuiltinOperator.ADD, [x, one], [TensorSpec((1, 4, 4, 2), "int8", 0.2, 0)], **options("AddOptions"), version=2
    )
    broadcast = lower(simplify(read_tflite(build(spec), name="sum")), family=CMSIS_NN, library=Answers(0))
    assert [step.kernel.name for step in broadcast.layers] == ["add_s8"]
    demo = lower(simplify(load_model(MODEL)), family=CMSIS_NN, isa=("c99", "dsp"), library=Answers(8))
    assert {step.kernel.family for step in demo.layers} == {CMSIS_NN}
    for encoding, sign in ((affine(3), "rising"), (affine(3), "falling"), (levels(8), "rising")):
        pool = max_pool("pool", (4, 4, 8), (2, 2), (2, 2), x=encoding, sign=sign).graph
        family = lower(pool, family=CMSIS_NN, library=Answers(0)).layers[0].kernel.family
        assert (family == CMSIS_NN) == (encoding == affine(3) and sign == "rising")


def test_sums_that_could_overflow_are_ours() -> None:
    """arm_convolve_s16 adds up in 32 bits: 512 taps of 127 times 32,768 fit, more do not."""
    names = []
    for depth in (512, 520):
        spec = ModelSpec(
            BuiltinOperator.CONV_2D,
            [
                TensorSpec((1, 1, 1, depth), "int16", 1e-4, 0),
                TensorSpec((2, 1, 1, depth), "int8", 0.01, 0, 0, np.full((2, 1, 1, depth), 127)),
                TensorSpec((2,), "int64", 1e-6, 0, 0, np.zeros(2)),
            ],
            [TensorSpec((1, 1, 1, 2), "int16", 1e-3, 0)],
            **options("Conv2DOptions", strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1),
        )
        program = lower(simplify(read_tflite(build(spec), name="wide")), family=CMSIS_NN, library=Answers(8))
        names.append(program.layers[0].kernel.name)
    assert names == ["cmsis_nn_conv_2d", "conv_2d_s16"]


def test_without_a_library() -> None:
    with pytest.raises(TinygenError, match="kernels of family cmsis-nn call a library, and none is given"):
        lower(conv_graph(), family=CMSIS_NN)


def test_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CMSIS_NN_LIBRARY.variable, raising=False)
    with pytest.raises(TinygenError, match="no path to it is given") as caught:
        verb.build(MODEL, tmp_path / "out", BuildOptions(kernels=CMSIS_NN))
    assert "git clone https://github.com/ARM-software/CMSIS-NN" in caught.value.fix
    assert CMSIS_NN_LIBRARY.commit in caught.value.fix and "--cmsis-nn PATH" in caught.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("by_variable", [False, True])
def test_wrong_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool) -> None:
    (tmp_path / "Include").mkdir()
    monkeypatch.setenv(CMSIS_NN_LIBRARY.variable, str(tmp_path) if by_variable else os.devnull)
    with pytest.raises(TinygenError, match="is not CMSIS-NN") as caught:
        find_checkout(CMSIS_NN_LIBRARY, None if by_variable else tmp_path)
    assert caught.value.where == str(tmp_path) and "git clone" in caught.value.fix


@pytest.fixture
def tiny_library(tmp_path: Path) -> Path:
    """A library of four functions laid out as CMSIS-NN is; one is only mentioned in a comment."""
    files = {
        "Include/arm_nnfunctions.h": "#include <stdint.h>\n"
        "int32_t arm_one_get_buffer_size(const int32_t *dims, int n);\n",
        "Include/arm_nnsupportfunctions.h": "static inline int helped(int x)\n{\n    return arm_two(x);\n}\n",
        "Source/A/arm_one.c": "#include <arm_nnfunctions.h>\n/* See arm_three(). */\n"
        "int32_t arm_one_get_buffer_size(const int32_t *dims, int n)\n{\n    return dims[0] * dims[3] - n;\n}\n",
        "Source/A/arm_user.c": "int arm_user(int x)\n{\n    if (x)\n    {\n"
        "        return helped(x) + table[x];\n    }\n}\n",
        "Source/B/arm_two.c": "int arm_two(int x)\n{\n    return x;\n}\n",
        "Source/B/arm_three.c": "int arm_three(int x)\n{\n    return x;\n}\n",
        "Source/B/tables.c": "const uint16_t table[2] = {1, 2};\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_only_what_is_needed(tiny_library: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkout = find_checkout(CMSIS_NN_LIBRARY, tiny_library)
    assert checkout.sources(["arm_one_get_buffer_size"]) == ("Source/A/arm_one.c",)
    needed = ("Source/A/arm_user.c", "Source/B/arm_two.c", "Source/B/tables.c")
    assert checkout.sources(["arm_user"]) == needed
    project = tmp_path_factory.mktemp("project")
    assert checkout.copy(["arm_user"], project) == tuple(f"cmsis-nn/{name}" for name in needed)
    assert sorted(path.name for path in project.glob("cmsis-nn/**/*.h")) == [
        "arm_nnfunctions.h",
        "arm_nnsupportfunctions.h",
    ]
    with pytest.raises(TinygenError, match="has no arm_four"):
        checkout.sources(["arm_one_get_buffer_size", "arm_four"])


@pytest.mark.parametrize("name", ["f746zg", "netduinoplus2", "host"])
def test_scratch_is_asked_of_the_library(tiny_library: Path, name: str) -> None:
    board = load_board(name)
    library = VendorLibrary(find_checkout(CMSIS_NN_LIBRARY, tiny_library), board, find_toolchain(None, board))
    query = "arm_one_get_buffer_size"
    call = VendorCall(("arm_nnfunctions.h",), (query,), query, ((7, 0, 0, 6), 2))
    assert library.scratch_bytes(call) == 40
    with pytest.raises(TinygenError, match="arm_one_get_buffer_size answers -2"):
        library.scratch_bytes(VendorCall(("arm_nnfunctions.h",), (query,), query, ((0, 0, 0, 0), 2)))
    assert library.scratch_bytes(VendorCall(("arm_nnfunctions.h",), (query,))) == 0
