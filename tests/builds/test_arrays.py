"""Inputs and labels from files: what does not fit is refused in the user's terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.builds.arrays import Reading, load_samples, random_samples
from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine, Float32, Plain
from tinygen.ir.tensor import Tensor

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
        ({"x": ROWS, "y": np.array([0, -1, 2])}, "label -1 of sample 1 is no class: the model's are 0 to 2"),
        ({"x": ROWS, "y": np.array([0, 1, 3])}, "label 3 of sample 2 is no class"),
        ({"x": ROWS, "labels": np.arange(3)}, "holds 'labels', which nothing reads"),
        ({"x": ROWS, "x1": ROWS}, "holds 'x1', which nothing reads"),
        ({"x": ROWS, "x0": ROWS}, "holds 'x', which nothing reads"),
        ({"images": ROWS}, "has no array for input 0 ('in')"),
        ({"x": ROWS.astype(np.uint8)}, "holds uint8, input 'in' takes int8 codes, -128 to 127"),
        ({"x": ROWS.astype(np.int32) * 100}, "5 of 6 values are no codes of input 'in', which are -128 to 127"),
        ({"x": ROWS.astype(bool)}, "holds bool, input 'in' takes int8"),
        ({"x": ROWS.astype(complex)}, "holds complex128"),
        ({"x": ROWS * 20.0}, "3 of 6 values are beyond what input 'in' can hold, -64 to 63.5; the furthest is 120"),
        ({"x": ROWS * -1e300}, "6 of 6 values are beyond"),
    ],
)
def test_refused(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(TinygenError) as error:
        load_samples(tmp_path / "x.npz", (INPUT,), classes=3)
    assert words in error.value.what


def test_values_up_to_a_step_beyond_the_range_are_its_ends() -> None:
    """1.0 has no code at a scale of 1/128."""
    tensor = Tensor("in", (1, 4), Affine("int8", (1 / 128,), (0,)))
    values = np.array([[-1.0, 1.0, 0.996, 1.003]])
    assert load_samples(values, (tensor,)).inputs[0].tolist() == [[[-128, 127, 127, 127]]]
    far = np.array([[-3.0, 1.0, 0.0, 400.0]], np.float32)
    with pytest.raises(TinygenError, match="2 of 4 values are beyond") as error:
        load_samples({"x": far}, (tensor,))
    assert error.value.where == "inputs: sample 0" and "--clip" in error.value.fix
    rare = np.zeros((50, 4))
    rare[7, 1], rare[9, 0] = 1.5, -2.0
    codes = load_samples(rare, (tensor,)).inputs[0].reshape(50, 4)
    assert codes[7:10].tolist() == [[0, 127, 0, 0], [0] * 4, [-128, 0, 0, 0]]
    for value, words in ((3.1, "1 of 200 values are beyond"), (1.2, "3 of 200 values are beyond")):
        other = rare.copy() * (value < 3)
        other[20, 2] = value
        with pytest.raises(TinygenError, match=words):
            load_samples(other, (tensor,))
    clipped = load_samples(far, (tensor,), Reading(clip=True))
    assert clipped.inputs[0].tolist() == [[[-128, 127, 0, 127]]]


def test_float_and_bool_inputs() -> None:
    real, flag = Tensor("in", (1, 2), Float32()), Tensor("in", (1, 2), Plain("bool"))
    assert load_samples(np.array([[1e-3, -np.inf]]), (real,)).inputs[0].dtype == np.float32
    for bad in (np.array([[np.nan, 0]]), np.array([[1e300, 0]])):
        with pytest.raises(TinygenError, match="NaN, or what float32 has not"):
            load_samples(bad, (real,))
    with pytest.raises(TinygenError, match="holds int64, input 'in' takes float32"):
        load_samples(np.array([[1, 2]]), (real,))
    assert load_samples(np.array([[0, 1]]), (flag,)).inputs[0].tolist() == [[[False, True]]]
    with pytest.raises(TinygenError, match="holds int64, input 'in' takes bool"):
        load_samples(np.array([[0, 2]]), (flag,))


def test_several_inputs_are_named_one_way() -> None:
    """After the model's inputs, or by number; what is named both ways belongs to the names."""
    a, b = (Tensor(name, (1, 2), Affine("int8", (0.5,), (0,))) for name in ("x1", "image"))
    named = load_samples({"x1": ROWS, "image": -ROWS}, (a, b))
    numbered = load_samples({"x0": ROWS, "x1": -ROWS}, (a, b))
    for samples in (named, numbered):
        assert samples.sample(0)[0].tolist() == [[1, 2]] and samples.sample(0)[1].tolist() == [[-1, -2]]
    with pytest.raises(TinygenError, match="has no array for input 0 \\('x1'\\)") as error:
        load_samples({"x0": ROWS, "image": ROWS}, (b, a)[::-1])
    assert "x1, image or x0, x1; the file has image, x0" in error.value.fix


def test_more_samples_than_there_are() -> None:
    samples = load_samples(ROWS, (Tensor("in", (1, 2), Affine("int8", (0.5,), (0,))),))
    assert len(samples.head(len(ROWS))) == len(ROWS)
    with pytest.raises(TinygenError, match=rf"limit 100: there are {len(ROWS)} samples, not 100"):
        samples.head(100)


def test_random_samples_of_booleans() -> None:
    """`hil` and `export` draw inputs where none are given."""
    (rows,) = random_samples([Tensor("x", (40,), Plain("bool"))], 2, 0).inputs
    assert rows.dtype == np.bool_ and 0 < np.count_nonzero(rows) < rows.size
