"""Inputs and labels from files: what does not fit is refused in the user's terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.ir.tensor import Tensor
from tinygen.verbs.arrays import load_samples

INPUT = Tensor("in", (1, 2), Affine("int8", (0.5,), (0,)))
ROWS = np.array([[1, 2], [3, 4], [5, 6]], np.int8)


def test_labels_of_every_kind_of_number(tmp_path: Path) -> None:
    for labels in (np.array([0, 1, 2]), np.array([0.0, 1.0, 2.0]), np.array([[0], [1], [2]], np.uint8)):
        np.savez(tmp_path / "x.npz", x=ROWS, y=labels)
        samples = load_samples(tmp_path / "x.npz", (INPUT,))
        assert samples.labels is not None and samples.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": ROWS[:0]}, "holds no samples"),
        ({"x": ROWS[:0].astype(np.float32)}, "holds no samples"),
        ({"x": np.float32(1)}, "do not fit input"),
        ({"x": np.full((3, 2), np.nan, np.float32)}, "NaN or infinity"),
        ({"x": ROWS, "y": np.int64(1)}, "its labels y are int64 []"),
        ({"x": ROWS, "y": np.array(["a", "b", "c"])}, "its labels y are"),
        ({"x": ROWS, "y": np.eye(3)}, "its labels y are float64 [3, 3]"),
        ({"x": ROWS, "y": np.array([0.5, 1, 2])}, "not whole numbers"),
        ({"x": ROWS, "y": np.array([np.inf, 1, 2])}, "not whole numbers"),
        ({"x": ROWS, "y": np.arange(2)}, "different numbers of samples: [2, 3]"),
    ],
)
def test_refused(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(TinygenError) as error:
        load_samples(tmp_path / "x.npz", (INPUT,))
    assert words in error.value.what
