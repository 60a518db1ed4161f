"""Kernels of SVDF: the state moves by one in place, and its newest column is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.svdf import BIAS, FEATURES, STATE, TIME, Svdf, X, scales
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.recurrent.gates import for_dot, fours_of
from tinygen.lowering.kernels.support.epilogues.mac import float_clamp
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_MAC, _FILTER, _UNIT = 7.6, 60.0, 30.0
_MAC_DSP, _FOUR, _PAIR = 0.6, 90.0, 2.0
"""Cycles of a multiply-accumulate; of a filter, or four of them, and a unit beside these; of two of the state."""


@kernel(Svdf, name="svdf_f32")
def svdf_f32(node: Node) -> KernelPlan | None:
    """Plain loops in single precision."""
    if not node.output.is_float:
        return None
    context = {"real": True, **float_clamp(node)}
    biases = Constant("biases", _bias(node).astype(np.float32), "by unit")
    return _plan(node, "f32", context, (_plain(node), biases))


@kernel(Svdf, name="svdf_s8")
def svdf_s8(node: Node) -> KernelPlan | None:
    """Plain loops; zero points are folded into biases."""
    if node.output.is_float:
        return None
    begin = -node.input(X).zero_point * _features(node).sum(axis=1)
    return _plan(node, "s8", _integers(node), (_plain(node), _first(begin), _biases(node)))


@kernel(Svdf, name="svdf_s8_dsp", family="tinygen", isa="dsp")
def svdf_s8_dsp(node: Node) -> KernelPlan | None:
    """SMLAD on four filters, an extension for four weights (see tg_dot_1x4), and on pairs of the state of 16 bits."""
    features, memory = _features(node), node.input(TIME).shape[1]
    if node.output.is_float or node.input(STATE).dtype != np.int16 or memory % 2 or len(features) % 4:
        return None
    begin = -node.input(X).zero_point * features.sum(axis=1)
    found = for_dot(features, begin)
    if found is None:
        return None
    weights, sums = found
    layout = "four filters, four taps of each in turn"
    constants = (Constant("weights", weights, layout), _first(sums), _biases(node))
    fours = fours_of(features.shape[1])
    plan = _plan(node, "s8_dsp", {**_integers(node), "dsp": True, "fours": fours}, constants)
    filters, depth = features.shape
    return replace(
        plan,
        scratch_bytes=8 * fours + 8,
        headers=("tinygen_dense.h", "tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h"),
        cycles=2.0 * depth
        + filters / 4 * (_FOUR + 4 * _MAC_DSP * depth)
        + filters * memory / 2 * _PAIR
        + filters // _op(node).rank * _UNIT,
    )


def _op(node: Node) -> Svdf:
    assert isinstance(node.op, Svdf)
    return node.op


def _features(node: Node) -> np.ndarray:
    return node.constant(FEATURES).astype(np.int64)


def _plan(node: Node, kind: str, context: dict[str, Any], constants: tuple[Constant, ...]) -> KernelPlan:
    filters, memory = node.input(TIME).shape
    depth, rank = node.input(FEATURES).shape[1], _op(node).rank
    time = Constant("time", node.constant(TIME).reshape(-1), f"[{filters}, {memory}]")
    return KernelPlan(
        template="recurrent/svdf.c.j2",
        stem=f"svdf_{kind}_{depth}x{filters}x{memory}",
        context={
            "real": False,
            "dsp": False,
            "depth": depth,
            "units": filters // rank,
            "filters": filters,
            "rank": rank,
            "memory": memory,
            "moved_bytes": (filters * memory - 1) * node.input(STATE).dtype.itemsize,
            "state_type": ctype(node.input(STATE).dtype),
            "time_type": ctype(node.input(TIME).dtype),
            **context,
        },
        operands=(("input", X), ("state", STATE)),
        results=(("output", 0), ("state_after", 1)),
        constants=(*constants, time),
        inplace=((STATE, 1),),
        cycles=filters * (_FILTER + _MAC * (depth + memory)) + filters // rank * _UNIT,
    )


def _integers(node: Node) -> dict[str, Any]:
    """Template values of the integer arithmetic."""
    first, second = (quantize_multiplier(scale) for scale in scales(node))
    low, high = node.input(STATE).code_range
    return {
        "scale": first,
        "unit_scale": second,
        "state_zero": node.input(STATE).zero_point,
        "low": low,
        "high": high,
        "zero": node.output.zero_point,
    }


def _bias(node: Node) -> np.ndarray:
    bias = node.optional(BIAS)
    units = len(_features(node)) // _op(node).rank
    return np.zeros(units) if bias is None or bias.data is None else bias.data


def _biases(node: Node) -> Constant:
    """With the share of the state's zero point."""
    time = node.constant(TIME).astype(np.int64).sum(axis=1).reshape(-1, _op(node).rank).sum(axis=1)
    return Constant("biases", (_bias(node) - node.input(STATE).zero_point * time).astype(np.int32), "by unit")


def _first(values: np.ndarray) -> Constant:
    return Constant("first", values.astype(np.int32), "by filter: what its sum begins with")


def _plain(node: Node) -> Constant:
    features = node.constant(FEATURES)
    return Constant("weights", features.reshape(-1), f"{[*features.shape]}")
