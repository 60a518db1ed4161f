"""Pools of floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.planes import plane_of
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Value
from tinygen.frontends.onnx.windows import check_fits, window_of


def _pool(operator: Operator, target: str) -> Value:
    plane = plane_of(operator, operator.integers_of("kernel_shape", ()))
    operator, x = plane.operator, operator.real(0)
    x = replace(x, layout=plane.flat(x.layout))
    rank = len(x.shape) - 2
    operator.require(rank in (1, 2), f"a pool over {list(x.shape)}", "tinygen has [N, C, H, W] and [N, C, L].")
    height, width = (1, *x.shape[2:])[-2:]
    window = window_of(operator, operator.integers_of("kernel_shape", ()), height, width)
    operator.require(window.dilation == (1, 1), "a dilated pool", "Use a pool without dilation.")
    check_fits(operator, window, height, width)
    outputs = window.output(height, width)[-rank:]
    before = [window.rows[0], window.columns[0]]
    arguments: dict[str, Any] = {}
    if target == "avg_pool2d":
        arguments = {"count_include_pad": False, "ceil_mode": False, "divisor_override": None}
        if window.counts_padding and window.is_padded:
            ceiled = operator.attribute("ceil_mode", 0)
            operator.require(not ceiled, "ceil_mode together with count_include_pad", "Use one of the two.")
            x = call(operator, "constant_pad_nd", self=x, pad=[*window.columns, *window.rows][: 2 * rank], value=0.0)
            before = [0, 0]
    found = call(
        operator,
        target,
        shapes=[(*x.shape[:2], *outputs)],
        self=x,
        kernel_size=list(window.kernel[-rank:]),
        stride=list(window.stride[-rank:]),
        padding=before[-rank:],
        dilation=1,
        **arguments,
    )
    return replace(found, layout=plane.whole(found.layout))


@computes("MaxPool")
def max_pool(operator: Operator) -> Value:
    operator.require(1 not in operator.taken, "the indices of the maxima are not supported", "Use the maxima alone.")
    return _pool(operator, "max_pool2d")


@computes("AveragePool")
def average_pool(operator: Operator) -> Value:
    return _pool(operator, "avg_pool2d")


@computes("GlobalAveragePool")
def global_average_pool(operator: Operator) -> Value:
    x = operator.real(0)
    return call(operator, "mean", self=x, dim=list(range(2, len(x.shape))), keepdim=True)


@computes("GlobalMaxPool")
def global_max_pool(operator: Operator) -> Value:
    x = operator.real(0)
    return call(operator, "amax", self=x, dim=list(range(2, len(x.shape))), keepdim=True)
