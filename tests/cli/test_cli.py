"""The command line, as a user and as another program use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tests.targets.tools import requires_tool
from tinygen.demo import MODEL, load_test_digits


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("cli") / "digits"
    done = tinygen("build", MODEL, "--board", "f746zg", "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_build_json(built: tuple[Path, dict]) -> None:
    folder, report = built
    for key in (
        "board",
        "toolchain",
        "flash_bytes",
        "flash_model_bytes",
        "ram_bytes",
        "arena_bytes",
        "arena_lower_bound_bytes",
        "macs",
    ):
        assert report[key], key
    assert {"name", "op", "kernel", "macs", "weight_bytes"} <= set(report["layers"][0])
    assert report["arena_bytes"] >= report["arena_lower_bound_bytes"]
    for name in ("firmware.elf", "firmware.bin", "manifest.json", "report.html", "Makefile", "model/digits.h"):
        assert (folder / name).is_file(), name
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_same_bytes_every_time(built: tuple[Path, dict], tmp_path: Path) -> None:
    folder, _ = built
    again = tmp_path / "elsewhere" / "d"
    assert tinygen("build", MODEL, "--board", "f746zg", "--out", again).returncode == 0
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    for name in files:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_run(built: tuple[Path, dict], tmp_path: Path) -> None:
    images, labels = load_test_digits()
    np.save(tmp_path / "x.npy", images[:3])
    done = tinygen("run", built[0], "--inputs", tmp_path / "x.npy", "--outputs", tmp_path / "y.npy", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["inferences"] == 3
    assert report["instructions"] > 100_000
    # Two issue slots, and waits: neither one cycle each nor twice as fast.
    assert 0.5 * report["instructions"] < report["cycles_predicted"] < report["instructions"]
    assert report["cycles_source"] == "predicted"
    assert report["milliseconds_predicted"] == pytest.approx(report["cycles_predicted"] / 216e3, rel=1e-4)
    assert sum(layer["cycles_predicted"] for layer in report["layers"]) <= report["cycles_predicted"]
    assert len(report["layers"]) == len(built[1]["layers"])
    assert sum(layer["instructions"] for layer in report["rows"][0]["layers"]) <= report["rows"][0]["instructions"]
    outputs = np.load(tmp_path / "y.npy")
    assert outputs.reshape(3, 10).argmax(1).tolist() == labels[:3].tolist()


@pytest.mark.long
def test_verify_in_stripes(tmp_path: Path) -> None:
    """The options that change the program are verify's too, and the codes do not change."""
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:5], y=labels[:5])
    build = tinygen("build", MODEL, "--stream", "--weights", "ram", "--out", tmp_path / "d", "--json")
    assert build.returncode == 0, build.stderr
    manifest = json.loads(build.stdout)
    assert manifest["stream"]["stripes"] > 1 and manifest["weights"] == "ram"
    arena = ["--arena", str(manifest["arena_bytes"])]
    for options in (["--stream"], arena):
        done = tinygen("verify", MODEL, "--inputs", tmp_path / "x.npz", "--json", *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["identical"]
    text = tinygen("build", MODEL, *arena, "--out", tmp_path / "d")
    assert "stripes" in text.stdout
    refused = tinygen("build", MODEL, "--arena", "8", "--out", tmp_path / "d")
    assert refused.returncode == 1
    assert "at best" in refused.stderr


def test_verify(tmp_path: Path) -> None:
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:20], y=labels[:20])
    done = tinygen("verify", MODEL, "--board", "f746zg", "--inputs", tmp_path / "x.npz", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [pair["pair"] for pair in report["pairs"]] == [
        "litert-ref/semantics",
        "semantics/host",
        "semantics/f746zg-emulated",
    ]
    assert report["samples"] == 20
    assert report["mismatches"] == report["max_abs_diff"] == 0
    assert len({entry["correct"] for entry in report["accuracy"].values()}) == 1


def test_inspect_boards_doctor() -> None:
    graph = json.loads(tinygen("inspect", MODEL, "--json").stdout)
    assert graph["operators"][0]["op"] == "conv_2d"
    names = {board["name"] for board in json.loads(tinygen("boards", "--json").stdout)}
    assert {"f746zg", "netduinoplus2", "mps2-an500", "host"} <= names
    entries = json.loads(tinygen("doctor", "--json").stdout)
    assert all({"what", "found", "needed_for", "get"} <= set(entry) for entry in entries)
    for verb in (["inspect", str(MODEL)], ["boards"], ["doctor"]):
        done = tinygen(*verb)
        assert done.returncode == 0
        assert done.stdout


def test_demo(tmp_path: Path) -> None:
    done = tinygen("demo", "--digits", "10", "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert "test digits right" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "missing.tflite", "--out", "o"], ["missing.tflite", "no such file"]),
        (["build", MODEL, "--out", "o", "--board", "f746"], ["f746", "f746zg"]),
        (["build", MODEL, "--out", "o", "--toolchain", "keil"], ["keil", "zig"]),
        (["build", MODEL, "--out", "o", "--kernels", "magic"], ["magic", "reference"]),
        (["build", Path(__file__).parent, "--out", "o"], ["is a directory"]),
        (["run", "nowhere", "--inputs", "x.npy"], ["nowhere", "manifest.json"]),
        (["run", MODEL, "--inputs", "x.npy"], ["not a build directory", "a file", "tinygen build MODEL"]),
        (["hil", MODEL], ["not a build directory", "a file", "tinygen build MODEL"]),
        (["inspect", __file__], [".py"]),
    ],
)
def test_errors(tmp_path: Path, arguments: list, words: list[str]) -> None:
    done = tinygen(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_error_as_json(tmp_path: Path) -> None:
    done = tinygen("build", "missing.tflite", "--out", tmp_path / "o", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["where"] == "missing.tflite"


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        (["build", MODEL], "Missing option '--out'", "'tinygen build -h'"),
        (["build", MODEL, "--out", "o", "--arena", "-1"], "--arena", "'tinygen build -h'"),
        (["biuld"], "biuld", "'tinygen -h'"),
    ],
)
def test_wrong_usage_as_json(tmp_path: Path, arguments: list, what: str, fix: str) -> None:
    done = tinygen(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr == ""
    error = json.loads(done.stdout)["error"]
    assert what in error["what"] and fix in error["fix"]


def test_a_process_of_its_own(tmp_path: Path) -> None:
    """All other tests call the program in theirs: what it prints and its exit status come out of a started one too."""
    for arguments, status in ((["boards", "--json"], 0), (["build", "missing.tflite", "-o", "o"], 1), (["nothing"], 2)):
        command = [sys.executable, "-c", "from tinygen.cli import main; main()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
        inside = tinygen(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (status, inside.stdout, inside.stderr)
        assert inside.returncode == status


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in tinygen("--debug", "inspect", "missing.tflite").stderr


def test_refuses_foreign_directory(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    done = tinygen("build", MODEL, "--out", tmp_path)
    assert done.returncode == 1
    assert "not an earlier build" in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_inputs_that_do_not_fit(built: tuple[Path, dict], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 5), np.int8))
    done = tinygen("run", built[0], "--inputs", tmp_path / "x.npy")
    assert done.returncode == 1
    assert "do not fit input" in done.stderr


def test_real_board_that_is_not_there(built: tuple[Path, dict], tmp_path: Path) -> None:
    images, _ = load_test_digits()
    np.save(tmp_path / "x.npy", images[:1])
    done = tinygen("run", built[0], "--inputs", tmp_path / "x.npy", "--port", "/dev/ttyNONE")
    assert done.returncode == 1
    assert "/dev/ttyNONE" in done.stderr


def test_does_not_fit_the_board(tmp_path: Path) -> None:
    """A model with an arena larger than the board's RAM: what, where, by how much."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from tests.support.tflite_builder import ModelSpec, TensorSpec, build

    x = TensorSpec((1, 512, 512, 2), "int8", 0.1, 0)
    model = tmp_path / "large.tflite"
    model.write_bytes(build(ModelSpec(BuiltinOperator.RELU, [x], [TensorSpec(x.shape, "int8", 0.2, 0)], version=2)))
    done = tinygen("build", model, "--out", tmp_path / "o")
    assert done.returncode == 1
    assert "RAM" in done.stderr
    assert "bytes" in done.stderr
    assert not (tmp_path / "o").exists()


@requires_tool("make")
def test_project_builds_by_hand(built: tuple[Path, dict]) -> None:
    done = subprocess.run(["make", "-n", "-C", str(built[0])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_waits_for_nothing_heavy() -> None:
    """What takes its time to import is imported by the verbs that need it."""
    heavy = {"numpy", "torch", "unicorn", "jinja2", "elftools", "serial", "yaml"}
    code = f"import sys, tinygen.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_arguments_that_repeat() -> None:
    """As the usage line does, and without a type of Python's."""
    text = tinygen("bench", "--help").stdout
    assert re.search(r"(?m)^ +MODEL\.\.\.  ", text) and "list[" not in text
