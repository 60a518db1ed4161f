"""Template values for codes of any integer encoding, and for epilogues (kernels/support/codes.j2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import WORD_BITS, Affine, Binary, IntegerEncoding, Levels, LookedUp, PowerOfTwo, Ternary
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.plan import Constant

HEADERS = ("tinygen_codes.h", "tinygen_math.h")
UNPACK = 5.0
"""Cycles of a packed code, to take it out of its word or to put it in."""
_NEVER = 2**31 - 1
"""Stands for thresholds of 2**31: accumulators do not reach this one either."""


def activation_context(tensor: Tensor, table: str = "shared") -> dict[str, Any] | None:
    """How templates turn one code of `tensor` into its integer; None for encodings no kernel reads.

    Packed codes of several `bits` are taken out of their words.

    Args:
        table: the name in C of a codebook's values.
    """
    found = _activations(tensor, table)
    return None if found is None else found | {"bits": tensor.code_bits}


def _activations(tensor: Tensor, table: str) -> dict[str, Any] | None:
    encoding = tensor.encoding
    match encoding:
        case Binary():
            return {"kind": "binary", "offset": 0}
        case Levels(signed=True):
            return {"kind": "signed_levels", "offset": 2**encoding.bits - 1}
        case PowerOfTwo():
            return {"kind": "power_of_two", "offset": 0}
        case Levels() | Ternary():
            return {"kind": "plain", "offset": 0}
        case Affine():
            return {"kind": "plain", "offset": encoding.zero_point[0]}
        case LookedUp() if encoding.code_range[0] == 0:
            integers = encoding.integers(np.arange(encoding.code_range[1] + 1)).tolist()
            return {"kind": "table", "offset": 0, "table": table, "integers": integers}
        case _:
            return None


def unpacked(*tensors: Tensor) -> int:
    """How many of the tensors have packed codes, which plain loops extract and insert one by one."""
    return sum(tensor.code_bits > 0 for tensor in tensors)


def pixel_elements(tensor: Tensor) -> int:
    """Elements of the C array from one pixel to the next."""
    channels, bits = tensor.shape[-1], tensor.packed_bits
    return -(-channels * bits // WORD_BITS) if bits else channels


def in_place(node: Node) -> tuple[tuple[int, int], ...]:
    """Which operands an elementwise operator's output may overlap: those whose codes lie in memory as its own do."""
    y = node.output
    same = (t is not None and (t.memory_dtype, t.packed_bits) == (y.memory_dtype, y.packed_bits) for t in node.inputs)
    return tuple((index, 0) for index, whether in enumerate(same) if whether)


def output_context(tensor: Tensor) -> dict[str, Any]:
    """How templates store codes of `tensor`."""
    bits = tensor.packed_bits
    return {"packed_output": bits > 0, "output_bits": bits, "output_type": ctype(tensor.memory_dtype)}


@dataclass(frozen=True, eq=False)
class Ending:
    """Template values of an epilogue.

    Attributes:
        context: what kernels/support/codes.j2 calls `after`.
        constants: arrays per channel, for values that differ between channels.
        cycles: predicted cost per output.
    """

    context: dict[str, Any]
    constants: tuple[Constant, ...]
    cycles: float


def ending(epilogue: Epilogue | None) -> Ending:
    """The plain form of an epilogue, one accumulator at a time."""
    match epilogue:
        case None:
            return Ending({"kind": "none"}, (), 2.0)
        case Rescale():
            return _rescale(epilogue)
        case Threshold():
            return _threshold(epilogue)


def _rescale(epilogue: Rescale) -> Ending:
    context: dict[str, Any] = {"kind": "rescale"}
    constants = []
    columns = {
        "multiplier": (epilogue.multiplier, np.int32),
        "offset": (epilogue.offset, np.int64),
        "shift": (epilogue.shift, np.int8),
        "low": (epilogue.floor or (epilogue.low,), np.int32),
        "high": (epilogue.ceiling or (epilogue.high,), np.int32),
    }
    for name, (values, dtype) in columns.items():
        one = len(set(values)) == 1
        context[name] = _literal(values[0]) if one else None
        if not one:
            constants.append(Constant(f"{name}s", np.array(values, dtype), f"[{len(values)}]"))
    return Ending(context, tuple(constants), 14.0)


def _literal(value: int) -> str:
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


def _threshold(epilogue: Threshold) -> Ending:
    rows = np.minimum(np.array(epilogue.thresholds, np.int64), _NEVER).astype(np.int32)
    shared = len({tuple(row) for row in rows.tolist()}) == 1
    steps = rows.shape[1]
    sign = epilogue.sign[0] if len(set(epilogue.sign)) == 1 else None
    single = shared and steps == 1
    context = {
        "kind": "threshold",
        "steps": steps,
        "shared": shared,
        "sign": sign,
        "threshold": _int32(int(rows[0, 0])) if single else None,
    }
    constants = []
    if not single:
        table = rows[:1] if shared else rows
        constants.append(Constant("thresholds", table.reshape(-1), f"{list(table.shape)}"))
    if sign is None:
        constants.append(Constant("signs", np.array(epilogue.sign, np.int8), f"[{len(epilogue.sign)}]"))
    return Ending(context, tuple(constants), 4.0 + 5.0 * np.ceil(np.log2(steps + 1)))


def _int32(value: int) -> str:
    return "INT32_MIN" if value == -(2**31) else str(value)


def smallest_integers(values: np.ndarray) -> np.ndarray:
    """The values in the smallest signed type that holds them."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for dtype in (np.int8, np.int16):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.int32)


def largest_magnitude(x: Tensor) -> int:
    """Of the codes and of their integers: what is multiplied is one or the other."""
    codes = np.arange(x.integer.code_range[0], x.integer.code_range[1] + 1).astype(x.dtype)
    return int(max(np.abs(codes.astype(np.int64)).max(), np.abs(x.integer.integers(codes)).max()))


def plain_weights(node: Node) -> tuple[dict[str, Any], tuple[Constant, ...]]:
    """Weights as integers, one by one, with the kernel scales beside them."""
    weights = smallest_integers(integer_mac.weight_integers(node))
    constants = [Constant("weights", weights.reshape(-1), f"integers {list(weights.shape)}")]
    scales = integer_mac.kernel_scales(node)
    if scales is not None:
        constants.append(Constant("scales", scales.reshape(-1), f"per kernel {list(scales.shape)}"))
    return {"weight_type": ctype(weights.dtype), "scaled": scales is not None}, tuple(constants)


def kind_of(encoding: IntegerEncoding) -> str:
    """One or two letters for names of functions: `b`, `u4`, `s2`, `s8`, `t`, `p`."""
    match encoding:
        case Binary():
            return "b"
        case Levels():
            return f"{'s' if encoding.signed else 'u'}{encoding.bits}"
        case Ternary():
            return "t"
        case PowerOfTwo():
            return "p"
        case Affine():
            return f"{'s' if encoding.dtype.kind == 'i' else 'u'}{8 * encoding.dtype.itemsize}"
        case _:
            return "c"
