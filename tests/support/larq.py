"""Larq Compute Engine's interpreter, in an environment of its own: `TINYGEN_LARQ` names its Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

_VARIABLE = "TINYGEN_LARQ"
_REASON = f"{_VARIABLE} does not name a Python that has larq-compute-engine (docs/testing.md)"
# The package itself needs TensorFlow, its interpreter does not.
_PROGRAM = """
import glob, importlib.util, sys
import numpy as np
(file,) = [file for folder in sys.path for file in
           glob.glob(f"{folder}/larq_compute_engine/tflite/python/interpreter_wrapper_lite*.so")]
spec = importlib.util.spec_from_file_location("interpreter_wrapper_lite", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for number in range(int(sys.argv[1])):
    interpreter = module.LiteInterpreter(open(f"{number}.tflite", "rb").read(), 1, True, False, False)
    results = [np.array(interpreter.predict([sample])[0]) for sample in np.load(f"{number}.npy")]
    np.save(f"{number}.out.npy", np.stack(results))
"""

needs_larq = pytest.mark.skipif(not os.environ.get(_VARIABLE), reason=_REASON)


def larq_outputs(models: Sequence[bytes], samples: Sequence[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Outputs of models with one input and one output, by the reference kernels; files are written into `folder`.

    Args:
        samples: of each model, stacked.
    """
    for number, (model, inputs) in enumerate(zip(models, samples, strict=True)):
        (folder / f"{number}.tflite").write_bytes(model)
        np.save(folder / f"{number}.npy", inputs)
    command = [os.environ[_VARIABLE], "-c", _PROGRAM, str(len(models))]
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [np.load(folder / f"{number}.out.npy") for number in range(len(models))]
