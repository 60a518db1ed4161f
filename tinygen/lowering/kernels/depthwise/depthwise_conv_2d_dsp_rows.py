"""Depthwise convolutions for Armv7E-M: four channels at a time, pairs of rows (depthwise_conv_2d_dsp.py)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary, Levels
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_dsp import (
    UNPACKING,
    DepthwiseJob,
    depthwise_plan,
    takes_depthwise,
    unpacked_depthwise,
)
from tinygen.lowering.kernels.depthwise.depthwise_conv_2d_scalar import depthwise_conv_2d_scalar, multiplier_of
from tinygen.lowering.kernels.support.activations.codes import pixel_elements, smallest_integers
from tinygen.lowering.kernels.support.activations.widening import needs_widening, widening
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.kernels.support.loops.unpacked import all_unpacked
from tinygen.lowering.plan import KernelPlan, kernel

_HEADERS = ("tinygen_depthwise.h", "tinygen_math.h", "tinygen_simd.h")
_HEADERS_OF_CODES = ("tinygen_codes.h", *_HEADERS, "tinygen_widen.h")
# Instructions for four channels of a pair of rows.
_CYCLES = {"signed": 14.0, "unsigned": 20.0, "levels": 28.0, "values": 34.0, "bits": 36.0}
_UNITS = (1, 16)


_rows = partial(kernel, DepthwiseConv2D, Conv2D, family="tinygen", unpacks=True, packs=True)


@_rows(name="depthwise_conv_2d_dsp_rows", isa="dsp")
def depthwise_conv_2d_dsp_rows(node: Node) -> KernelPlan | None:
    """Four channels at a time; every pair of input rows is made once and used by all windows that contain it."""
    job = _job(node)
    return depthwise_plan(job, dual_issue=False) if job else None


@_rows(name="depthwise_conv_2d_dual_rows", isa="dual-issue")
def depthwise_conv_2d_dual_rows(node: Node) -> KernelPlan | None:
    """The same, in the order of a core that issues two instructions at once."""
    job = _job(node)
    return depthwise_plan(job, dual_issue=True) if job else None


@_rows(name="depthwise_conv_2d_dsp_rows_unpacked", isa="dsp")
def depthwise_conv_2d_dsp_rows_unpacked(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    return unpacked_depthwise(_job(node), dual_issue=False)


@_rows(name="depthwise_conv_2d_dual_rows_unpacked", isa="dual-issue")
def depthwise_conv_2d_dual_rows_unpacked(node: Node) -> KernelPlan | None:
    """The same in that order."""
    return unpacked_depthwise(_job(node), dual_issue=True)


@also_16x8(DepthwiseConv2D)
@kernel(Conv2D, of="codes", name="depthwise_conv_2d_channels_dsp", family="tinygen", isa="dsp")
def depthwise_conv_2d_channels_dsp(node: Node) -> KernelPlan | None:
    """One channel after the other, where no pairs of rows are made: codes of 16 bits, dilated rows.

    The C and the prediction are those of cores without SIMD.
    """
    return None if _job(node) else depthwise_conv_2d_scalar(node)


@also_16x8(DepthwiseConv2D)
@kernel(Conv2D, of="codes", name="depthwise_conv_2d_channels_dsp_unpacked", family="tinygen", isa="dsp")
def depthwise_conv_2d_channels_dsp_unpacked(node: Node) -> KernelPlan | None:
    """The same with weights of less than 8 bits, or as indices of values of 16 bits."""
    plan = depthwise_conv_2d_channels_dsp(node)
    return all_unpacked(plan, UNPACKING) if plan else None


def _job(node: Node) -> DepthwiseJob | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    geometry = op.geometry(node)
    if multiplier_of(node) is None or x.shape[3] == 1 or not takes_depthwise(geometry, node):
        return None
    if x.dtype == np.int16:
        return None  # pairs are made of bytes
    if x.code_bits and x.shape[3] % 4:
        return None  # the last four channels begin within a word's four
    # Packed codes have the same values; one shift brings four of them into the bytes of a word.
    found = _weights(replace(node, inputs=(replace(x, code_bits=0), *node.inputs[1:])))
    if found is None:
        return None
    layer, weights = found
    kind = _pairing(node)
    context: dict[str, Any] = layer.context | {"pairing": kind, "pixel": pixel_elements(x), "x_bits": x.code_bits}
    if x.code_bits:
        context["source"] = "input"
    return DepthwiseJob(
        node,
        geometry,
        weights,
        layer.epilogue,
        {key: value for key, value in context.items() if key != "extend"},
        f"depthwise_conv_2d_{layer.kinds}_dsp",
        _CYCLES[kind],
        widening(x, 1, 0) if kind == "values" else None,
        _HEADERS if layer.sums is None else _HEADERS_OF_CODES,
    )


def _weights(node: Node) -> tuple[IntegerLayer, np.ndarray] | None:
    """The layer, and its weights times the kernel scales; None where they do not fit int16.

    Sums of few small products may be smaller than their codes. With weights scaled up by a factor, the epilogue can be
    fused.
    """
    found = None
    for unit in _UNITS:
        layer, weights = _in_units(node, unit)
        if layer is None or weights.dtype == np.int32:
            break
        if found is None or layer.epilogue.context["form"] in ("fused", "powers", "octaves", "cells"):
            found = layer, weights
        if layer.epilogue.context["form"] not in ("rescale", "rescale_high", "steps"):
            break
    return found


def _in_units(node: Node, unit: int) -> tuple[IntegerLayer | None, np.ndarray]:
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    scaled = not op.is_tflite and integer_mac.kernel_scales(node) is not None
    layer = integer_layer(node, unit, scaled=scaled, wide=True, reads="any")
    if layer is None:
        return None, np.zeros(0)
    weights = integer_mac.scaled_weights(node, layer.weights) if scaled else layer.weights
    return layer.by_lengths, smallest_integers(weights[..., 0] * unit)


def _pairing(node: Node) -> str:
    """How pairs of rows are made of codes."""
    x = node.input(0)
    match x.encoding:
        case Binary():
            return "bits"
        case Levels(signed=True):
            return "levels"
        case Levels(bits=8):
            return "unsigned"
        case _:
            return "values" if needs_widening(replace(x, code_bits=0)) else "signed"
