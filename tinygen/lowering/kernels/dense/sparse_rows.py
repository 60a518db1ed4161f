"""Sparse weights in the kernels' format: the live blocks of inputs in each row, as steps from one to the next.

A row is a filter or a block of filters, a column an input or a block of inputs. A step is a distance in columns that
must fit a field; longer distances take several steps, all but the last of which have zero weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Steps:
    """The walk over the live columns of all rows, row after row.

    Attributes:
        counts: steps per row, [rows].
        deltas: columns from the last step's, of a row's first step from column 0, [steps].
        rows: [steps].
        columns: where each step ends, [steps].
    """

    counts: np.ndarray
    deltas: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def padded(self, values: np.ndarray, multiple: int) -> np.ndarray:
        """`values` [steps, ...] with zeros behind every row's, up to a multiple of steps."""
        ends = np.cumsum(self.counts)
        rounded = -(-self.counts // multiple) * multiple
        at = np.arange(len(self.rows)) - (ends - self.counts)[self.rows]
        result = np.zeros((int(rounded.sum()), *values.shape[1:]), values.dtype)
        result[(np.cumsum(rounded) - rounded)[self.rows] + at] = values
        return result


def walk(live: np.ndarray, reach: int) -> Steps:
    """The steps over live columns.

    Args:
        live: [rows, columns], bool.
        reach: the longest step.
    """
    rows, columns = np.nonzero(live)
    first = np.ones(len(rows), bool)
    first[1:] = rows[1:] != rows[:-1]
    distances = np.where(first, columns, np.diff(columns, prepend=0))
    extra = np.maximum(distances - 1, 0) // reach
    owner = np.repeat(np.arange(len(rows)), extra + 1)
    last = np.zeros(len(owner), bool)
    last[np.cumsum(extra + 1) - 1] = True
    deltas = np.where(last, (distances - reach * extra)[owner], reach)
    left = np.cumsum(extra + 1)[owner] - 1 - np.arange(len(owner))
    ends = columns[owner] - np.where(left > 0, (distances - reach * extra)[owner] + reach * (left - 1), 0)
    return Steps(np.bincount(rows[owner], minlength=len(live)), deltas, rows[owner], ends)


def blocks_of(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Weights [O, I] as blocks [O / height, I / width, height, width], rounded up with zeros."""
    outputs, depth = weights.shape
    padded = np.zeros((-(-outputs // height) * height, -(-depth // width) * width), weights.dtype)
    padded[:outputs, :depth] = weights
    return padded.reshape(len(padded) // height, height, -1, width).transpose(0, 2, 1, 3)


def smallest_unsigned(values: np.ndarray) -> np.ndarray:
    """The values in the smallest type of C that holds them all."""
    most = int(values.max(initial=0))
    return values.astype(np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.int32)


def to_words(content: np.ndarray) -> np.ndarray:
    """Bytes as words; one zero word if there are none, as C has no empty arrays."""
    found = np.ascontiguousarray(content).view(np.uint8).reshape(-1)
    return found.view("<u4").astype(np.uint32) if found.size else np.zeros(1, np.uint32)
