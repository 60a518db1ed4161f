"""Shared by all quantizers: the base quantizer Q_k, the straight-through estimator, the two interfaces.

Rounding is half up everywhere, floor(x + 0.5), computed in float64: the code of a value is then the number of
decision boundaries b with value >= b, without exception, and a firmware that compares integers with thresholds
agrees with the training code. (``torch.round`` rounds halves to even, which no single rule on thresholds gives.)

Equations are those of L. E. Guerra Fernandez, "Efficient Deep Neural Networks Aimed for Resource Constrained
Embedded Devices", thesis, Monash, 2024, unless another source is named.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.nn.quantizers.zeros import only, with_zeros


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def straight_through(surrogate: Tensor, value: Tensor) -> Tensor:
    """`value`, bit for bit, with the gradient that `surrogate` would have (same shape)."""
    if not (torch.is_grad_enabled() and surrogate.requires_grad):
        return value
    return _StraightThrough.apply(surrogate, value)


def round_half_up(x: Tensor) -> Tensor:
    """floor(x + 0.5) of float64 values, so that the addition neither creates nor hides a tie."""
    return torch.floor(x.double() + 0.5)


def base_quantize(x: Tensor, bits: int) -> Tensor:
    """Q_k(x) = round((2^k - 1) x) / (2^k - 1) (5.2, 6.3); the gradient passes where |x| <= 1 (5.3).

    Args:
        x: any shape, values in [0, 1].
        bits: k, 1 to 16.
    """
    steps = 2 ** check_bits("Q_k", bits, 1, 16) - 1
    value = (round_half_up(x.detach().double() * steps) / steps).to(x.dtype)
    return straight_through(torch.clamp(x, -1.0, 1.0), value)


def check_bits(what: str, bits: int, low: int, high: int) -> int:
    """`bits`, when it lies in low..high.

    Raises:
        UnsupportedError: it does not.
    """
    if not low <= bits <= high:
        raise UnsupportedError(f"{bits} bits asked for", where=what, fix=f"Use {low} to {high} bits.")
    return bits


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    """`value`, when it is one of `choices`.

    Raises:
        UnsupportedError: it is not.
    """
    if value not in choices:
        raise UnsupportedError(f"{value!r} asked for", where=what, fix=f"Use one of {', '.join(choices)}.")
    return value


def channel_view(scale: Tensor, like: Tensor) -> Tensor:
    """A vector of one value per output channel, [O], shaped so that it multiplies `like` [O, ...]."""
    return scale.reshape(-1, *(1,) * (like.dim() - 1))


def group_mean(x: Tensor, scaling: str, kept: Tensor | None = None) -> Tensor:
    """Mean over the layer (a scalar) or over each output channel ([O, 1, ...]), in float64.

    Args:
        kept: bool, shape of `x`: the mean is over these, 0 where there is none; None is all.
    """
    flat = x.double().reshape(1, -1) if scaling == "layer" else x.double().flatten(1)
    means = row_mean(flat, None if kept is None else kept.reshape(flat.shape))
    return means.squeeze(0) if scaling == "layer" else channel_view(means, x)


def row_mean(x: Tensor, kept: Tensor | None) -> Tensor:
    """Mean along the last dimension, over what is kept (bool, shape of `x`; None is all); 0 where nothing is."""
    return x.mean(-1) if kept is None else (x * kept).sum(-1) / kept.sum(-1).clamp_min(1)


@dataclass(frozen=True)
class WeightCodes:
    """A weight tensor in codes: weights = scale * integers.

    Attributes:
        codes: as the encoding stores them; shape of the weights.
        integers: the codes' integers, kernel scales (APSQ) included; shape of the weights, float64.
        scale: a scalar, or [O, 1, ...]; float32.
    """

    codes: Tensor
    integers: Tensor
    scale: Tensor


class WeightQuantizer(nn.Module, ABC):
    """Weights [O, I, height, width] or [O, I] in, the same shape out, of values that an encoding can hold.

    The output is scale * integers, in one float32 multiplication: what `codes` returns stands for it exactly.

    Pruned layers give a mask `kept` (bool, shape of the weights, True is kept). Masked weights become exactly 0 and get
    no gradient, and no scale, threshold or table depends on it: a layer from which those weights are removed computes
    the same.
    """

    def prepare(self, shape: torch.Size) -> None:
        """Called once by the layer with the shape of its weights, for quantizers that keep state of that shape."""

    @abstractmethod
    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        """Codes, integers and scale of the weights (detached), which are 0 where they are not kept.

        Its values for weights that are not kept do not matter: the caller replaces them by zeros.
        """

    @abstractmethod
    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        """The encoding of these weights, of these scales: one (axis None), or one per output channel (axis 0)."""

    def surrogate(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        """The tensor whose gradient is used in place of the output's; the weights themselves unless overridden."""
        return weights

    def forward(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        weights = only(weights, kept)
        parts = self.parts(weights.detach(), kept)
        value = only(parts.integers.to(weights.dtype) * parts.scale.to(weights.dtype), kept)
        return straight_through(self.surrogate(weights, kept), value)

    def codes(self, weights: Tensor, kept: Tensor | None = None) -> tuple[np.ndarray, IntegerEncoding]:
        """Codes (shape of the weights) and encoding, such that scale * encoding.integers(codes) is the output.

        Encodings in which no code is zero become others where a weight is not kept: see `with_zeros`.

        Raises:
            ModelError: a weight that is kept is not finite.
            UnsupportedError: the encoding has no free code for zero.
        """
        weights = only(weights, kept)
        if not bool(torch.isfinite(weights).all()):
            raise ModelError(
                "a weight is infinite or not a number", where=type(self).__name__, fix="Train again with a lower rate."
            )
        parts = self.parts(weights.detach(), kept)
        axis = 0 if parts.scale.dim() else None
        encoding = self.encoding(weights.detach(), tuple(float(s) for s in parts.scale.flatten().tolist()), axis)
        codes = parts.codes.cpu().numpy().astype(encoding.dtype)
        return (codes, encoding) if kept is None else with_zeros(codes, encoding, self.covered(weights, kept))

    def covered(self, weights: Tensor, kept: Tensor) -> np.ndarray:
        """Weights whose code need not be that of zero: the kept ones, and those whose kernel scale is already zero."""
        return kept.cpu().numpy()

    def kernel_scales(self, weights: Tensor, kept: Tensor | None = None) -> np.ndarray | None:
        """Integers [O, I], uint16, that multiply whole kernels besides the encoding's scale; APSQ alone has them."""
        return None


# Up to this many comparisons of whole tensors are faster than a binary search for each value.
FEW = 15


class ActivationQuantizer(nn.Module, ABC):
    """Activations of any shape in, the same shape out, of values that one encoding per tensor can hold.

    The output is found by counting: code = lowest_code + number of boundaries b with x >= b (a value that equals a
    boundary belongs to the upper code). In evaluation boundaries and values depend on no input.

    Attributes:
        lowest_code: the code below the first boundary; 0 but for Affine8's -128.
    """

    lowest_code = 0

    @property
    def calibrating(self) -> bool:
        """Whether calibration observes the inputs' range."""
        return False

    @abstractmethod
    def range(self, x: Tensor | None = None) -> Tensor:
        """[2] float64, the range that the grid spans: that of `x` in training, the frozen one without `x`."""

    @abstractmethod
    def thresholds(self, span: Tensor) -> Tensor:
        """The boundaries of the grid over `span`, float64, ascending."""

    @abstractmethod
    def levels(self, span: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (one more than thresholds, ascending) and their scale (float32 scalar)."""

    @abstractmethod
    def encoding(self) -> IntegerEncoding:
        """The encoding of the output in evaluation."""

    def surrogate(self, x: Tensor, span: Tensor) -> Tensor:
        """The tensor whose gradient is used: `x` clipped to the span, so that the gradient passes within the range,
        ends included.
        """
        return torch.clamp(x, span[0].to(x.dtype), span[1].to(x.dtype))

    def forward(self, x: Tensor) -> Tensor:
        span = self.range(x.detach() if self.training or self.calibrating else None)
        return straight_through(self.surrogate(x, span), self.value(x.detach(), span))

    def value(self, x: Tensor, span: Tensor) -> Tensor:
        """The output for the grid over `span`."""
        integers, scale = self.levels(span)
        return (integers.to(x.dtype) * scale.to(x.dtype))[self.count(x, span)]

    def count(self, x: Tensor, span: Tensor) -> Tensor:
        """How many boundaries of the grid over `span` each value reaches, int64."""
        thresholds = round_up(self.thresholds(span), x.dtype)
        if len(thresholds) > FEW:
            return torch.bucketize(x, thresholds, right=True)
        reached = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
        for threshold in thresholds:
            reached += x >= threshold
        return reached.long()

    def codes(self, x: Tensor) -> tuple[np.ndarray, IntegerEncoding]:
        """Codes (shape of `x`) and encoding of the output in evaluation."""
        encoding = self.encoding()
        count = self.count(x.detach(), self.range())
        return (count.cpu().numpy() + self.lowest_code).astype(encoding.dtype), encoding

    def boundaries(self) -> tuple[np.ndarray, IntegerEncoding]:
        """The real values (float64, ascending) at which the code steps up, in evaluation, and the encoding.

        code = lowest_code + number of boundaries b with x >= b, exactly, for float32 `x`.
        """
        return self.thresholds(self.range()).cpu().numpy().astype(np.float64), self.encoding()


class UniformActivation(ActivationQuantizer):
    """Boundaries at equal distances: codes by arithmetic, several times faster than by searching.

    The arithmetic is in float64, where the boundaries of a float32 scale and float32 values are told apart exactly:
    they are fractions of at most 34 bits, so no rounding carries a value over a boundary that it does not reach.
    """

    @abstractmethod
    def position(self, x: Tensor, span: Tensor) -> Tensor:
        """How many boundaries each value reaches, float64; NaN where `x` is NaN."""

    def count(self, x: Tensor, span: Tensor) -> Tensor:
        return self.position(x, span).long()

    def value(self, x: Tensor, span: Tensor) -> Tensor:
        integers, scale = self.levels(span)
        return self.position(x, span).add_(integers[0]).to(x.dtype).mul_(scale.to(x.dtype))


def round_up(thresholds: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest values of `dtype` that are not below `thresholds`: comparing with either is the same."""
    rounded = thresholds.to(dtype)
    above = torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
    return torch.where(rounded.double() < thresholds, above, rounded)
