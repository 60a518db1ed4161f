"""Kernels of LSTM: a unit's four gates at once, their weights tap by tap; states change in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.lstm import BIASES, CELL, GATES, HIDDEN, RECURRENT, WEIGHTS, IntegerForm, Lstm, X, steps
from tinygen.lowering.kernels.recurrent.gates import biases_of, by_tap, for_dot, fours_of, weights_of
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_MAC, _UNIT, _STEP = 4.0, 900.0, 60.0
_MAC_DSP, _UNIT_DSP, _EXTENDED = 0.55, 900.0, 2.0
"""Cycles of a multiply-accumulate; of a unit's functions, each step; of a step, or of each code that is extended."""


@kernel(Lstm, name="lstm_f32")
def lstm_f32(node: Node) -> KernelPlan | None:
    """Plain loops in single precision."""
    if not node.output.is_float:
        return None
    biases = biases_of(node, BIASES, GATES, np.float32)
    context = {"real": True, "clip": float(np.float32(_op(node).cell_clip))}
    constants = (*_by_tap(node), Constant("biases", biases.reshape(-1), _BY_UNIT))
    return _plan(node, "f32", context, constants, ("tinygen_float.h", "tinygen_math.h"), _MAC)


@kernel(Lstm, name="lstm_s8")
def lstm_s8(node: Node) -> KernelPlan | None:
    """Plain loops; zero points are folded into biases."""
    if node.output.is_float:
        return None
    constants = (*_by_tap(node), _biases(folded_biases(node)))
    return _plan(node, "s8", integer_context(node), constants, _HEADERS, _MAC)


@kernel(Lstm, name="lstm_s8_dsp", family="tinygen", isa="dsp")
def lstm_s8_dsp(node: Node) -> KernelPlan | None:
    """SMLAD on the four gates, an extension for four weights (see tg_dot_1x4): sums are 256 times as large."""
    if node.output.is_float:
        return None
    found = [
        for_dot(weights_of(node, first, GATES).reshape(-1, taps), begin.reshape(-1))
        for first, taps, begin in zip((WEIGHTS, RECURRENT), _depths(node), folded_biases(node), strict=True)
    ]
    packed = [one for one in found if one is not None]
    if len(packed) < len(found):
        return None
    words = [fours_of(size) for size in _depths(node)]
    begin = np.stack([sums for _, sums in packed]).reshape(2, -1, GATES)
    constants = (
        Constant("weights", packed[0][0], "by unit: four gates, four taps of each in turn"),
        Constant("recurrent", packed[1][0], "the same of the hidden state"),
        _biases(begin),
    )
    context = {**integer_context(node), "dsp": True, "fours": words}
    headers = (*_HEADERS, "tinygen_dense.h", "tinygen_dot.h")
    plan = _plan(node, "s8_dsp", context, constants, headers, _MAC_DSP)
    # One word behind the codes may be read.
    return _with_scratch(plan, node, 8 * sum(words) + 8)


_HEADERS = ("tinygen_gates.h", "tinygen_math.h", "tinygen_simd.h")
_BY_UNIT = "by unit: of its gates input, forget, cell, output"


def _op(node: Node) -> Lstm:
    assert isinstance(node.op, Lstm)
    return node.op


def _plan(
    node: Node, kind: str, context: dict[str, Any], constants: Sequence[Constant], headers: Sequence[str], mac: float
) -> KernelPlan:
    depth, units = _depths(node)
    size = np.dtype(node.input(CELL).dtype).itemsize
    return KernelPlan(
        template="recurrent/lstm.c.j2",
        stem=f"lstm_{kind}_{depth}x{units}",
        context={
            "real": False,
            "dsp": False,
            "steps": steps(node),
            "depth": depth,
            "units": units,
            "cell_bytes": units * size,
            "hidden_bytes": units * np.dtype(node.input(HIDDEN).dtype).itemsize,
            **context,
        },
        operands=(("input", X), ("hidden", HIDDEN), ("cell", CELL)),
        results=(("output", 0), ("hidden_after", 1), ("cell_after", 2)),
        constants=tuple(constants),
        inplace=((HIDDEN, 1), (CELL, 2)),
        headers=tuple(headers),
        cycles=steps(node) * (_STEP + units * (_UNIT + mac * GATES * (depth + units))),
    )


def _with_scratch(plan: KernelPlan, node: Node, scratch_bytes: int) -> KernelPlan:
    extended = _EXTENDED * sum(_depths(node)) * steps(node)
    return replace(plan, scratch_bytes=scratch_bytes, cycles=plan.cycles + extended)


def integer_context(node: Node) -> dict[str, Any]:
    """Template values of TFLite's arithmetic."""
    form = IntegerForm.of(node)
    return {
        "scales": [quantize_multiplier(scale) for scale in form.scales],
        "recurrent_scales": [quantize_multiplier(scale) for scale in form.recurrent_scales],
        "hidden_scale": quantize_multiplier(form.hidden_scale),
        "hidden_zero": form.hidden_zero,
        "cell_bits": form.cell_bits,
        "clip": form.cell_clip,
    }


def folded_biases(node: Node) -> np.ndarray:
    """int64 [2, H, 4]: what the sums of products of the input, and of the hidden state, begin with."""
    form = IntegerForm.of(node)
    products = [weights_of(node, first, GATES).astype(np.int64).sum(axis=2) for first in (WEIGHTS, RECURRENT)]
    return np.stack(
        [biases_of(node, BIASES, GATES, np.int64) - form.x_zero * products[0], -form.hidden_zero * products[1]]
    )


def _depths(node: Node) -> tuple[int, int]:
    """Elements of the input and units."""
    units, depth = node.input(WEIGHTS).shape
    return depth, units


def _by_tap(node: Node) -> tuple[Constant, Constant]:
    """Weights by unit, tap by tap those of the four gates."""
    layout = "by unit, tap by tap: of its gates input, forget, cell, output"
    packed = [by_tap(weights_of(node, first, GATES)) for first in (WEIGHTS, RECURRENT)]
    return Constant("weights", packed[0], layout), Constant("recurrent", packed[1], "the same of the hidden state")


def _biases(values: np.ndarray) -> Constant:
    """By unit those of the input's sums, then of the hidden state's."""
    rows = values.transpose(1, 0, 2).reshape(-1)
    return Constant("biases", rows.astype(np.int32), f"{_BY_UNIT}; then of the hidden state's sums")
