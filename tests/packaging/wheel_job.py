"""Builds the wheel, installs it in an empty environment outside the checkout, and does the main job there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]

_INPUTS = """
import sys, numpy as np
from tinygen.demo import MODEL, load_test_digits
images, labels = load_test_digits()
np.save("x.npy", images[:3])
print(MODEL)
"""


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, built into `folder`."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build_wheel(folder)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[emulator]"], check=True, cwd=folder)

        def output(*command: str) -> str:
            return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout

        model = output(str(python), "-c", _INPUTS).strip()
        assert str(ROOT) not in model, model
        tinygen = str(folder / "venv/bin/tinygen")
        built = json.loads(output(tinygen, "build", model, "--board", "f746zg", "--out", "d", "--json"))
        ran = json.loads(output(tinygen, "run", "d", "--inputs", "x.npy", "--json"))
        print(
            f"wheel {wheel.name}: built {built['flash_bytes']} B of flash for {built['board']}, "
            f"ran {ran['inferences']} inferences of {ran['instructions']} instructions"
        )


if __name__ == "__main__":
    main()
