"""Kernels of CONV_2D."""

from __future__ import annotations

from functools import partial

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.loops.plain import KINDS, plain_loops
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _plain(node: Node, kind: str) -> KernelPlan | None:
    """Plain loops; those over 16-bit activations have 64-bit accumulators."""
    op = node.op
    assert isinstance(op, Conv2D)
    loops = plain_loops(node, kind)
    if loops is None:
        return None
    weights = loops.weights
    geometry = op.geometry(node)
    packed = Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}")
    return KernelPlan(
        template="conv/conv_2d.c.j2",
        stem=window_stem(f"conv_2d_{kind}", geometry),
        context={
            **window_context(node, geometry),
            "depth": weights.shape[3],
            "groups": op.groups(node),
            **loops.context,
        },
        constants=(packed, *loops.constants),
        headers=("tinygen_math.h", *loops.headers),
        cycles=10.0 * op.macs(node) + 30.0 * node.output.size,
    )


for _kind in KINDS:
    kernel(Conv2D, of="tflite", name=f"conv_2d_{_kind}")(partial(_plain, kind=_kind))
