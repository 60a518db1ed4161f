"""`tinygen export`: what every form of library has, and that its example tells right from wrong."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.branches import gated
from tests.support.command_line import call
from tests.support.integer_layers import BINARY, INT8, INT32, conv, dense
from tests.support.networks import Network
from tests.support.streaming_models import SMALL
from tests.support.switchable import chain, small_network
from tests.targets.tools import requires_tool
from tinygen import api
from tinygen.builds.folder import files_in
from tinygen.errors import FitError, TinygenError, ToolchainError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.project.exports.forms import FORMS, FormName
from tinygen.project.exports.library import Vectors
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain
from tinygen.verbs import export as verb
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.export import export


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = Network(1)
    network.conv(network.input(5, 6, 3), 4, 3)
    (tmp_path / "net.tflite").write_bytes(network.model())
    return tmp_path / "net.tflite"


def test_forms_have_their_names() -> None:
    assert list(FORMS) == list(FormName)


def test_a_library_for_a_board(model: Path, tmp_path: Path) -> None:
    """The model and its kernels, nothing else: no protocol, no second copy, figures of its own objects."""
    done = call("export", model, "--as", "c", "--board", "f411re", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.text
    content = json.loads(done.stdout)
    assert content == json.loads((tmp_path / "out" / "tinygen-export.json").read_text())
    files = files_in(tmp_path / "out")
    assert {"README.md", "include/net.h", "src/net.c", "example/main.c", "example/net_vectors.h"} <= set(files)
    assert set(content["files"]) == set(files) - {"tinygen-export.json"}
    names = [Path(name).name for name in files]
    assert len(names) == len(set(names)), "a second copy"
    text = "".join((tmp_path / "out" / name).read_text() for name in files if name.startswith("src/"))
    assert "app_model" not in text and "uart" not in text
    assert content["as"] == "c" and content["board"] == "f411re" and content["inputs"][0]["shape"] == [1, 5, 6, 3]
    assert 0 < content["weight_bytes"] < content["flash_bytes"] < 8192
    assert content["ram_bytes"] == content["arena_bytes"]
    firmware = build(model, tmp_path / "built", BuildOptions(board="f411re"), profile=False)
    assert content["build_id"] == firmware.manifest.build_id
    beside = content["flash_bytes"] - firmware.manifest.flash_model_bytes
    assert 0 <= beside < 300  # conversions of floats, the version: the linker leaves out what nobody calls
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"{content['flash_bytes']:,} B" in readme and content["build_id"] in readme


def _bits() -> Graph:
    """Its input lies in words of channels."""
    size = (4, 4, 40)
    first = conv("a", size, 8, (3, 3), x=BINARY, w=BINARY, y=BINARY)
    return chain("bits", [first, dense("b", (4, 4, 8), 5, x=BINARY, w=INT8, y=INT32)])


_MODELS: dict[str, Callable[[], MemoryModel | bytes]] = {
    "switches": lambda: MemoryModel(small_network(), "net"),
    "keeps": lambda: SMALL["accumulator"](),
    "branches": lambda: MemoryModel(gated(), "gated"),
    "bits": lambda: MemoryModel(_bits(), "bits"),
}


_COSTLY = ("switches", "branches", "bits")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in _COSTLY)) for n in _MODELS])
def test_examples_of_every_kind(name: str, tmp_path: Path) -> None:
    """The export runs it, as strictly compiled as everything else; here it is compiled for unsigned chars."""
    made = _MODELS[name]()
    path = tmp_path / "net.tflite"
    if isinstance(made, bytes):
        path.write_bytes(made)
    report = export(path if isinstance(made, bytes) else made, tmp_path / "out", "c", BuildOptions(board="host"))
    content = report.as_json()
    assert content["flash_bytes"] is None and content["vectors"] >= 4
    assert (content["kept_bytes"] > 0) == (name == "keeps") and bool(content["switches"]) == (name == "switches")
    sources = [str(p) for p in (tmp_path / "out/src").glob("*.c")] + [str(tmp_path / "out/example/main.c")]
    flags = ["-std=c99", "-O1", "-funsigned-char", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    compiler = find_toolchain(None, load_board("host")).command()
    command = [*compiler, *flags, f"-I{tmp_path / 'out/include'}", *sources, "-o", str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    said = subprocess.run([tmp_path / "run"], check=True, capture_output=True, text=True).stdout
    count = content["vectors"]
    assert said == f"{content['model']}: {count} of {count} test vectors right\n"


def test_buffers_of_the_caller(model: Path, tmp_path: Path) -> None:
    content = export(model, tmp_path / "out", "c", BuildOptions(board="host", io="caller")).as_json()
    assert content["io"] == "caller" and "net_invoke(m, input, output)" in (tmp_path / "out/README.md").read_text()


@requires_tool("nm")
def test_all_symbols_begin_with_the_name(model: Path, tmp_path: Path) -> None:
    """So that two models go into one image."""
    export(model, tmp_path / "out", "c", BuildOptions(board="host", name="first"))
    toolchain = find_toolchain(None, load_board("host"))
    for source in (tmp_path / "out/src").glob("*.c"):
        toolchain.run(["-O1", "-Iinclude", "-c", str(source), "-o", str(tmp_path / "x.o")], tmp_path / "out")
        listed = subprocess.run(["nm", "-g", tmp_path / "x.o"], capture_output=True, text=True, check=True).stdout
        defined = re.findall(r" [A-TV-Z] _?(\w+)$", listed, re.MULTILINE)
        assert defined and all(name.startswith("first_") for name in defined), defined


_EACH_WEIGHT_WRONG = """#include <stdint.h>
extern float net_conv_2d_0_weights[WEIGHTS];
#define main whole
#include "example/main.c"
#undef main
int main(void)
{
    int noticed = 0;
    for (int i = 0; i < WEIGHTS; i++) {
        const float before = net_conv_2d_0_weights[i];
        net_conv_2d_0_weights[i] = before + 0.001F;
        noticed += right_vectors() < NET_VECTORS;
        net_conv_2d_0_weights[i] = before;
    }
    return noticed == WEIGHTS && whole() == 0 ? 0 : 1;
}
"""


def test_floats(tmp_path: Path) -> None:
    """Roundings that differ are no error, and said; every single weight that is off by a thousandth is one."""
    network = Network(1, "float32")
    network.conv(network.input(5, 6, 3), 4, 3, relu=False)
    (tmp_path / "net.tflite").write_bytes(network.model())
    out = tmp_path / "out"
    for io in ("caller", "arena"):
        export(tmp_path / "net.tflite", out, "c", BuildOptions(board="host", io=io))
    compiler = find_toolchain(None, load_board("host")).command()
    strict = ["-std=c99", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    sources = sorted(out.glob("src/*.c"))
    subprocess.run([*compiler, *strict, "-Iinclude", *sources, "example/main.c", "-o", "run"], cwd=out, check=True)
    said = subprocess.run([out / "run"], check=True, capture_output=True, text=True).stdout
    assert said == "net: 4 of 4 test vectors right, floats within 1e-05 of the largest\n"
    assert said in (out / "README.md").read_text()
    (out / "wrong.c").write_text(_EACH_WEIGHT_WRONG)
    writable = ["-Dconst=", f"-DWEIGHTS={4 * 3 * 3 * 3}", "-w", "-Iinclude", "-Iexample"]
    subprocess.run([*compiler, *writable, *sources, "wrong.c", "-o", "wrong"], cwd=out, check=True)
    subprocess.run([out / "wrong"], check=True, capture_output=True)


def test_a_wrong_output_is_noticed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = verb.make_vectors

    def spoilt(*arguments: object) -> Vectors:
        vectors = made(*arguments)  # type: ignore[arg-type]
        ((y,),) = vectors.outputs
        return replace(vectors, outputs=((np.concatenate([y[:-1], y[-1:] ^ 1]),),))

    monkeypatch.setattr(verb, "make_vectors", spoilt)
    with pytest.raises(ToolchainError, match="the example says: net: 3 of 4 test vectors right"):
        export(model, tmp_path / "out", "c", BuildOptions(board="host"))
    assert not (tmp_path / "out").exists()


def test_export_again(model: Path, tmp_path: Path) -> None:
    """Files of the user's stay, also those that were made from ours; what was changed is not replaced unasked."""
    out = tmp_path / "out"
    first = api.export(model, out, "c", board="host").as_json()
    (out / "src" / "mine.c").write_text("int mine;\n")
    assert api.export(str(model), str(out), "c", board="host", force=True).as_json() == first
    main = (out / "example/main.c").read_text()
    (out / "example/main.c").write_text(main + "/* mine */\n")
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    with pytest.raises(TinygenError, match="has been changed since tinygen wrote it"):
        api.export(model, out, "c", board="host")
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before
    api.export(model, out, "c", board="host", force=True)
    assert (out / "example/main.c").read_text() == main and (out / "src/mine.c").exists()


def test_builds_and_exports_do_not_mix(model: Path, tmp_path: Path) -> None:
    build(model, tmp_path / "out", BuildOptions(board="host"), profile=False)
    with pytest.raises(TinygenError, match="not an earlier export"):
        export(model, tmp_path / "out", "c", BuildOptions(board="host"))
    export(model, tmp_path / "other", "c", BuildOptions(board="host"))
    with pytest.raises(TinygenError, match="not an earlier build"):
        build(model, tmp_path / "other", BuildOptions(board="host"), profile=False)


def test_refusals(model: Path, tmp_path: Path) -> None:
    done = call("export", model, "--as", "keil", "--out", tmp_path / "out")
    assert done.returncode == 1 and "cannot be exported as 'keil'" in done.text and "cmake" in done.text
    with pytest.raises(TinygenError, match="only firmware has a limit of flash"):
        export(model, tmp_path / "out", "c", BuildOptions(flash_bytes=65536))
    (tmp_path / "big.tflite").write_bytes(_big())
    with pytest.raises(FitError, match=r"the arena has 1[0-9]{2},[0-9]{3} bytes, and the board 131,072 of RAM"):
        export(tmp_path / "big.tflite", tmp_path / "out", "c", BuildOptions(board="f411re"))
    assert not (tmp_path / "out").exists()


def _big() -> bytes:
    network = Network(1)
    network.conv(network.input(160, 160, 3), 4, 3)
    return network.model()
