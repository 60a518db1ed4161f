"""Inputs and labels from .npy and .npz files, checked against what a model takes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.arrays import read_arrays
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs to run.

    Attributes:
        inputs: per model input an array [samples, *shape] of codes.
        labels: class per sample, when the file has them.
        resets: numbers of the samples, besides the first, at which a model that keeps something from one inference to
            the next begins anew.
    """

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None
    resets: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.inputs[0])

    def sample(self, index: int) -> list[np.ndarray]:
        return [array[index] for array in self.inputs]

    def head(self, count: int) -> Samples:
        """The first `count` samples."""
        return self.part(0, count)

    def part(self, start: int, end: int) -> Samples:
        """Samples `start` to `end`, that one excluded; fewer where there are not so many."""
        labels = None if self.labels is None else self.labels[start:end]
        resets = frozenset(index - start for index in self.resets if start < index < end)
        return Samples(tuple(array[start:end] for array in self.inputs), labels, resets)

    def begins(self, index: int) -> bool:
        """Whether a stream begins with this sample."""
        return index == 0 or index in self.resets

    def streams(self) -> list[range]:
        """Numbers of the samples of each stream."""
        starts = [0, *sorted(self.resets), len(self)]
        return [range(start, end) for start, end in itertools.pairwise(starts)]


def load_samples(path: Path, tensors: tuple[Tensor, ...]) -> Samples:
    """Reads inputs for a model.

    A .npy holds the model's only input, one sample per row. A .npz holds `x` (or `x0`, `x1`, ... for
    several inputs, or arrays named after the inputs) and optionally `y`, the labels, and `reset`, true for every row at
    which a model with states begins anew (the first does in any case). Rows may be flat or shaped. Float data for a
    quantized input is quantized with that input's scale and zero point.

    Raises:
        TinygenError: unreadable, or rows that do not fit the model's inputs.
    """
    arrays = read_arrays(path)
    labels = _labels(arrays.pop("y", None), path)
    resets = _resets(None if any(t.name == "reset" for t in tensors) else arrays.pop("reset", None), path)
    found = [_find(arrays, index, tensor, tensors, path) for index, tensor in enumerate(tensors)]
    inputs = tuple(fit(array, tensor, path) for array, tensor in zip(found, tensors, strict=True))
    counts = {len(array) for array in (*inputs, *(a for a in (labels, resets) if a is not None))}
    if len(counts) != 1:
        raise TinygenError(f"its arrays have different numbers of samples: {sorted(counts)}", where=str(path))
    begun = () if resets is None else np.flatnonzero(resets).tolist()
    return Samples(inputs, labels, frozenset(begun) - {0})


def _labels(labels: np.ndarray | None, path: Path) -> np.ndarray | None:
    """Classes [samples], from one number per row.

    Raises:
        TinygenError: they are something else.
    """
    if labels is None:
        return None
    if labels.ndim == 0 or labels.size != len(labels) or labels.dtype.kind not in "biuf":
        raise TinygenError(
            f"its labels y are {labels.dtype.name} {list(labels.shape)}", where=str(path),
            fix="Give the number of the class of each sample.",
        )  # fmt: skip
    classes = labels.reshape(-1)
    if not np.array_equal(classes, np.nan_to_num(np.trunc(classes))):
        raise TinygenError("its labels y are not whole numbers", where=str(path), fix="Give numbers of classes.")
    return classes.astype(np.int64)


def _resets(marks: np.ndarray | None, path: Path) -> np.ndarray | None:
    """Whether a stream begins, [samples], from one mark per row.

    Raises:
        TinygenError: they are something else.
    """
    if marks is None:
        return None
    if marks.ndim != 1 or marks.dtype.kind not in "biu" or not np.isin(marks, (0, 1)).all():
        raise TinygenError(
            f"its array reset is {marks.dtype.name} {list(marks.shape)}", where=str(path),
            fix="Give true or false (1 or 0) for each sample.",
        )  # fmt: skip
    return marks.astype(bool)


def random_samples(tensors: tuple[Tensor, ...], count: int, seed: int) -> Samples:
    """The same inputs at every call: codes over their whole range, all as likely; floats of a normal distribution."""
    rng = np.random.default_rng(seed)
    return Samples(tuple(_random(tensor, count, rng) for tensor in tensors))


def _random(tensor: Tensor, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (count, *tensor.shape)
    if tensor.is_float:
        return rng.standard_normal(shape).astype(np.float32)
    low, high = tensor.code_range
    return rng.integers(low, high + 1, shape).astype(tensor.dtype)


def _find(
    arrays: dict[str, np.ndarray], index: int, tensor: Tensor, tensors: tuple[Tensor, ...], path: Path
) -> np.ndarray:
    names = [f"x{index}", tensor.name] + (["x"] if len(tensors) == 1 else [])
    for name in names:
        if name in arrays:
            return arrays[name]
    raise TinygenError(
        f"has no array for input {index} ('{tensor.name}')", where=str(path),
        fix=f"Name it one of {names}; the file has {sorted(arrays)}.",
    )  # fmt: skip


def fit(array: np.ndarray, tensor: Tensor, path: Path) -> np.ndarray:
    """Rows as codes of a tensor; `path` names them in errors."""
    rows = len(array) if array.ndim else 0
    if array.ndim == 0 or array.size != rows * tensor.size:
        raise TinygenError(
            f"rows of shape {list(array.shape[1:])} do not fit input '{tensor.name}' {list(tensor.shape)}",
            where=str(path),
        )
    if rows == 0:
        raise TinygenError("holds no samples", where=str(path))
    array = array.reshape(rows, *tensor.shape)
    if array.dtype.kind == "f" and tensor.is_float:
        return array.astype(np.float32)
    low, high = tensor.code_range
    if array.dtype.kind == "f" and isinstance(tensor.encoding, Affine):
        if not np.isfinite(array).all():
            raise TinygenError(f"holds NaN or infinity for input '{tensor.name}', which has no code", where=str(path))
        codes = round_half_away(array.astype(np.float32) / np.float32(tensor.scale)) + tensor.zero_point
        return np.clip(codes, low, high).astype(tensor.dtype)
    if array.dtype.kind in "iu" and not tensor.is_float and low <= array.min() and array.max() <= high:
        return array.astype(tensor.dtype)
    raise TinygenError(
        f"holds {array.dtype.name}, input '{tensor.name}' takes {tensor.dtype.name}", where=str(path),
        fix="Give the codes in the input's own type, or real values as float32.",
    )  # fmt: skip
