"""Sums and averages of windows, four channels at a time: bytes are added in two words, other codes one by one.

Predicted cycles are those of the ESP32-C3's core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.fixed_point import quantized_activation_range
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.ir.ops.window import Axis
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.reading import output_values
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import falling_channels, finished_sums
from tinygen.lowering.kernels.support.epilogues.staircase import Fit, Staircase, fit
from tinygen.lowering.plan import Constant, Field, KernelPlan, kernel

HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h", "tinygen_sums.h")
_HALF = 2**16 - 1
FLIP = 128
"""Between signed bytes and unsigned ones, which are summed."""
_FLAT, _UNIT = 5, 16
"""Taps from which on the slope of an average is one that a staircase may have; by what steeper ones are multiplied."""
_WRITTEN_OUT = 16
"""Taps of windows that templates write out."""


@dataclass(frozen=True)
class _Costs:
    """Cycles per channel.

    Attributes:
        tap, looped, single: a tap that is written out, one of a loop, one of codes that are not added in words.
        outputs: an output, by form.
        other: the same of other forms.
        own: what an output with constants of its own takes more.
        border: what one of a padded pool takes more.
    """

    tap: float
    looped: float
    single: float
    outputs: Mapping[str, float]
    other: float
    own: float
    border: float


def _outputs(none: float, fused: float, sign: float, rescale: float) -> Mapping[str, float]:
    return {"none": none, "fused": fused, "sign": sign, "rescale": rescale, "rescale_high": rescale}


RV32 = _Costs(2.0, 1.95, 3.5, _outputs(2.5, 11.0, 5.0, 38.0), 25.0, own=7.0, border=4.0)
ARMV6M = _Costs(3.2, 3.2, 6.0, _outputs(5.0, 46.0, 8.0, 115.0), 36.0, own=8.0, border=8.0)


@kernel(AveragePool2D, name="summed_pool_2d", family="tinygen", unless="armv6m", unpacks=True, packs=True)
def summed_pool_2d(node: Node) -> KernelPlan | None:
    """Sums of any encoding but bits, whose ones are counted. Means of int8; those at borders are divided by
    multiplication, too, with constants for each number of taps.
    """
    return _pool(node, RV32, words=True)


@kernel(AveragePool2D, name="summed_pool_2d_armv6m", family="tinygen", isa="armv6m", unpacks=True, packs=True)
def summed_pool_2d_armv6m(node: Node) -> KernelPlan | None:
    """The same; words of bytes where pixels begin with one."""
    return _pool(node, ARMV6M, words=begin_with_words(node.input(0)))


def _pool(node: Node, costs: _Costs, *, words: bool) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, AveragePool2D)
    return (_averages if op.is_tflite else _sums)(node, op, costs, words=words)


def begin_with_words(x: Tensor) -> bool:
    """Whether loads of four codes are aligned."""
    return x.code_bits > 0 or x.shape[3] % 4 == 0


def _sums(node: Node, op: AveragePool2D, costs: _Costs, *, words: bool) -> KernelPlan | None:
    x, y = node.input(0), node.output
    activations = codes.activation_context(x)
    if activations is None or isinstance(x.encoding, Binary):
        return None
    taps, channels = op.kernel[0] * op.kernel[1], x.shape[3]
    integers = x.integer.integers(np.arange(x.integer.code_range[0], x.integer.code_range[1] + 1).astype(x.dtype))
    least, most = int(integers.min()), int(integers.max())
    falling = falling_channels(op.of_sums, channels)
    low, high = min(least * taps, least), max(most * taps, most)
    lows, highs = np.where(falling, -high, low), np.where(falling, -low, high)
    ending = finished_sums(op.of_sums, y, lows, highs)
    rows, columns = geometry = op.geometry(node)
    paired = words and _whole_rows(x, columns) > 0 and activations["kind"] in ("plain", "signed_levels")
    scale = 2 if activations["kind"] == "signed_levels" else 1
    offset = -(activations["offset"] + (FLIP if x.dtype == np.int8 and not x.code_bits else 0)) if paired else 0
    if paired and not (rows.padded or columns.padded):
        moved = ending.rows.copy()
        moved[:, 0] += np.where(falling, -1, 1) * offset * taps
        ending = ending.with_rows(moved)
    single = len(ending.fields) == 1 and len(set(ending.rows[:, 0].tolist())) == 1
    mixed = len(set(falling.tolist())) > 1
    signs = Constant("signs", np.where(falling, -1, 1).astype(np.int8), "-1 where codes fall")
    return _plan(
        node,
        geometry,
        f"sum_pool_{codes.kind_of(x.integer)}",
        {
            **ending.context,
            **output_values(y),
            **_reading(x, geometry),
            "average": False,
            "activations": activations,
            "paired": paired,
            "searched": not single,
            "bias": int(ending.rows[0, 0]) if single else None,
            "scale": scale if paired else 1,
            "tap_offset": offset,
            "sign": None if mixed else -1 if falling.any() else 1,
        },
        (*(() if single else (ending.constant(),)), *((signs,) if mixed else ())),
        costs,
    )


def _averages(node: Node, op: AveragePool2D, costs: _Costs, *, words: bool) -> KernelPlan | None:
    geometry = op.geometry(node)
    if node.output.dtype != np.int8:
        return None
    counts = sorted({a * b for a in _inside(geometry[0]) for b in _inside(geometry[1])})
    unit = _UNIT if counts[0] < _FLAT else 1
    found = {count: _division(node, op, count, unit) for count in counts}
    bounds = quantized_activation_range(op.activation, node.output)
    return averages(node, geometry, "average_pool_s8", Divisions(found, unit, bounds), costs, words=words)


@dataclass(frozen=True)
class Divisions:
    """How sums of windows become codes.

    Attributes:
        found: by the number of taps inside the input; None where no multiplication does.
        unit: by what sums are multiplied first.
        bounds: the least and the largest code.
        form: of the multiplication: "fused", or "stepwise" with two roundings.
    """

    found: Mapping[int, Fit | None]
    unit: int
    bounds: tuple[int, int]
    form: str = "fused"

    def context(self) -> dict[str, Any]:
        """Template values of one code (kernels/support/requantize.j2)."""
        low, high = self.bounds
        return {
            "form": self.form,
            "unit": self.unit,
            "low": low,
            "high": high,
            "clamped": low > -128 or high < 127,
            "unsigned_bits": 0,
            "output_zero": 0,
            "y_type": "int8_t",
        }


_NAMES = ("bias", "multiplier", "offset", "shift")


def averages(
    node: Node, geometry: tuple[Axis, Axis], stem: str, divisions: Divisions, costs: _Costs, *, words: bool
) -> KernelPlan | None:
    """The plan of int8 averages over windows; None where sums cannot be divided.

    Args:
        words: loads of four codes are possible.
    """
    x, (rows, columns) = node.input(0), geometry
    taps, padded = rows.kernel * columns.kernel, rows.padded or columns.padded
    paired = words and _whole_rows(x, columns) > 0
    table = np.zeros((taps, 4), np.int64)
    for count, found in divisions.found.items():
        if found is None:
            return None
        bias = found.moved[0] - (FLIP * count * divisions.unit if paired else 0)
        table[count - 1] = bias, found.multiplier[0], found.offset[0], found.shift
    fields = tuple(map(Field, _NAMES))
    windows = Constant("windows", table.astype(np.int32), "by taps from 1 on: bias and division", fields)
    return _plan(
        node,
        geometry,
        stem,
        {
            **divisions.context(),
            "literals": [] if padded else list(_NAMES[1:]),
            **({} if padded else dict(zip(("moved", *_NAMES[1:]), table[-1].tolist(), strict=True))),
            "packed_output": False,
            "y_bits": 0,
            "y_step": x.shape[3],
            **_reading(x, geometry),
            "average": True,
            "activations": {"kind": "plain", "offset": 0, "bits": 0},
            "paired": paired,
            "scale": divisions.unit,
            "searched": False,
        },
        (windows,) if padded else (),
        costs,
    )


def _division(node: Node, op: AveragePool2D, count: int, unit: int) -> Fit | None:
    """The multiplication that divides every sum of so many codes, times `unit`, as the operator does."""
    low, high = quantized_activation_range(op.activation, node.output)

    def quotients(sums: np.ndarray) -> np.ndarray:
        return np.clip(op.quotient(sums, count), low, high)

    least, most = np.array([-128 * count]), np.array([127 * count])
    return fit(Staircase(quotients, np.array([1.0 / count]), least, most, low, high, unit))


def _inside(axis: Axis) -> set[int]:
    """How many taps of a window lie inside the input."""
    starts = (i * axis.stride - axis.before for i in range(axis.output))
    return {min(start + axis.kernel, axis.input) - max(start, 0) for start in starts}


def _whole_rows(x: Tensor, columns: Axis) -> int:
    """Rows of a window whose sums of bytes fit 16 bits; 0 for codes that are not bytes."""
    if not x.code_bits and x.memory_dtype.itemsize > 1:
        return 0
    largest = 255 if x.dtype == np.int8 and not x.code_bits else x.integer.code_range[1]
    return _HALF // (max(largest, 1) * columns.kernel)


def _reading(x: Tensor, geometry: tuple[Axis, Axis]) -> dict[str, Any]:
    """Template values of how codes are read."""
    rows, columns = geometry
    most = _whole_rows(x, columns)
    return {
        "input_type": ctype(x.memory_dtype),
        "pixel": codes.pixel_elements(x),
        "bits": x.code_bits,
        "flips": x.dtype == np.int8 and not x.code_bits,
        "load": "tg_load_any32" if x.shape[3] % 4 else "tg_load_aligned32",
        "rows_together": most if most < rows.kernel else 0,
    }


def _plan(
    node: Node,
    geometry: tuple[Axis, Axis],
    stem: str,
    context: dict[str, Any],
    constants: tuple[Constant, ...],
    costs: _Costs,
) -> KernelPlan:
    rows, columns = geometry
    taps = rows.kernel * columns.kernel
    output = costs.outputs.get(context["form"], costs.other) + costs.own * context["searched"]
    output += costs.border * (rows.padded or columns.padded)
    tap = costs.single if not context["paired"] else costs.tap if taps <= _WRITTEN_OUT else costs.looped
    return KernelPlan(
        template="pool/summed_pool_2d.c.j2",
        stem=window_stem(stem, geometry),
        context={**window_context(node, geometry), **context},
        constants=constants,
        headers=HEADERS,
        cycles=node.output.size * (tap * taps + output),
    )
