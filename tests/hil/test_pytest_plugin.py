"""The pytest plugin in a project of somebody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygen.cache import CACHE_VARIABLE, cache_folder
from tinygen.demo import MODEL, load_test_digits

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
CACHE = cache_folder()  # pytester gives tests another home, where zig would build its libraries anew


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with a model and inputs; CI is not set."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(CACHE_VARIABLE, str(CACHE))
    monkeypatch.delenv("CI", raising=False)
    # Whether tinygen is installed here with its plugin or not, it is this one that is tested.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shutil.copy(MODEL, pytester.path / "digits.tflite")
    images, labels = load_test_digits()
    np.savez(pytester.path / "digits.npz", x=images[:10], y=labels[:10])
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest("-p", "tinygen.pytest_plugin", "--strict-markers", *arguments)


def test_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import numpy as np
        import pytest

        @pytest.mark.board("host", "f746zg", model="digits.tflite")
        def test_same_answers(board, firmware, device):
            images = np.load("digits.npz")["x"]
            assert (firmware / "manifest.json").is_file()
            codes = [device.infer([image])[0].tolist() for image in images[:2]]
            kept = firmware.parent.parent / "codes"
            if board.name == "host":
                kept.write_text(repr(codes))
            else:
                assert device.name == "f746zg-emulated"
                assert kept.read_text() == repr(codes)

        @pytest.mark.board("host", model="digits.tflite")
        def test_the_firmware_is_built_once(firmware, tmp_path_factory):
            folders = [path for path in tmp_path_factory.getbasetemp().iterdir() if not path.is_symlink()]
            assert len([path for path in folders if path.name.startswith("firmware")]) == 2

        @pytest.mark.board("host", model="digits.tflite")
        def test_session(hil_session):
            report = hil_session(inputs="digits.npz", limit=5, min_accuracy=0.8)
            assert report.passed
            assert report.content["switches"][0]["accuracy"]["of"] == 5
            assert not hil_session(inputs="digits.npz", limit=5, max_latency_us=0.001).passed

        @pytest.mark.board("host", model="digits.tflite")
        class TestOther:
            @pytest.fixture
            def firmware(self, firmware):
                manifest = firmware / "manifest.json"
                manifest.write_text(manifest.read_text().replace('"build_id": "', '"build_id": "other'))
                return firmware

            def test_another_firmware(self, device):
                pass
        """
    )
    result = run(project, "-v")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*test_same_answers[[]host] PASSED*", "*test_same_answers[[]f746zg] PASSED*"])
    result.stdout.fnmatch_lines(["*runs build * of 'digits', this directory holds other*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")


MISSING = """
    import pytest

    @pytest.fixture
    def firmware():
        import pathlib
        return pathlib.Path("build")

    @pytest.mark.board("f746zg")
    def test_on_the_desk(device):
        pass
"""


def test_a_board_that_is_not_there(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygen.verbs.build import BuildOptions, build

    build(MODEL, project.path / "build", BuildOptions(), profile=False)
    project.makepyfile(MISSING)
    port = f"f746zg={project.path}/no-such-port"
    skipped = run(project, "-rs", "--board-port", "auto", "--board-port", port)
    skipped.assert_outcomes(skipped=1)
    skipped.stdout.fnmatch_lines(["*no-such-port: the serial port cannot be opened*"])
    # What is said of other boards does not count.
    run(project, "--board-port", "l4r5zi=/dev/no-such-port").assert_outcomes(passed=1)
    run(project, "--board-port", port, "--board-missing", "fail").assert_outcomes(errors=1)
    monkeypatch.setenv("CI", "true")
    run(project, "--board-port", port).assert_outcomes(errors=1)
    run(project, "--board-port", port, "--board-missing", "skip").assert_outcomes(skipped=1)


WRONG = {
    "": "this fixture wants a board",
    "@pytest.mark.board()": "wants the name of a board",
    "@pytest.mark.board('f746')": "there is no board called f746",
    "@pytest.mark.board('host')": "wants a model",
    "@pytest.mark.board('host', model='none.tflite')": "none.tflite: there is no such file",
    "@pytest.mark.board('host', model='digits.tflite', kernels='magic')": "there is no kernel family 'magic'",
    "@pytest.mark.board('host', model='digits.tflite', colour='red')": "colour",
    "@pytest.mark.board('host', model='digits.tflite', toolchain=['gcc'])": "there is no toolchain",
}


def test_wrong_use(project: pytest.Pytester) -> None:
    tests = [f"{marker}\ndef test_{index}(device):\n    pass\n" for index, marker in enumerate(WRONG)]
    project.makepyfile("import pytest\n\n" + "\n".join(tests))
    result = run(project)
    result.assert_outcomes(errors=len(WRONG))
    for words in WRONG.values():
        result.stdout.fnmatch_lines_random([f"*{words}*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")


def test_unused_it_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'serial', 'jinja2', 'unicorn'}"
    code = f"import sys, tinygen.pytest_plugin; print(sorted({heavy} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"
