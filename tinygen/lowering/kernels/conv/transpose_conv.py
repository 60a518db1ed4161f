"""Kernels of TRANSPOSE_CONV."""

from __future__ import annotations

from functools import partial

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.lowering.kernels.support.loops.plain import KINDS, plain_loops
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _plain(node: Node, kind: str) -> KernelPlan | None:
    """Plain loops; those over 16-bit activations have 64-bit accumulators."""
    op = node.op
    assert isinstance(op, TransposeConv)
    loops = plain_loops(node, kind)
    if loops is None:
        return None
    weights = loops.weights
    rows, columns = op.geometry(node)
    batch, in_h, in_w, in_c = node.input(0).shape
    return KernelPlan(
        template="conv/transpose_conv.c.j2",
        stem=f"transpose_conv_{kind}_{rows.kernel}x{columns.kernel}",
        context={
            "batch": batch,
            "in_h": in_h,
            "in_w": in_w,
            "in_c": in_c,
            "out_h": op.size[0],
            "out_w": op.size[1],
            "out_c": weights.shape[0],
            "k_h": rows.kernel,
            "k_w": columns.kernel,
            "stride_h": rows.stride,
            "stride_w": columns.stride,
            "pad_h": rows.before,
            "pad_w": columns.before,
            **loops.context,
        },
        constants=(Constant("weights", weights.reshape(-1), f"OHWI {list(weights.shape)}"), *loops.constants),
        headers=("tinygen_math.h", *loops.headers),
        cycles=12.0 * op.macs(node) + node.output.size * (20.0 + 6.0 * rows.kernel * columns.kernel),
    )


for _kind in KINDS:
    kernel(TransposeConv, name=f"transpose_conv_{_kind}")(partial(_plain, kind=_kind))
