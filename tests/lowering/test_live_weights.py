"""Weights of gated layers lie in flash at as many bits as they have values."""

from __future__ import annotations

import math

import pytest

from tests.support.gated import Gated, Masked, gated_conv, masked_conv
from tests.support.integer_layers import INT8, TERNARY, codebook, levels
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.lowering.select import choose


def _weight_bytes(graph: Graph, isa: str) -> int:
    node = list(graph.nodes())[-1 if graph.ops[-1].KIND == "masked_conv_2d" else -2]
    plan = choose(node, "tinygen", ("c99", isa)).fastest
    return next(constant.data.nbytes for constant in plan.constants if constant.name == "weights")


@pytest.mark.parametrize("isa", ["dsp", "scalar"])
@pytest.mark.parametrize(
    ("weights", "bits"),
    [(INT8, 8), (TERNARY, 2), (levels(2, True), 2), (levels(1, True), 1), (codebook(16), 4)],
    ids=str,
)
def test_bits(weights: IntegerEncoding, bits: int, isa: str) -> None:
    """Each filter begins with a byte."""
    row = math.ceil(9 * 7 * bits / 8)
    gated = gated_conv(Gated(name="g", image=(6, 6, 7), filters=10, live=(4, 5), w=weights))
    masked = masked_conv(Masked(name="m", image=(6, 6, 7), filters=10, w=weights))
    assert _weight_bytes(gated, isa) == _weight_bytes(masked, isa) == 10 * row
