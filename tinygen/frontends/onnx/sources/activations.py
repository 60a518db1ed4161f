"""Clamps before a quantizer, as fused activations of TFLite's operators if possible."""

from __future__ import annotations

import math
from fractions import Fraction

from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.targets import Target
from tinygen.ir.epilogue import Rescale
from tinygen.ir.fixed_point import Activation, quantized_activation_range
from tinygen.ir.tensor import Tensor

_ACTIVATIONS = (Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1)


def clamp_codes(chain: Chain, target: Target) -> tuple[int, int] | None:
    """(least, largest) code after a chain's clamp; None if channels differ.

    Args:
        target: with an affine encoding.
    """
    if len(set(chain.low)) > 1 or len(set(chain.high)) > 1:
        return None
    scale, zero = Fraction(target.encoding.scale[0]), _zero(target)
    codes = [
        bound if isinstance(bound, float) else round(bound / scale) + zero for bound in (chain.low[0], chain.high[0])
    ]
    low, high = target.quantizer.low, target.quantizer.high
    return int(min(max(codes[0], low), high)), int(min(max(codes[1], low), high))


def _zero(target: Target) -> int:
    return int(getattr(target.encoding, "zero_point", (0,))[0])


def activation_of(chain: Chain, target: Target) -> Activation | None:
    """The activation that clamps to the same codes; None if there is none."""
    wanted = clamp_codes(chain, target)
    known = Tensor("output", (1,), target.encoding)
    for activation in _ACTIVATIONS:
        if wanted == quantized_activation_range(activation, known):
            return activation
    return None


def is_clamp_only(chain: Chain) -> bool:
    """Whether the chain does nothing but clamp."""
    return all(gain == 1 for gain in chain.gain) and not any(chain.offset)


def is_identity(chain: Chain) -> bool:
    return is_clamp_only(chain) and all(map(math.isinf, (*chain.low, *chain.high)))


def clamp_epilogue(low: int, high: int) -> Rescale:
    """An epilogue that only clamps integers."""
    return Rescale((1,), (0,), (0,), low, high)
