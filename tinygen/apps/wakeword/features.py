"""The network's input: features of the micro front end, as int8 codes."""

from __future__ import annotations

import numpy as np

from tinygen.audio.codes import UNIT, FeatureCodes
from tinygen.audio.micro_frontend import MicroFrontend, MicroFrontendConfig
from tinygen.ir.encodings import Affine

CONFIG = MicroFrontendConfig()
FULL = 26.0
"""The largest feature that has a code of its own, microWakeWord's choice."""
ENCODING = Affine("int8", (float(np.float32(FULL / 255)),), (-128,))
"""Of the network's input."""
_CODES = FeatureCodes(ENCODING, UNIT)


def feature_codes(samples: np.ndarray) -> np.ndarray:
    """int8 [frames, channels] of int16 samples, by a front end in its initial state."""
    return _CODES.apply(MicroFrontend(CONFIG).process(samples))


def real_features(codes: np.ndarray) -> np.ndarray:
    """The real values of codes, float32."""
    return (codes.astype(np.float32) + 128) * np.float32(ENCODING.scale[0])
