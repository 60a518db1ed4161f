"""Template values of thresholds that the caller may set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.enumerators import Enumerators
from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine
from tinygen.ir.thresholds import Threshold, full_name, thresholds_of
from tinygen.lowering.ctypes import ctype, float_literal
from tinygen.lowering.network import NetworkProgram

_TAKEN = re.compile(
    r"(ARENA|AT|BAD|BEST|BUFFER|BUILD|CYCLES|EXPECTED|INPUT|KERNELS|LADDER|LAYERS|NO|OUTPUT|SWITCHES|THRESHOLDS|WEIGHTS"
    r"|WORST)(_.*)?|H"
)
"""Names that the C gives to something else: `NAME_LAYERS`."""
_INT32 = (-(2**31), 2**31 - 1)


def thresholds_context(network: NetworkProgram, enumerators: Sequence[Enumerators]) -> list[dict[str, Any]]:
    """Template values of each threshold, in order, switch by switch.

    Args:
        enumerators: of each switch.

    Raises:
        ModelError: a threshold has a name that the generated C uses.
    """
    found = _thresholds(network)
    return [_context(network.name, index, one, enumerators[one.switch]) for index, one in enumerate(found)]


def threshold_names(network: NetworkProgram) -> list[str]:
    """Names of thresholds on the serial line, in order."""
    return [one.name for one in _thresholds(network)]


@dataclass(frozen=True)
class _Threshold:
    """A threshold of a network, with its C name and the number of its switch."""

    name: str
    switch: int
    own: Threshold


def _thresholds(network: NetworkProgram) -> list[_Threshold]:
    return [
        _Threshold(full_name(switch.name if network.is_switchable else "", one.name), index, one)
        for index, switch in enumerate(network)
        for one in thresholds_of(switch.program.graph)
    ]


def _context(model: str, index: int, found: _Threshold, enumerators: Enumerators) -> dict[str, Any]:
    name, threshold, tensor = found.name, found.own, found.own.tensor
    if _TAKEN.fullmatch(name):
        raise ModelError(
            f"a threshold cannot be called '{threshold.name}': the C gives {model.upper()}_{name} to something else",
            where=model,
            fix="Name it after its gate, as EXIT_1.",
        )
    affine = tensor.encoding if isinstance(tensor.encoding, Affine) else None
    low, high = threshold.low, threshold.high
    return {
        "index": index,
        "switch": found.switch,
        "name": name,
        "macro": f"{model}_{name}".upper(),
        "enumerator": enumerators.of(tensor.name),
        "ctype": ctype(tensor.memory_dtype),
        "describe": comment_safe(str(tensor.encoding)),
        "value": threshold.value,
        "low": low,
        "high": high,
        # Compilers warn of comparisons that are always true.
        "is_checked": (low, high) != _INT32,
        "scale": float_literal(affine.scale[0]) if affine else None,
        "zero_point": affine.zero_point[0] if affine else 0,
    }
