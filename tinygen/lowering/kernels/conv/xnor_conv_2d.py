"""Tuned kernels of convolutions whose activations and weights are both single bits."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.lowering.kernels.support.activations.bits import (
    bit_layer,
    columns_plans,
    copied_columns_plans,
    words_plan,
)
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(Conv2D, of="codes", name="xnor_conv_2d_columns", family="tinygen")
def xnor_conv_2d_columns(node: Node) -> Sequence[KernelPlan]:
    """One channel of 32 filters in a word."""
    layer = bit_layer(node)
    return columns_plans(layer, window_stem("xnor_conv_2d", (layer.rows, layer.columns))) if layer else ()


@kernel(Conv2D, of="codes", name="xnor_conv_2d_columns_copied", family="tinygen", isa="dsp", unless="dual-issue")
def xnor_conv_2d_columns_copied(node: Node) -> Sequence[KernelPlan]:
    """The same, with its weights copied from slow flash: 8 to 17 % fewer cycles on an STM32F4 or L4+ (emulated)."""
    layer = bit_layer(node)
    return copied_columns_plans(layer, window_stem("xnor_conv_2d", (layer.rows, layer.columns))) if layer else ()


@kernel(Conv2D, of="codes", name="xnor_conv_2d_words", family="tinygen")
def xnor_conv_2d_words(node: Node) -> Sequence[KernelPlan]:
    """32 channels of one filter in a word: for fewer filters than fill the columns' words."""
    layer = bit_layer(node)
    return (words_plan(layer, window_stem("xnor_conv_2d", (layer.rows, layer.columns))),) if layer else ()
