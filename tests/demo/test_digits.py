"""The bundled digit classifier is what the README says it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.apps.digits.demo import run_demo
from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.demo import MODEL, TEST_DIGITS, load_test_digits

_RIGHT = 983
"""Of the 1,000 test digits, with LiteRT's reference kernels."""


def test_files_are_small() -> None:
    assert MODEL.stat().st_size < 25_000
    assert TEST_DIGITS.stat().st_size < 400_000


def test_digits_are_balanced() -> None:
    images, labels = load_test_digits()
    assert images.shape == (1000, 28, 28, 1)
    assert images.dtype == np.int8
    assert np.bincount(labels).tolist() == [100] * 10


def test_accuracy_with_reference_kernels() -> None:
    images, labels = load_test_digits()
    model = LiteRt(MODEL, Oracle.REF)
    answers = [int(np.argmax(model.infer([image[None]])[0])) for image in images]
    assert int(np.sum(np.array(answers) == labels)) == _RIGHT


@pytest.mark.long
def test_accuracy_on_the_emulated_board(tmp_path: Path) -> None:
    result = run_demo("f746zg", tmp_path / "demo", digits=1000)
    assert (result.correct, result.digits) == (_RIGHT, 1000)
