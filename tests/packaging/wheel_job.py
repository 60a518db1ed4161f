"""Builds the wheel, installs it in an empty environment outside the checkout, and does the main job there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np

from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.demo import MODEL, load_test_digits

ROOT = Path(__file__).parents[2]
DIGITS = 10
"""Inferences compared with LiteRT's."""


def outside(command: list[str | Path], folder: Path, path: str = "") -> str:
    """What `command` prints, run in `folder` with nothing of this checkout on Python's path but `path`.

    Raises:
        RuntimeError: the command failed; the text is all it printed.
    """
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel, built into `folder` from this checkout's sdist, so that an incomplete sdist shows too."""
    outside([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], folder)
    return next(folder.glob("*.whl"))


def main() -> None:
    """The job. Fails when the board's answers differ from LiteRT's reference kernels in any code."""
    images, _ = load_test_digits()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build_wheel(folder)
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv/bin"
        pip = [programs / "python", "-m", "pip", "install", "--quiet"]
        tinygen = programs / "tinygen"
        outside([*pip, wheel], folder)
        _without_extras(programs, folder)
        outside([*pip, f"{wheel}[emulator]"], folder)

        script = "from tinygen.demo import MODEL; print(MODEL)"
        model = outside([programs / "python", "-c", script], folder).strip()
        if not Path(model).is_relative_to(folder.resolve()):
            raise RuntimeError(f"the installed package is not the one that answers: {model}")
        np.save(folder / "x.npy", images[:DIGITS])
        build = ["build", model, "--board", "f746zg", "--out", "d", "--json"]
        built = json.loads(outside([tinygen, *build], folder))
        run = ["run", "d", "--inputs", "x.npy", "--outputs", "y.npy", "--json"]
        ran = json.loads(outside([tinygen, *run], folder))
        answers = np.load(folder / "y.npy")

    reference = LiteRt(MODEL, Oracle.REF)
    expected = np.concatenate([reference.infer([image[None]])[0] for image in images[:DIGITS]])
    np.testing.assert_array_equal(answers.reshape(expected.shape), expected)
    print(
        f"wheel {wheel.name}: built {built['flash_bytes']} B of flash for {built['board']}; "
        f"{ran['inferences']} inferences of {ran['instructions']} instructions, equal to LiteRT's"
    )


def _without_extras(programs: Path, folder: Path) -> None:
    """What a user can do with the wheel and its base dependencies alone."""
    tinygen = programs / "tinygen"
    outside([tinygen, "doctor"], folder)
    model = outside([programs / "python", "-c", "from tinygen.demo import MODEL; print(MODEL)"], folder).strip()
    said = outside([programs / "python", "-m", "tinygen", "build", model, "--out", "base"], folder)
    if "tinygen[emulator]" not in said or not (folder / "base/firmware.elf").is_file():
        raise RuntimeError(f"a build without extras does not name the one that predicts cycles:\n{said}")


if __name__ == "__main__":
    main()
