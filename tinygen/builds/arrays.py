"""Inputs and labels from .npy and .npz files, checked against what a model takes."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.builds.values import as_codes
from tinygen.errors import TinygenError
from tinygen.frontends.arrays import input_names, read_arrays
from tinygen.frontends.layouts import Layout, Rows
from tinygen.ir.encodings import Affine, Plain
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs to run.

    Attributes:
        inputs: per model input an array [samples, *shape] of codes.
        labels: class per sample, when the file has them.
        resets: indices of the samples, besides the first, at which a model with states is reset.
    """

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None
    resets: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.inputs[0])

    def sample(self, index: int) -> list[np.ndarray]:
        return [array[index] for array in self.inputs]

    def head(self, count: int) -> Samples:
        """The first `count` samples.

        Raises:
            TinygenError: there are fewer.
        """
        if count > len(self):
            raise TinygenError(
                f"there are {len(self):,} samples, not {count:,}",
                where=f"--limit {count}",
                fix="Leave it out to take all of them.",
            )
        return self.part(0, count)

    def part(self, start: int, end: int) -> Samples:
        """Samples `start` to `end` - 1, or as many of them as there are."""
        labels = None if self.labels is None else self.labels[start:end]
        resets = frozenset(index - start for index in self.resets if start < index < end)
        return Samples(tuple(array[start:end] for array in self.inputs), labels, resets)

    def begins(self, index: int) -> bool:
        """Whether a stream begins at this sample."""
        return index == 0 or index in self.resets

    def streams(self) -> list[range]:
        """Indices of the samples of each stream."""
        starts = [0, *sorted(self.resets), len(self)]
        return [range(start, end) for start, end in itertools.pairwise(starts)]


@dataclass(frozen=True)
class Reading:
    """How a user's arrays are read.

    Attributes:
        layout: of images in the arrays; None: that of the model.
        clip: clamp real values beyond an input's range instead of raising an error.
    """

    layout: Layout | None = None
    clip: bool = False

    def check(self, inputs: Inputs | None) -> None:
        """
        Raises:
            TinygenError: there are no inputs to read, but it says how.
        """
        if inputs is None and self != AS_IT_IS:
            option = "--clip" if self.layout is None else "--layout"
            raise TinygenError("says how inputs are read, and there are none", where=option, fix="Give --inputs.")


AS_IT_IS = Reading()
Inputs = Path | np.ndarray | Mapping[str, np.ndarray]
"""Where inputs are: a .npy or .npz file, the array of a model's only input, or arrays by name as in an .npz."""


def name_of(inputs: Inputs) -> str:
    """What errors and reports call them."""
    return str(inputs) if isinstance(inputs, Path) else "inputs"


def load_samples(
    inputs: Inputs, tensors: Sequence[Tensor], reading: Reading = AS_IT_IS, *, classes: int | None = None
) -> Samples:
    """Reads inputs for a model.

    A .npy holds the model's only input. A .npz holds `x` (or `x0`, `x1`, ... for several inputs, or arrays named after
    the inputs) and optionally `y`, the labels, and `reset`, true for every row at which a model with states is reset
    (the first always is). Each array has a sample per row, in the shape that the model takes, or is a single sample;
    see `Rows.take`. Real values for a quantized input become codes, see `as_codes`.

    Args:
        inputs: a file, or arrays as a file would hold them.
        tensors: the model's inputs.
        reading: how images lie in the arrays, and what becomes of values beyond an input's range.
        classes: number of classes of the model; None if labels are not checked.

    Raises:
        TinygenError: the file is unreadable, or arrays do not fit the model's inputs or each other.
    """
    return samples_of(_arrays(inputs), tensors, reading, classes=classes, where=name_of(inputs))


def samples_of(
    arrays: Mapping[str, np.ndarray], tensors: Sequence[Tensor], reading: Reading, *, classes: int | None, where: str
) -> Samples:
    """As `load_samples`, from arrays by name; `where` names their file in errors."""
    arrays = dict(arrays)
    marks = None if any(tensor.name == "reset" for tensor in tensors) else arrays.pop("reset", None)
    given = None if any(tensor.name == "y" for tensor in tensors) else arrays.pop("y", None)
    names = input_names(arrays, [tensor.name for tensor in tensors], where)
    _check_unused(arrays.keys() - set(names), tensors, where)
    codes = tuple(fit(arrays[name], tensor, where, reading) for name, tensor in zip(names, tensors, strict=True))
    labels, resets = _labels(given, classes, where), _resets(marks, where)
    counts = {len(array) for array in (*codes, *(a for a in (labels, resets) if a is not None))}
    if len(counts) != 1:
        raise TinygenError(f"its arrays have different numbers of samples: {sorted(counts)}", where=where)
    begun = () if resets is None else np.flatnonzero(resets).tolist()
    return Samples(codes, labels, frozenset(begun) - {0})


def load_reals(inputs: Inputs, tensors: Sequence[Tensor], reading: Reading, count: int) -> list[list[np.ndarray]]:
    """The first samples of inputs that `load_samples` has read, as real numbers: codes are what they stand for."""
    arrays = _arrays(inputs)
    names = input_names(
        {name: arrays[name] for name in arrays if name not in ("y", "reset")},
        [t.name for t in tensors],
        name_of(inputs),
    )
    columns = []
    for name, tensor in zip(names, tensors, strict=True):
        rows = Rows(f"input '{tensor.name}'", tensor.shape).take(arrays[name], reading.layout, name_of(inputs))[:count]
        if rows.dtype.kind != "f" and isinstance(tensor.encoding, Affine):
            rows = tensor.encoding.integers(rows) * tensor.scale
        columns.append(rows.astype(tensor.dtype if isinstance(tensor.encoding, Plain) else np.float32))
    return [[column[index] for column in columns] for index in range(count)]


def _arrays(inputs: Inputs) -> dict[str, np.ndarray]:
    if isinstance(inputs, Path):
        return read_arrays(inputs)
    if isinstance(inputs, Mapping):
        return {name: np.asarray(array) for name, array in inputs.items()}
    return {"x": np.asarray(inputs)}


def _labels(labels: np.ndarray | None, classes: int | None, where: str) -> np.ndarray | None:
    """Classes [samples], from one number per row.

    Raises:
        TinygenError: they are something else.
    """
    if labels is None:
        return None
    if labels.ndim == 0 or labels.size != len(labels) or labels.dtype.kind not in "biuf":
        raise TinygenError(
            f"its labels y are {labels.dtype.name} {list(labels.shape)}",
            where=where,
            fix="Give the number of the class of each sample.",
        )
    numbers = labels.reshape(-1)
    if not np.array_equal(numbers, np.nan_to_num(np.trunc(numbers))):
        raise TinygenError("its labels y are not whole numbers", where=where, fix="Give numbers of classes.")
    found = numbers.astype(np.int64)
    wrong = (found < 0) | (found >= (np.iinfo(np.int64).max if classes is None else classes))
    if wrong.any():
        at = int(np.argmax(wrong))
        known = "" if classes is None else f": the model's are 0 to {classes - 1}"
        raise TinygenError(
            f"label {found[at]} of sample {at} is no class{known}", where=where, fix="Number classes from 0."
        )
    return found


def _resets(marks: np.ndarray | None, where: str) -> np.ndarray | None:
    """Whether a stream begins, [samples], from one mark per row.

    Raises:
        TinygenError: they are something else.
    """
    if marks is None:
        return None
    if marks.ndim != 1 or marks.dtype.kind not in "biu" or not np.isin(marks, (0, 1)).all():
        raise TinygenError(
            f"its array reset is {marks.dtype.name} {list(marks.shape)}",
            where=where,
            fix="Give true or false (1 or 0) for each sample.",
        )
    return marks.astype(bool)


def random_samples(tensors: Sequence[Tensor], count: int, seed: int) -> Samples:
    """Reproducible random inputs: codes are uniform over their whole range, floats are normally distributed."""
    rng = np.random.default_rng(seed)
    return Samples(tuple(_random(tensor, count, rng) for tensor in tensors))


def _random(tensor: Tensor, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (count, *tensor.shape)
    if tensor.is_float:
        return rng.standard_normal(shape).astype(np.float32)
    low, high = tensor.code_range
    return rng.integers(low, high + 1, shape).astype(tensor.dtype)


def _check_unused(names: Collection[str], tensors: Sequence[Tensor], where: str) -> None:
    """Refuses arrays that nothing reads: otherwise labels under another name would be ignored silently."""
    if names:
        known = ", ".join(f"x{index} ('{tensor.name}')" for index, tensor in enumerate(tensors))
        raise TinygenError(
            f"holds {', '.join(map(repr, sorted(names)))}, which nothing reads",
            where=where,
            fix=f"Read are {known}, labels as y, and reset; leave all others out.",
        )


def fit(array: np.ndarray, tensor: Tensor, where: str, reading: Reading = AS_IT_IS) -> np.ndarray:
    """An array as codes of a tensor, [samples, *shape]; `where` names the file in errors."""
    rows = Rows(f"input '{tensor.name}'", tensor.shape).take(array, reading.layout, where)
    return np.ascontiguousarray(as_codes(rows, tensor, where, clip=reading.clip))
