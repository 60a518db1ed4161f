"""The kernels that call ESP-NN, as far as they can be tested without the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, Padding

from tests.emit.test_golden import check
from tests.lowering.test_cmsis_nn import conv_graph
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.vendor_library import Answers
from tinygen.emit.model import emit_model
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.ops.rows import RowWindow
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.lowering.plan import VendorCall
from tinygen.lowering.select import ESP_NN, choose
from tinygen.passes.pipeline import simplify
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain
from tinygen.targets.vendor_library import VendorLibrary
from tinygen.targets.vendors import ESP_NN_LIBRARY, find_checkout

PIE = ("c99", "pie")


def window(
    size: tuple[int, int], channels: int, kernel: tuple[int, int], *, depthwise: bool = False, **chosen: Any
) -> Graph:
    """A convolution with SAME padding; as many filters as channels."""
    values = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": Padding.SAME} | chosen
    out = (-(-size[0] // values["strideH"]), -(-size[1] // values["strideW"]))
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, channels)
    weights = np.random.default_rng(1).integers(-127, 128, shape)
    spec = ModelSpec(
        BuiltinOperator.DEPTHWISE_CONV_2D if depthwise else BuiltinOperator.CONV_2D,
        [
            TensorSpec((1, *size, channels), "int8", 0.05, -17),
            TensorSpec(shape, "int8", np.full(channels, 0.01), 0, 3 if depthwise else 0, weights),
            TensorSpec((channels,), "int32", np.full(channels, 0.0005), 0, 0, np.zeros(channels)),
        ],
        [TensorSpec((1, *out, channels), "int8", 0.5, 0)],
        **(
            options("DepthwiseConv2DOptions", depthMultiplier=1, **values)
            if depthwise
            else options("Conv2DOptions", **values)
        ),
    )
    return simplify(read_tflite(build(spec), name="layer"))


def kernel_of(graph: Graph, isa: tuple[str, ...] = ("c99",)) -> str:
    return choose(next(iter(graph.nodes())), ESP_NN, isa).kernel.name


def test_generated_call() -> None:
    library = Answers(96)
    program = lower(conv_graph(), family=ESP_NN, library=library)
    check("esp_nn_conv_kernels.c", emit_model(program, "layer.tflite").files["layer_kernels.c"])
    call = program.layers[0].plan.library
    assert call is not None and library.asked == [call]
    assert call.buffer_query == "esp_nn_get_conv_scratch_size"
    # data_dims_t: width, height, channels. Then conv_params_t: offsets; stride, padding, dilation as w, h; clamp.
    params = (5, 4, 1, 2, 0, 1, 1, 1, 4, 127)
    assert call.buffer_arguments == ((6, 7, 2, 1), (2, 3, 2, 3), (6, 4, 3, 1), params)
    assert program.alignment == 16
    assert all(offset % 16 == 0 for offset in (*program.offsets.values(), program.layers[0].scratch_offset))
    assert "[36] TG_ALIGNED(16)" in emit_model(program, "layer.tflite").files["layer_weights.c"]
    assert "static_arena TG_ALIGNED(16)" in emit_model(program, "layer.tflite").files["layer.c"]


@pytest.mark.parametrize(
    ("graph", "plain", "vectors"),
    [
        (window((8, 8), 16, (3, 3)), True, True),
        (window((8, 8), 16, (3, 3), dilationHFactor=2), False, False),
        # Padding behind the input alone, or more of it than before: rows of 48 bytes are not looked at one by one.
        (window((8, 8), 16, (3, 3), strideH=2, strideW=2), True, True),
        (window((8, 8), 16, (4, 4)), True, False),
        (window((8, 8), 2, (4, 4)), True, True),
        (window((8, 8), 16, (1, 1)), True, True),
        (conv_graph("int16"), False, False),
        (window((8, 8), 16, (3, 3), depthwise=True), True, True),
        (window((8, 8), 16, (3, 3), depthwise=True, dilationWFactor=2), False, False),
        (window((8, 9), 16, (3, 3), depthwise=True, strideH=2, strideW=2), True, False),
        (window((40, 40), 16, (5, 5), depthwise=True), True, False),
        (window((20, 20), 16, (5, 5), depthwise=True), True, True),
        (window((8, 9), 12, (3, 3), depthwise=True, strideH=2, strideW=2), True, True),
    ],
)
def test_what_the_library_computes(graph: Graph, plain: bool, vectors: bool) -> None:
    assert kernel_of(graph).startswith("esp_nn") == plain
    assert kernel_of(graph, PIE).startswith("esp_nn") == vectors
    assert kernel_of(graph, PIE).endswith("_vectors") == vectors


def test_scales_to_the_left_are_ours() -> None:
    """The header asks for shifts to the right; an output scale far below the operands' wants the other kind."""
    names = []
    for scale in (0.1, 1e-6):
        x = [TensorSpec((1, 4, 4, 2), "int8", 0.1, 3) for _ in range(2)]
        y = TensorSpec((1, 4, 4, 2), "int8", scale, 0)
        spec = ModelSpec(BuiltinOperator.MUL, x, [y], **options("MulOptions"), version=2)
        names.append(kernel_of(simplify(read_tflite(build(spec), name="product"))))
    assert names[0] == "esp_nn_mul" and not names[1].startswith("esp_nn")


def test_vectors_begin_at_their_multiples() -> None:
    """A row of a larger tensor may lie where no vector begins: loads would leave the address's lower bits out."""
    codes = Affine("int8", (0.1,), (0,))
    x, row = Tensor("x", (1, 2, 2, 4), codes), Tensor("row", (1, 1, 2, 4), codes)
    y = Tensor("y", (1, 1, 2, 4), Affine("int8", (1 / 256,), (-128,)))
    ops = (
        RowWindow(name="rows", inputs=("x",), outputs=("row",), first=1, count=1),
        Softmax(name="softmax", inputs=("row",), outputs=("y",)),
    )
    graph = Graph("inner", {t.name: t for t in (x, row, y)}, ops, ("x",), ("y",))
    assert lower(graph, family=ESP_NN, library=Answers(32)).offsets["row"] % 16 == 8
    with pytest.raises(UnsupportedError, match="row does not begin at a multiple of 16 bytes"):
        lower(graph, family=ESP_NN, isa=PIE, library=Answers(32))


@pytest.fixture
def tiny_library(tmp_path: Path) -> Path:
    """A library laid out as ESP-NN is, with a form for a vector unit that only its own compiler takes."""
    files = {
        "include/esp_nn.h": '#include <stdint.h>\n#include "esp_nn_generic_opt.h"\n',
        "include/esp_nn_generic_opt.h": "int ask_opt(const int32_t *dims, int n);\n#define ask ask_opt\n",
        "include/esp_nn_esp32s3.h": "#define ask ask_esp32s3\n",
        "src/common/common_functions.h": "#define max(a, b) ((a) > (b) ? (a) : (b))\n",
        "src/a/esp_nn_a_opt.c": '#include <stdio.h>\n#include "../../include/esp_nn.h"\nvoid other(void);\n'
        "int ask_opt(const int32_t *dims, int n)\n{\n    return dims[0] - n;\n}\n"
        'void user(void)\n{\n    printf("none");\n    other();\n}\n',
        "src/a/esp_nn_b_ansi.c": "void other(void)\n{\n}\n",
        "src/a/esp_nn_a_esp32s3.c": "#define MARGIN 64 /* bytes */\n#define TWICE(x) (2 * (x))\n"
        "int ask_esp32s3(const int32_t *dims, int n)\n{\n    return max(dims[3], n) + MARGIN;\n}\n"
        'void user(void)\n{\n    __asm__("no such instruction");\n}\n',
        "idf_component.yml": 'version: "9.8.7"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def library_for(folder: Path, board: Board) -> VendorLibrary:
    toolchain = find_toolchain(None, load_board("host") if board.is_project_only else board)
    return VendorLibrary(find_checkout(ESP_NN_LIBRARY, folder), board, toolchain)


@pytest.mark.parametrize(("name", "size"), [("esp32c3", 30), ("host", 30), ("esp32", 30), ("esp32s3", 75)])
def test_scratch_is_asked_of_the_form_that_runs(tiny_library: Path, name: str, size: int) -> None:
    call = VendorCall(("sdkconfig.h", "esp_nn.h"), ("ask",), "ask", ((40, 0, 0, 11), 10))
    assert library_for(tiny_library, load_board(name)).scratch_bytes(call) == size


def test_files(tiny_library: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkout = find_checkout(ESP_NN_LIBRARY, tiny_library)
    # Whoever links the first file needs what its other function calls.
    assert checkout.sources(["ask"]) == ("src/a/esp_nn_a_opt.c", "src/a/esp_nn_b_ansi.c")
    project = tmp_path_factory.mktemp("project")
    checkout.copy(["ask"], project, bare=True)
    assert (project / "esp-nn/sdkconfig.h").read_text() == "#define CONFIG_NN_OPTIMIZED 1\n"
    assert (project / "esp-nn/stdio.h").is_file()
    checkout.copy(["ask"], project / "native")
    assert not (project / "native/esp-nn/stdio.h").exists()
    assert checkout.components == {"espressif/esp-nn": "9.8.7"}
    (tiny_library / "idf_component.yml").write_text("description: none\n")
    with pytest.raises(TinygenError, match="does not say which version"):
        _ = find_checkout(ESP_NN_LIBRARY, tiny_library).components


@pytest.mark.parametrize("by_variable", [False, True])
def test_wrong_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool) -> None:
    (tmp_path / "include").mkdir()
    monkeypatch.setenv(ESP_NN_LIBRARY.variable, str(tmp_path) if by_variable else "/dev/null")
    with pytest.raises(TinygenError, match="is not ESP-NN") as caught:
        find_checkout(ESP_NN_LIBRARY, None if by_variable else tmp_path)
    assert caught.value.where == str(tmp_path) and "git clone https://github.com/espressif/esp-nn" in caught.value.fix
