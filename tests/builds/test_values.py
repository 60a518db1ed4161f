"""Values on their way to a board and back: codes of inputs, parts of samples, outputs side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.builds.arrays import Samples, load_samples
from tinygen.builds.compare import Comparison, differing
from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.tensor import Tensor

INPUT = Tensor("in", (1, 3), Affine("int8", (0.5,), (10,)))


def _loaded(values: np.ndarray, tensor: Tensor, folder: Path) -> np.ndarray:
    np.savez(folder / "x.npz", x=values)
    return load_samples(folder / "x.npz", (tensor,)).inputs[0]


def test_real_values_are_rounded_half_away(tmp_path: Path) -> None:
    reals = np.array([[0.25, -0.25, 0.74], [0.2, -0.76, 1.0], [59.0, -69.5, 0.0]], np.float32).reshape(3, 1, 3)
    assert _loaded(reals, INPUT, tmp_path).reshape(3, 3).tolist() == [[11, 9, 11], [10, 8, 12], [127, -128, 10]]
    for beyond in (59.5, -70.0):
        with pytest.raises(TinygenError, match="beyond what input 'in' can hold"):
            _loaded(np.array([[0.0, beyond, 0.0]], np.float32), INPUT, tmp_path)


@pytest.mark.parametrize("code", [128, -129, 2**33])
def test_codes_beyond_the_type_are_refused(code: int, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="no codes of input 'in'"):
        _loaded(np.array([[1, 2, code]]), INPUT, tmp_path)
    assert _loaded(np.array([[-128, 0, 127]]), INPUT, tmp_path).dtype == np.int8


def test_integers_of_a_plain_input_are_its_codes(tmp_path: Path) -> None:
    assert _loaded(np.array([[7, -9, 3]]), Tensor("in", (1, 3), Plain("int32")), tmp_path).tolist() == [[[7, -9, 3]]]


def test_a_part_of_the_samples_has_its_own_labels_and_resets() -> None:
    whole = Samples((np.arange(6).reshape(6, 1),), np.arange(10, 16), frozenset({2, 4}))
    part = whole.part(2, 5)
    assert part.inputs[0].ravel().tolist() == [2, 3, 4] and part.labels is not None
    assert part.labels.tolist() == [12, 13, 14] and part.resets == {2}
    assert whole.streams() == [range(2), range(2, 4), range(4, 6)] and part.streams() == [range(2), range(2, 3)]


def test_every_output_is_compared() -> None:
    same, other = np.zeros((1, 2), np.int8), np.array([[0, 3]], np.int8)
    comparison = Comparison("one", "two")
    comparison.add(0, [same, same], [same, same])
    comparison.add(1, [same, same], [same, other])
    comparison.add(2, [other, same], [same, same])
    assert (comparison.samples, comparison.mismatches, comparison.first_bad_sample) == (3, 2, 1)
    assert comparison.max_abs_diff == 3


@pytest.mark.parametrize(("error", "differs"), [(0.9e-5, False), (1.1e-5, True), (-1.1e-5, True)])
def test_floats_differ_beyond_a_hundred_thousandth_of_the_range(error: float, differs: bool) -> None:
    """Of the largest output's magnitude; smaller ones are held to the same limit."""
    a = np.array([0.25, -8.0, 0.0], np.float32)
    b = a + np.array([8 * error, 0, 0])
    assert differing(a, b) == ((0,) if differs else None)
