"""Tuned kernels of dense layers whose activations and weights are both single bits."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.support.activations.bits import bit_layer, columns_plans, words_plan
from tinygen.lowering.plan import KernelPlan, kernel


@kernel(FullyConnected, of="codes", name="xnor_fully_connected_columns", family="tinygen")
def xnor_fully_connected_columns(node: Node) -> Sequence[KernelPlan]:
    """One input of 32 outputs in a word."""
    layer = bit_layer(node)
    return columns_plans(layer, "xnor_fully_connected") if layer else ()


@kernel(FullyConnected, of="codes", name="xnor_fully_connected_words", family="tinygen")
def xnor_fully_connected_words(node: Node) -> Sequence[KernelPlan]:
    """32 inputs of one output in a word: for fewer outputs than fill the columns' words."""
    layer = bit_layer(node)
    return (words_plan(layer, "xnor_fully_connected"),) if layer else ()
