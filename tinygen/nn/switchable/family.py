"""Families of quantizers: which quantizer each number of bits selects for weights and for activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinygen.errors import UnsupportedError
from tinygen.nn.quantizers import (
    APSQ,
    ActivationQuantizer,
    Affine8,
    BinaryConnect,
    CodebookQuant,
    LogQuant,
    LogQuantActivation,
    ReLUQuant,
    Sign,
    TanhQuant,
    TanhQuantActivation,
    Ternary,
    WeightQuantizer,
    XNORNet,
)


@dataclass(frozen=True)
class Family:
    """The quantizers of a switchable network, each given bits.

    Attributes:
        weights: of layers between the first and the last.
        one_sided: takes the place of a ReLU behind batch norm.
        two_sided: stands behind a batch norm that follows a ReLU; 1 bit is possible only there.
    """

    weights: Callable[[int], WeightQuantizer]
    one_sided: Callable[[int], ActivationQuantizer]
    two_sided: Callable[[int], ActivationQuantizer]


def _sign_or(more: Callable[[int], WeightQuantizer]) -> Callable[[int], WeightQuantizer]:
    """1 bit by the sign alone, with the straight-through estimator (thesis, 5.4.2); more by another quantizer."""
    return lambda bits: BinaryConnect() if bits == 1 else more(bits)


def _tanh_activation(bits: int) -> ActivationQuantizer:
    """8 bits are uniform: a tanh would need 255 thresholds for every channel, 1 kB of flash."""
    if bits == 8:
        return Affine8()
    return Sign() if bits == 1 else TanhQuantActivation(bits)


def _log_weights(bits: int) -> WeightQuantizer:
    return LogQuant(bits - 1, integer_exponents=True)


def _log_one_sided(bits: int) -> ActivationQuantizer:
    return LogQuantActivation(bits, integer_exponents=True)


def _log_two_sided(bits: int) -> ActivationQuantizer:
    return Sign() if bits == 1 else LogQuantActivation(bits - 1, two_sided=True, integer_exponents=True)


def _scaled(bits: int) -> WeightQuantizer:
    if bits == 1:
        return XNORNet()
    return Ternary() if bits == 2 else TanhQuant(bits)


FAMILIES: Mapping[str, Family] = {
    "tanh": Family(_sign_or(TanhQuant), ReLUQuant, _tanh_activation),
    "log-activations": Family(_sign_or(TanhQuant), _log_one_sided, _log_two_sided),
    "log": Family(_sign_or(_log_weights), _log_one_sided, _log_two_sided),
    "scaled": Family(_scaled, ReLUQuant, _tanh_activation),
    "apsq": Family(lambda bits: APSQ(bits, scale_bits=8), ReLUQuant, _tanh_activation),
    "codebook": Family(_sign_or(lambda bits: CodebookQuant(bits, table_bits=8)), ReLUQuant, _tanh_activation),
}
"""By name.

"tanh" is the thesis' ReLU-based or Tanh-based one, as the network's order of layers has it, but that two-sided
activations of 8 bits have even steps; its weights of 8, 4, 2 and 1 bits nest (`tinygen.ir.nesting`), those of other
families do not ("log-activations" has the same weights).
"log-activations" and "log" are its Logarithmic 1 and 2, with integer exponents: of codes of b bits, b - 1 (signed, 3 to
5) or b (unsigned, 2 to 4) are the exponent's. "scaled" has one scale per filter in 1 bit (XNOR-Net) and in 2 (ternary).
The weights of "codebook" are those of the start: training moves the shared values alone.
"""


def family_of(family: str | Family) -> Family:
    """
    Raises:
        UnsupportedError: the name is not in FAMILIES.
    """
    if isinstance(family, Family):
        return family
    if family not in FAMILIES:
        fix = f"Use one of {', '.join(FAMILIES)}, or a Family."
        raise UnsupportedError(f"family {family!r}", where="switchable", fix=fix)
    return FAMILIES[family]
