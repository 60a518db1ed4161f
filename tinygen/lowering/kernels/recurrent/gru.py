"""Kernels of GRU: the gates of a unit at once, or of four; the state changes in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.gru import (
    BIASES,
    GATES,
    HIDDEN,
    RECURRENT,
    RECURRENT_BIASES,
    WEIGHTS,
    Gru,
    IntegerForm,
    X,
    steps,
)
from tinygen.lowering.kernels.recurrent.gates import biases_of, by_tap, for_dot, fours_of, weights_of
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_PARTS = ((WEIGHTS, BIASES), (RECURRENT, RECURRENT_BIASES))
_TOGETHER = 4
"""Units whose twelve gates are three times four rows of tg_dot_1x4()."""
_MAC, _UNIT, _STEP = 4.0, 600.0, 60.0
_MAC_DSP, _EXTENDED = 0.6, 2.0
"""Cycles of a multiply-accumulate; of a unit's functions, each step; of a step, or of each code that is extended."""
_HEADERS = ("tinygen_gates.h", "tinygen_math.h", "tinygen_simd.h")


@kernel(Gru, name="gru_f32")
def gru_f32(node: Node) -> KernelPlan | None:
    """Plain loops in single precision."""
    if not node.output.is_float:
        return None
    biases = [biases_of(node, first, GATES, np.float32).reshape(-1) for _, first in _PARTS]
    plan = _plan(node, "f32", {"real": True}, _constants(_by_tap(node), biases))
    return replace(plan, headers=("tinygen_float.h", "tinygen_math.h"))


@kernel(Gru, name="gru_s8")
def gru_s8(node: Node) -> KernelPlan | None:
    """Plain loops; zero points are folded into biases."""
    if node.output.is_float:
        return None
    biases = [begin.reshape(-1).astype(np.int32) for begin in _folded(node)]
    plan = _plan(node, "s8", _integers(node), _constants(_by_tap(node), biases))
    return replace(plan, scratch_bytes=_units(node))


@kernel(Gru, name="gru_s8_dsp", family="tinygen", isa="dsp")
def gru_s8_dsp(node: Node) -> KernelPlan | None:
    """SMLAD on the gates of four units, an extension for four weights (see tg_dot_1x4): sums 256 times as large."""
    if node.output.is_float:
        return None
    depths, weights, biases = _depths(node), [], []
    more = -_units(node) % _TOGETHER
    for (first, _), taps, begin in zip(_PARTS, depths, _folded(node), strict=True):
        rows = np.pad(weights_of(node, first, GATES), ((0, more), (0, 0), (0, 0))).reshape(-1, taps)
        found = for_dot(rows, np.pad(begin, ((0, more), (0, 0))).reshape(-1))
        if found is None:
            return None
        weights.append(found[0])
        biases.append(found[1].astype(np.int32))
    fours = [fours_of(taps) for taps in depths]
    plan = _plan(node, "s8_dsp", {**_integers(node), "dsp": True, "fours": fours}, _constants(weights, biases))
    return replace(
        plan,
        # One word behind the codes may be read.
        scratch_bytes=8 * sum(fours) + 8 + _units(node),
        headers=(*_HEADERS, "tinygen_dense.h", "tinygen_dot.h"),
        cycles=plan.cycles - (_MAC - _MAC_DSP) * node.op.macs(node) + _EXTENDED * sum(depths) * steps(node),
    )


def _plan(node: Node, kind: str, context: dict[str, Any], constants: tuple[Constant, ...]) -> KernelPlan:
    depth, units = _depths(node)
    return KernelPlan(
        template="recurrent/gru.c.j2",
        stem=f"gru_{kind}_{depth}x{units}",
        context={
            "real": False,
            "dsp": False,
            "steps": steps(node),
            "depth": depth,
            "units": units,
            "state_bytes": units * node.input(HIDDEN).dtype.itemsize,
            **context,
        },
        operands=(("input", X), ("hidden", HIDDEN)),
        results=(("output", 0), ("hidden_after", 1)),
        constants=constants,
        inplace=((HIDDEN, 1),),
        headers=_HEADERS,
        cycles=steps(node) * (_STEP + units * _UNIT) + _MAC * node.op.macs(node),
    )


def _integers(node: Node) -> dict[str, Any]:
    """Template values of the integer arithmetic."""
    form = IntegerForm.of(node)
    return {
        "scales": [quantize_multiplier(scale) for scale in form.scales],
        "recurrent_scales": [quantize_multiplier(scale) for scale in form.recurrent_scales],
        "output_scale": quantize_multiplier(form.output_scale),
        "zero": form.zero,
    }


def _folded(node: Node) -> list[np.ndarray]:
    """int64 [H, 3] twice: what the sums of products with x, and with the state, begin with."""
    form = IntegerForm.of(node)
    return [
        biases_of(node, biases, GATES, np.int64) - zero * weights_of(node, first, GATES).astype(np.int64).sum(axis=2)
        for (first, biases), zero in zip(_PARTS, (form.x_zero, form.zero), strict=True)
    ]


def _depths(node: Node) -> tuple[int, int]:
    """Elements of the input and units."""
    units, depth = node.input(WEIGHTS).shape
    return depth, units


def _units(node: Node) -> int:
    return _depths(node)[1]


def _by_tap(node: Node) -> list[np.ndarray]:
    return [by_tap(weights_of(node, first, GATES)) for first, _ in _PARTS]


def _constants(weights: list[np.ndarray], biases: list[np.ndarray]) -> tuple[Constant, ...]:
    return (
        Constant("weights", weights[0], "of the gates reset, update, new of each unit"),
        Constant("recurrent", weights[1], "the same of the hidden state"),
        Constant("biases", biases[0], "by unit: of its gates reset, update, new"),
        Constant("recurrent_biases", biases[1], "the same of the hidden state"),
    )
