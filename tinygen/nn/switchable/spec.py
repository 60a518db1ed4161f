"""A switch: bits of weights, bits of activations, and a width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tinygen.errors import UnsupportedError

FLOAT_BITS = 32
"""Bits that stand for "not quantized"."""
_NAME = re.compile(r"w(\d+)a(\d+)(?:_x([01])_(\d+))?")
_DECIMALS = 3


@dataclass(frozen=True)
class SwitchSpec:
    """One way to run a network.

    Attributes:
        weight_bits, activation_bits: 1 to 8, or 32 for float, which trains but does not run on boards.
        width: of K filters of a layer the first ceil(K width) are computed (thesis, 5.3.2); above 0, at most 1, with
            up to three decimals.

    Raises:
        UnsupportedError: bits or width are out of range.
    """

    weight_bits: int
    activation_bits: int
    width: float = 1.0

    def __post_init__(self) -> None:
        where = f"switch ({self.weight_bits}, {self.activation_bits}, {self.width:g})"
        for what, bits in (("weight", self.weight_bits), ("activation", self.activation_bits)):
            if not (1 <= bits <= 8 or bits == FLOAT_BITS):
                raise UnsupportedError(f"{bits} {what} bits", where=where, fix="Use 1 to 8 bits, or 32 for float.")
        if not 0 < self.width <= 1 or round(self.width, _DECIMALS) != self.width:
            fix = f"Use a width above 0 and up to 1, of at most {_DECIMALS} decimals."
            raise UnsupportedError(f"a width of {self.width}", where=where, fix=fix)

    @property
    def name(self) -> str:
        """The name in C: "w2a4", or "w2a4_x0_5" for half the width."""
        precision = f"w{self.weight_bits}a{self.activation_bits}"
        width = f"{Decimal(str(self.width)).normalize():f}"
        return precision if self.width == 1 else f"{precision}_x{width.replace('.', '_')}"

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.weight_bits == self.activation_bits == FLOAT_BITS

    @property
    def runs_on_boards(self) -> bool:
        """Whether all is quantized."""
        return FLOAT_BITS not in (self.weight_bits, self.activation_bits)

    @staticmethod
    def parse(name: str) -> SwitchSpec:
        """The switch of a name: "w2a4_x0_5".

        Raises:
            UnsupportedError: the name is malformed, or bits or width are out of range.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise UnsupportedError(f"'{name}' is no switch", where="SwitchSpec", fix="Names are such as w2a4_x0_5.")
        weights, activations, units, decimals = match.groups()
        width = float(f"{units}.{decimals}") if units else 1.0
        return SwitchSpec(int(weights), int(activations), width)


def check_switches(switches: Sequence[SwitchSpec]) -> tuple[SwitchSpec, ...]:
    """The switches of one network.

    Raises:
        UnsupportedError: there is none, or one is given twice.
    """
    where = "switches"
    if not switches:
        raise UnsupportedError("an empty list of switches", where=where, fix="Name at least one SwitchSpec.")
    names = [spec.name for spec in switches]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedError(f"{name} is there twice", where=where, fix="Name every switch once.")
    return tuple(switches)


def chosen(switches: Sequence[SwitchSpec], wanted: SwitchSpec | str, where: str) -> SwitchSpec:
    """The switch with the given name, or with the name of the given SwitchSpec.

    Raises:
        UnsupportedError: it is not among them.
    """
    name = wanted if isinstance(wanted, str) else wanted.name
    for spec in switches:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in switches)
    raise UnsupportedError(f"there is no switch {name}", where=where, fix=f"Switches: {known}.")
