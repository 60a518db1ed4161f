"""The Python interface: files or what they hold, names or objects; imported when it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygen
from tests.support.networks import Network
from tinygen import api
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate

IMAGES = np.random.default_rng(3).integers(-128, 128, (3, 5, 6, 3), np.int8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a build of it."""
    folder = tmp_path_factory.mktemp("api")
    network = Network(1)
    network.conv(network.input(5, 6, 3), 4, 3)
    (folder / "net.tflite").write_bytes(network.model())
    built = tinygen.build(str(folder / "net.tflite"), str(folder / "built"), board="host")
    assert built.folder == folder / "built" and built.manifest.board == "host"
    return folder


def test_importing_costs_nothing() -> None:
    program = (
        "import sys, tinygen\n"
        "assert not {'numpy', 'torch', 'unicorn'} & set(sys.modules)\n"
        "import tinygen.api\n"
        "assert not {'torch', 'unicorn', 'tflite', 'tinygen.verbs.build'} & set(sys.modules)\n"
        "assert tinygen.run is tinygen.api.run and tinygen.BuildOptions().board == 'f746zg'\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_everything_that_is_named_is_there() -> None:
    for name in tinygen.__all__:
        assert callable(getattr(tinygen, name)), name
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tinygen.nothing  # noqa: B018


def test_arrays_and_files_of_both_layouts(folder: Path, tmp_path: Path) -> None:
    graph = load_model(folder / "net.tflite")
    wanted = np.stack([evaluate(graph, [x[None]])[0] for x in IMAGES])
    np.savez(tmp_path / "first.npz", x=IMAGES.transpose(0, 3, 1, 2))
    for inputs, layout in ((IMAGES, None), ({"x0": IMAGES}, "nhwc"), (str(tmp_path / "first.npz"), "nchw")):
        result = tinygen.run(str(folder / "built"), inputs, layout=layout)
        np.testing.assert_array_equal(result.outputs[0], wanted)
    with pytest.raises(TinygenError, match="give layout nchw"):
        tinygen.run(folder / "built", IMAGES.transpose(0, 3, 1, 2))
    with pytest.raises(TinygenError, match="there is no layout 'hwcn'"):
        tinygen.run(folder / "built", IMAGES, layout="hwcn")


def test_models_that_were_made_in_memory(folder: Path) -> None:
    graph = load_model(folder / "net.tflite")
    report = tinygen.verify(graph, IMAGES, board="host")
    assert report.identical and report.model == graph.name
    assert [(one.first, one.second) for one in report.comparisons] == [("semantics", "host")]


def test_inspect_and_hil(folder: Path) -> None:
    content = tinygen.inspect(str(folder / "net.tflite"))
    assert content["inputs"][0]["shape"] == [1, 5, 6, 3]
    report = api.hil(folder / "built", {"x": IMAGES, "y": [0, 1, 2]}, tinygen.HilOptions(limit=2))
    assert report.passed and report.content["inputs"] == {"source": "inputs", "count": 2, "labels": True}
