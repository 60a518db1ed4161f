"""Shared by the modules of dynamic networks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.nn.quantizers import Affine8


class Deciding(nn.Module):
    """A module that computes one of several parts for each sample.

    In training all parts run, and their outputs are mixed or returned side by side. In evaluation each sample runs the
    part that the board would run: decisions are made on integer codes, with the arithmetic of the exported operators.

    Attributes:
        index: [N] int64, or [N, k]: the branch of each sample of the last batch in evaluation; None if no sample
            reached the module.
        explores: in evaluation, whether parts that no sample takes are run too, so that their quantizers observe data.
    """

    index: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.index = None
        self.explores = False


@contextmanager
def exploring(network: nn.Module) -> Iterator[None]:
    """A context in which all parts run on every sample; outputs are still those of the chosen parts."""
    modules = [part for part in network.modules() if isinstance(part, Deciding)]
    before = [part.explores for part in modules]
    for part in modules:
        part.explores = True
    try:
        yield
    finally:
        for part, value in zip(modules, before, strict=True):
            part.explores = value


def decisions(network: nn.Module) -> dict[str, Tensor]:
    """The branch of each sample of the last batch in evaluation, [N] or [N, k] int64, by the module's name.

    Samples that did not reach a module (they left at an earlier exit, or a block around it was skipped) are not in its
    tensor.
    """
    found = ((name, part) for name, part in network.named_modules() if isinstance(part, Deciding))
    return {name: part.index for name, part in found if part.index is not None}


def forget(part: nn.Module) -> None:
    """Clears decisions of an earlier batch: no sample of this batch reaches these modules."""
    for inner in part.modules():
        if isinstance(inner, Deciding):
            inner.index = None


def check_quantizer(quantizer: nn.Module, where: str, what: str) -> Affine8:
    """The quantizer, checked to be an int8 quantizer.

    Raises:
        UnsupportedError: it is not.
    """
    if not isinstance(quantizer, Affine8):
        fix = "Give an Affine8, or an InputQuant."
        raise UnsupportedError(f"the {what} quantizer is a {type(quantizer).__name__}", where=where, fix=fix)
    return quantizer


def threshold_code(real: float, scale: float, zero_point: int = 0) -> int:
    """The least code whose value scale * (code - zero_point) is at least `real`, exactly; held within int32.

    Raises:
        UnsupportedError: `real` is not a number.
    """
    if math.isnan(real):
        raise UnsupportedError("a threshold that is not a number", where="threshold", fix="Give a real number.")
    least, largest = -(2**31), 2**31 - 1
    if math.isinf(real):
        return largest if real > 0 else least
    return min(max(math.ceil(Fraction(real) / Fraction(scale)) + zero_point, least), largest)


def codes_of(quantizer: Affine8, values: Tensor) -> Tensor:
    """int64 codes of values, of their shape, in evaluation."""
    span = quantizer.range()
    return quantizer.count(values.detach(), span) + quantizer.lowest_code


def rows(values: Tensor, chosen: Tensor, part: Tensor) -> Tensor:
    """`values` [N, ...] with the rows that `chosen` (bool [N]) names taken from `part` [number of them, ...]."""
    result = values.clone()
    result[chosen] = part.to(values.dtype)
    return result
