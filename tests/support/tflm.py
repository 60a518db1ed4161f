"""TensorFlow Lite Micro's Python package, in an environment of its own: `TINYGEN_TFLM` names its interpreter."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

_VARIABLE = "TINYGEN_TFLM"
_REASON = f"{_VARIABLE} does not name a Python that has the package tflite-micro (docs/testing.md)"
_PROGRAM = """
import sys
import numpy as np
from tflite_micro import runtime
inputs = np.load("inputs.npz")
interpreter = runtime.Interpreter.from_file("model.tflite")
results = []
for sample in zip(*(inputs[name] for name in inputs.files)):
    for index, value in enumerate(sample):
        interpreter.set_input(value, index)
    interpreter.invoke()
    results.append(interpreter.get_output(0).copy())
np.save("outputs.npy", np.stack(results))
"""

needs_tflm = pytest.mark.skipif(not os.environ.get(_VARIABLE), reason=_REASON)


def run_tflm(program: str, folder: Path) -> None:
    """Runs a program with the package, in a folder."""
    done = subprocess.run(
        [os.environ[_VARIABLE], "-c", program], cwd=folder, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def tflm_outputs(model: bytes, samples: Sequence[Sequence[np.ndarray]], folder: Path) -> np.ndarray:
    """The first output for each sample (a list of the model's inputs); files are written into `folder`."""
    (folder / "model.tflite").write_bytes(model)
    np.savez(folder / "inputs.npz", *(np.stack(values) for values in zip(*samples, strict=True)))
    run_tflm(_PROGRAM, folder)
    return np.asarray(np.load(folder / "outputs.npy"))
