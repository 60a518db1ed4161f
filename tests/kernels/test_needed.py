"""The leave-one-out of kernels, on one core and the layers of one suite."""

from __future__ import annotations

from tests.kernels.needed import uses


def test_winners_and_losers() -> None:
    found = {kernel.name: use for kernel, use in uses(["int8-kernels"], ["f746zg"]).items()}
    dense = found["fully_connected_dsp_4"]
    assert dense.chosen and dense.cycles > 1.3 and not dense.verdict
    assert "then fully_connected_s8_dsp" in dense.where
    assert found["conv_2d_dsp"].alone, "only plain loops are left for 1x1"
    assert found["conv_2d_packed_dsp"].verdict == "never chosen"
    assert "conv_2d_scalar" not in found, "kernels of other cores"
