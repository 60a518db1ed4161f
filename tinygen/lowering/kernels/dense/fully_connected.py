"""Kernels of FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.mac import centred_weights
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations.codes import smallest_integers
from tinygen.lowering.kernels.support.activations.widening import whole_words
from tinygen.lowering.kernels.support.epilogues import mac
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.kernels.support.weights.packing import pack_carried_rows, pack_dsp_rows
from tinygen.lowering.plan import Constant, KernelPlan, kernel


def _plain(
    node: Node,
    kind: str,
    types: dict[str, Any],
    constants: tuple[Constant, ...],
    scale: mac.Requantization | None = None,
) -> KernelPlan:
    """One output at a time."""
    weights = node.constant(1) if kind == "f32" else smallest_integers(centred_weights(node))
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    return KernelPlan(
        template="dense/fully_connected.c.j2",
        stem=f"fully_connected_{kind}_{depth}x{outputs}",
        context={
            "rows": rows,
            "depth": depth,
            "outputs": outputs,
            "real": kind == "f32",
            "wide": kind == "s16",
            "weight_type": ctype(weights.dtype),
            **types,
        },
        constants=(Constant("weights", weights.reshape(-1), f"[{outputs}, {depth}]"), *constants),
        headers=("tinygen_math.h", *(scale.headers if scale else ())),
        cycles=rows * outputs * (7.6 * depth + (scale.cycles if scale else 20.0)),
    )


@kernel(FullyConnected, of="tflite", name="fully_connected_s8")
def fully_connected_s8(node: Node) -> KernelPlan | None:
    """Plain loops; the input zero point is folded into the bias."""
    if node.output.dtype != np.int8 or not node.input(1).is_constant:
        return None
    scale = mac.requantization(node, channels=node.input(1).shape[0])
    types = {"acc_type": "int32_t", **scale.context}
    return _plain(node, "s8", types, (mac.folded_bias(node, axis=0), *scale.constants), scale)


@kernel(FullyConnected, of="tflite", name="fully_connected_s16")
def fully_connected_s16(node: Node) -> KernelPlan | None:
    """Plain loops over 16-bit activations, 64-bit accumulators."""
    if node.output.dtype != np.int16 or not node.input(1).is_constant:
        return None
    channels = node.input(1).shape[0]
    bias = mac.bias_or_zeros(node, channels, np.int64)
    scale = mac.requantization(node, channels=channels)
    types = {"acc_type": "int64_t", **scale.context}
    return _plain(node, "s16", types, (bias, *scale.constants), scale)


@kernel(FullyConnected, of="tflite", name="fully_connected_f32")
def fully_connected_f32(node: Node) -> KernelPlan | None:
    """Plain loops in single precision."""
    if not node.output.is_float or not node.input(1).is_constant:
        return None
    types = {"acc_type": "float", **mac.float_clamp(node)}
    return _plain(node, "f32", types, (mac.bias_or_zeros(node, node.input(1).shape[0], np.float32),))


@kernel(FullyConnected, of="tflite", name="fully_connected_s8_dsp", family="tinygen", isa="dsp")
def fully_connected_s8_dsp(node: Node) -> KernelPlan | None:
    """Two outputs at a time with SMLAD: for scales with which sums are too large for `fully_connected_dsp_4`."""
    if node.output.dtype != np.int8 or not node.input(1).is_constant:
        return None
    weights = smallest_integers(centred_weights(node))
    if weights.dtype != np.int8:
        return None
    outputs, depth = weights.shape
    rows = node.input(0).size // depth
    scale = mac.requantization(node, channels=outputs)
    packed = pack_dsp_rows(weights)
    taps = packed.shape[1]
    return KernelPlan(
        template="dense/fully_connected_dsp.c.j2",
        stem=f"fully_connected_s8_dsp_{depth}x{outputs}",
        context={"rows": rows, "depth": depth, "taps": taps, "outputs": outputs, **scale.context},
        constants=(
            Constant("weights", packed.reshape(-1), f"[{outputs}, {taps}], each four taps as 0 2 1 3"),
            mac.folded_bias(node, axis=0),
            *scale.constants,
        ),
        scratch_bytes=2 * taps,
        headers=("tinygen_math.h", "tinygen_simd.h", *scale.headers),
        cycles=rows * (1.5 * depth + outputs * (1.6 * taps + scale.cycles)),
    )


@dataclass(frozen=True, eq=False)
class DenseJob:
    """A dense layer prepared for the kernels of Armv7E-M.

    Attributes:
        node: the layer.
        weights: [O, I].
        ending: the epilogue that finishes sums.
        context: template values of how codes are read and written.
        stem: of the C function's name.
    """

    node: Node
    weights: np.ndarray
    ending: Epilogue
    context: dict[str, Any]
    stem: str
    headers: tuple[str, ...] = ("tinygen_dot.h", "tinygen_math.h", "tinygen_simd.h")

    @property
    def rows(self) -> int:
        """Number of rows of the input and the output."""
        return self.node.input(0).size // self.weights.shape[1]


def dense_plan(job: DenseJob, values: Constant | None = None, centre: int = 0) -> KernelPlan | None:
    """The plan for int8 weights and an epilogue of sums that are 256 times as large.

    Args:
        values: bytes that codes become, each less than its integer by `centre`.

    Returns:
        None when a pair of weights does not fit 16 bits.
    """
    weights, ending = job.weights, job.ending
    outputs, depth = weights.shape
    blocks = blocks_of(outputs, by_four=job.context["packed_output"])
    packed = _packed_blocks(weights, blocks)
    if packed is None:
        return None
    taps = whole_words(depth)
    # What the shifted activations add: see tg_extend_dense().
    even = weights[:, 0::2].astype(np.int64).sum(axis=1)
    channels = ending.rows.copy()
    channels[:, 0] += 256 * centre * weights.astype(np.int64).sum(axis=1) - 127 * even
    return KernelPlan(
        template="dense/fully_connected_dsp_4.c.j2",
        stem=f"{job.stem}_{depth}x{outputs}",
        context={
            "rows": job.rows,
            "depth": depth,
            "taps": taps,
            "outputs": outputs,
            "blocks": blocks,
            "row_step": depth,
            **ending.context,
            **job.context,
        },
        constants=(
            # The loop reads one block ahead.
            Constant(
                "weights",
                np.append(packed, np.zeros(16, np.int8)),
                f"{[packed.size // taps, taps]}, {blocks[0]['width']} outputs, four taps of each in turn",
            ),
            ending.with_rows(channels).constant(),
            *((values,) if values else ()),
        ),
        scratch_bytes=2 * taps + 4,
        headers=(*job.headers, "tinygen_dense.h"),
        cycles=job.rows * (2.0 * depth + packed.size // taps * (1.05 * taps + 8)),
    )


_EIGHT, _FOUR = 8, 4
_MANY = 16
"""Outputs from which on a loop over eight of them is worth its code."""


def blocks_of(outputs: int, *, by_four: bool) -> list[dict[str, int]]:
    """Blocks of outputs that are computed together: their `width`, how many are `whole`, outputs of a last one.

    Args:
        by_four: none are of eight, as where outputs are bits, which are joined four at a time.
    """
    if by_four or outputs < _MANY:
        return [{"width": _FOUR, "whole": outputs // _FOUR, "rest": outputs % _FOUR}]
    whole, rest = divmod(outputs, _EIGHT)
    first = {"width": _EIGHT, "whole": whole, "rest": rest if rest > _FOUR else 0}
    return [first] if first["rest"] or not rest else [first, *blocks_of(rest, by_four=by_four)]


def _packed_blocks(weights: np.ndarray, blocks: list[dict[str, int]]) -> np.ndarray | None:
    """int8, flat; None when a pair of weights does not fit 16 bits."""
    found, first = [], 0
    for block in blocks:
        last = first + block["width"] * block["whole"] + block["rest"]
        found.append(pack_carried_rows(weights[first:last], block["width"]))
        first = last
    arrays = [rows.reshape(-1) for rows in found if rows is not None]
    return np.concatenate(arrays) if len(arrays) == len(found) else None
