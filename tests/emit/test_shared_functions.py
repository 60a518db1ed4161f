"""Layers that differ in nothing but their data share one function."""

from __future__ import annotations

from tests.support.networks import Network
from tinygen.emit.model import emit_model
from tinygen.lowering.lower import lower
from tinygen.lowering.network import NetworkProgram

DSP = ("c99", "dsp", "dual-issue")


def test_dense_layers_of_other_zero_points() -> None:
    """Their plans differ in the code of padding, which there is none of."""
    net = Network(3)
    x = net.input(2, 1, 32)
    for _ in range(3):
        x = (
            net.conv(x, 64, (2, 1), same=False, relu=False)
            if x.shape[1] == 2
            else net.conv(x, 64, 1, same=False, relu=False)
        )
    graph = net.graph()
    program = lower(graph, isa=DSP)
    plans = [step.plan for step in program.steps[1:]]
    assert plans[0].context != plans[1].context
    text = emit_model(NetworkProgram.of(program), "net").files[f"{graph.name}_kernels.c"]
    assert text.count("void net_fully_connected_s8_dsp_64x64(") == 1 and "64x64_2" not in text
