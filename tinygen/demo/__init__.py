"""The bundled digit classifier: an int8 .tflite and a thousand test digits (see train_digits.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

MODEL = Path(__file__).with_name("digits.tflite")
TEST_DIGITS = Path(__file__).with_name("digits_test.npz")


def load_test_digits() -> tuple[np.ndarray, np.ndarray]:
    """Test digits: images as the model's input codes (int8 [1000, 28, 28, 1]) and labels (uint8 [1000])."""
    with np.load(TEST_DIGITS) as content:
        # Stored as pixels 0..255; the model's input encoding is (pixel - 128) at scale 1/255.
        images = (content["pixels"].astype(np.int16) - 128).astype(np.int8)
        return images, content["labels"]
