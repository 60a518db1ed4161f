"""Real models from outside: MLPerf Tiny's, beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "shared/data/mlperf_tiny"
KWS, RESNET = FOLDER / "kws_ref_model.tflite", FOLDER / "pretrainedResnet_quant.tflite"
KWS_INPUTS = FOLDER / "kws01.npz"

# Where TINYGEN_CI=1 the files must be there: the tests run, and fail without them.
needs_models = pytest.mark.skipif(
    not FOLDER.is_dir() and os.environ.get("TINYGEN_CI") != "1", reason=f"{FOLDER} is not there"
)


def resnet_inputs(folder: Path, count: int) -> Path:
    """Random int8 images (the benchmark's are not here), always the same."""
    path = folder / "resnet.npz"
    rng = np.random.default_rng(20)
    np.savez(path, x=rng.integers(-128, 128, (count, 32, 32, 3)).astype(np.int8))
    return path
