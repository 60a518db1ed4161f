"""Converts a user's values to codes of a tensor; values without a code are refused."""

from __future__ import annotations

import numpy as np

from tinygen.errors import TinygenError
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.tensor import Tensor

_RARE = 0.01
"""Largest share of real values that may lie beyond a model's calibrated range."""


def as_codes(values: np.ndarray, tensor: Tensor, where: str, *, clip: bool = False) -> np.ndarray:
    """Values [samples, *shape] as codes of an input.

    Integers are codes and must be codes of the input. Real values are quantized with the input's scale and zero point,
    rounded to nearest. Values beyond its range are clamped, since calibration may have left out rare values. But more
    than 1 % of such values, or one that is farther off than the range is wide, are an error: the values are probably in
    other units. Values up to one step beyond the range count as within it (1.0 has no code at a scale of 1/128).

    Args:
        values: integers or floats.
        tensor: the input.
        where: names their file in errors.
        clip: clamp all real values beyond the range, however many and however far.

    Raises:
        TinygenError: a type that the input does not take, NaN or infinity, or values of other units.
    """
    kind = values.dtype.kind
    if tensor.is_float and kind == "f":
        return _reals(values, tensor, where)
    if tensor.dtype.kind == "b" and kind in "biu" and values.min() >= 0 and values.max() <= 1:
        return values.astype(tensor.dtype)
    if isinstance(tensor.encoding, Affine) and kind == "f":
        return _quantized(values, tensor, where, clip=clip)
    if kind in "iu" and not tensor.is_float and tensor.dtype.kind != "b":
        return _codes(values, tensor, where)
    fix = "Give real values as float32." if tensor.is_float else f"Give the codes as {tensor.dtype.name}"
    if isinstance(tensor.encoding, Affine):
        fix += ", or real values as float32."
    raise TinygenError(
        f"holds {values.dtype.name}, input '{tensor.name}' takes {tensor.dtype.name}",
        where=where,
        fix=fix if fix.endswith(".") else f"{fix}.",
    )


def _reals(values: np.ndarray, tensor: Tensor, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    wrong = np.isnan(values) | (np.isinf(found) & ~np.isinf(values))
    if wrong.any():
        raise TinygenError(f"holds NaN, or what float32 has not, for input '{tensor.name}'", where=_at(wrong, where))
    return found


def _quantized(values: np.ndarray, tensor: Tensor, where: str, *, clip: bool) -> np.ndarray:
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise TinygenError(
            f"holds NaN or infinity for input '{tensor.name}', which has no code", where=_at(wrong, where)
        )
    low, high = tensor.code_range
    with np.errstate(over="ignore"):
        codes = round_half_away(values.astype(np.float32) / np.float32(tensor.scale)) + tensor.zero_point
    beyond = (codes < low - 1) | (codes > high + 1)
    width = high - low
    far = (codes < low - width) | (codes > high + width)
    if not clip and (far.any() or beyond.sum() > _RARE * beyond.size):
        reals = [tensor.scale * (code - tensor.zero_point) for code in (low, high)]
        furthest = float(values[beyond][np.argmax(np.abs(values[beyond]))])
        raise TinygenError(
            f"{int(beyond.sum()):,} of {values.size:,} values are beyond what input '{tensor.name}' can hold, "
            f"{reals[0]:.6g} to {reals[1]:.6g}; the furthest is {furthest:.6g}",
            where=_at(beyond, where),
            fix="Give values as the model was trained on; --clip (clip=True in Python) takes the range's ends instead.",
        )
    return np.clip(codes, low, high).astype(tensor.dtype)


def _codes(values: np.ndarray, tensor: Tensor, where: str) -> np.ndarray:
    low, high = tensor.code_range
    if values.dtype.kind == "u" and low < 0:
        # Dark pixels would be valid codes: only the signedness of the type tells them apart.
        raise TinygenError(
            f"holds {values.dtype.name}, input '{tensor.name}' takes {tensor.dtype.name} codes, {low} to {high}",
            where=where,
            fix=f"Give the codes as {tensor.dtype.name} (of pixels often x - 128), or real values as float32.",
        )
    beyond = (values < low) | (values > high)
    if beyond.any():
        raise TinygenError(
            f"{int(beyond.sum()):,} of {values.size:,} values are no codes of input '{tensor.name}', which are {low} "
            f"to {high}",
            where=_at(beyond, where),
            fix=f"Give the codes as {tensor.dtype.name}, or real values as float32.",
        )
    return values.astype(tensor.dtype)


def _at(wrong: np.ndarray, where: str) -> str:
    """The file and the first sample that has one."""
    return f"{where}: sample {int(np.argwhere(wrong)[0][0])}"
