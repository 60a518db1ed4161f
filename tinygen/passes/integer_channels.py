"""Epilogues without some channels, and without what constant inputs add to accumulators.

A rescale absorbs that in its offset: (accumulator + s) * multiplier + offset = accumulator * multiplier + (offset + s *
multiplier). Thresholds are shifted by it. Padding counts as 0, so in padded layers only a channel of integers 0 is
constant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from tinygen.ir.epilogue import Epilogue, Rescale, Tflite, Threshold
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.summing import Summing

_NEVER, _ALWAYS = 2**31, -(2**31)
_E = TypeVar("_E", bound=Tflite | Epilogue | None)


def moved(epilogue: Epilogue, added: np.ndarray) -> Epilogue:
    """The epilogue for accumulators without the contribution `added`, int64 [channels]."""
    if not added.any():
        return epilogue
    channels = len(added)
    if isinstance(epilogue, Rescale):
        multipliers = np.broadcast_to(np.array(epilogue.multiplier, object), channels)
        offsets = np.broadcast_to(np.array(epilogue.offset, object), channels) + multipliers * added.astype(object)
        return replace(epilogue, offset=tuple(int(offset) for offset in offsets))
    signs = np.broadcast_to(np.array(epilogue.sign), channels)
    rows = epilogue.thresholds * (channels if len(epilogue.thresholds) == 1 else 1)
    steps = zip(rows, (signs * added).tolist(), strict=True)
    return replace(epilogue, thresholds=tuple(tuple(_step(t, by) for t in row) for row, by in steps))


def _step(threshold: int, by: int) -> int:
    """Thresholds minus `by`; those that are always or never reached stay so."""
    return threshold if threshold in (_ALWAYS, _NEVER) else min(max(threshold - by, _ALWAYS), _NEVER)


def compressed(epilogue: _E, keep: np.ndarray) -> _E:
    """An epilogue without some channels."""
    match epilogue:
        case Tflite():
            return replace(epilogue, upward_channels=int(keep[: epilogue.upward_channels].sum()))
        case Rescale():
            return replace(
                epilogue,
                multiplier=_kept(epilogue.multiplier, keep),
                offset=_kept(epilogue.offset, keep),
                shift=_kept(epilogue.shift, keep),
                floor=_kept(epilogue.floor, keep),
                ceiling=_kept(epilogue.ceiling, keep),
            )
        case Threshold():
            rows = epilogue.thresholds
            if len(rows) > 1:
                rows = tuple(row for row, stays in zip(rows, keep, strict=True) if stays)
            return replace(epilogue, thresholds=rows, sign=_kept(epilogue.sign, keep))
    return epilogue


def narrowed(op: Op, keep: np.ndarray) -> Op:
    """An operator without some output channels: what its attributes say of each; weights are the caller's."""
    match op:
        case MaxPool2D():
            return replace(op, sign=_kept(op.sign, keep))
        case Summing():
            return replace(op, epilogue=compressed(op.epilogue, keep))
        case Requantize():
            return replace(op, epilogue=compressed(op.epilogue, keep))
        case IntegerAdd():
            return replace(
                op,
                first=_kept(op.first, keep),
                second=_kept(op.second, keep),
                shift=_kept(op.shift, keep),
                epilogue=compressed(op.epilogue, keep),
            )
        case _:
            return op


def _kept(values: tuple[int, ...], keep: np.ndarray) -> tuple[int, ...]:
    """The values of kept channels; unchanged if one value, or none, serves all channels."""
    return values if len(values) <= 1 else tuple(v for v, stays in zip(values, keep, strict=True) if stays)
