"""What the templates say of thresholds that the caller may set."""

from __future__ import annotations

import re
from typing import Any

from tinygen.emit.ctext import comment_safe
from tinygen.emit.places import Places
from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.thresholds import Threshold, thresholds_of
from tinygen.lowering.ctypes import ctype, float_literal

_TAKEN = re.compile(
    r"(ARENA|AT|BAD|BEST|BUFFER|BUILD|CYCLES|EXPECTED|INPUT|KERNELS|LADDER|LAYERS|NO|OUTPUT|SWITCHES|THRESHOLDS|WEIGHTS"
    r"|WORST)(_.*)?|H"
)
"""Names that the C gives to something else: `NAME_LAYERS`."""
_INT32 = (-(2**31), 2**31 - 1)


def thresholds_context(graph: Graph, places: Places) -> list[dict[str, Any]]:
    """Of each threshold, in order.

    Raises:
        ModelError: one has a name that the generated C needs.
    """
    return [_context(graph.name, index, one, places) for index, one in enumerate(thresholds_of(graph))]


def _context(model: str, index: int, threshold: Threshold, places: Places) -> dict[str, Any]:
    name, tensor = threshold.name.upper(), threshold.tensor
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
        "name": name,
        "macro": f"{model}_{name}".upper(),
        "place": places.of(tensor.name),
        "ctype": ctype(tensor.memory_dtype),
        "describe": comment_safe(str(tensor.encoding)),
        "value": threshold.value,
        "low": low,
        "high": high,
        # Comparisons that always hold are warned of.
        "is_checked": (low, high) != _INT32,
        "scale": float_literal(affine.scale[0]) if affine else None,
        "zero_point": affine.zero_point[0] if affine else 0,
    }
