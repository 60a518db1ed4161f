"""Convolutions, dense layers and matrix products on floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.planes import Plane, plane_of
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Constant, Value
from tinygen.frontends.onnx.windows import check_filters, check_fits, window_of
from tinygen.ir.tensor import Shape


def _layer(operator: Operator) -> tuple[Plane, Coded, np.ndarray, np.ndarray | None]:
    """(which dimensions of the input are an image, input, weights and bias)."""
    x, weights = operator.real(0), operator.array(1, "weights")
    bias = operator.array(2, "bias") if operator.has(2) else None
    operator.damaged(weights.ndim != len(x.shape), f"weights of {weights.ndim} dimensions over {len(x.shape)}")
    plane = plane_of(operator, weights.shape[2:])
    return plane, replace(x, layout=plane.flat(x.layout)), plane.window(weights), bias


@computes("Conv")
def conv(operator: Operator) -> Value:
    plane, x, weights, bias = _layer(operator)
    check_filters(plane.operator, weights.shape, x.shape[1])
    rank = weights.ndim - 2
    height, width = (1, *x.shape[2:])[-2:]
    window = window_of(plane.operator, weights.shape[2:], height, width)
    check_fits(operator, window, height, width)
    found = call(
        operator,
        "conv2d",
        input=x,
        weight=weights,
        bias=bias,
        stride=list(window.stride[-rank:]),
        dilation=list(window.dilation[-rank:]),
        padding=(window.rows, window.columns),
        groups=int(operator.attribute("group", 1)),
    )
    return replace(found, layout=plane.whole(found.layout))


@computes("ConvTranspose")
def conv_transpose(operator: Operator) -> Value:
    plane, x, weights, bias = _layer(operator)
    operator, rank = plane.operator, weights.ndim - 2
    kernel, sizes = weights.shape[2:], x.shape[2:]
    strides, dilations = operator.integers_of("strides", (1,) * rank), operator.integers_of("dilations", (1,) * rank)
    extra = operator.integers_of("output_padding", (0,) * rank)
    pads = operator.integers_of("pads", (0,) * (2 * rank))
    lists = (strides, dilations, extra, pads[:rank], pads[rank:])
    operator.damaged(any(len(given) != rank for given in lists), f"strides {strides}, pads {pads} of {rank} dimensions")
    # Without padding, by ONNX's definition.
    sides = zip(sizes, strides, extra, kernel, dilations, strict=True)
    full = [(n - 1) * s + o + (k - 1) * d + 1 for n, s, o, k, d in sides]
    before = list(pads[:rank])
    outputs = [n - a - b for n, a, b in zip(full, pads[:rank], pads[rank:], strict=True)]
    auto = operator.attribute("auto_pad", "NOTSET")
    stated = operator.attributes.get("output_shape")
    if stated or auto.startswith("SAME"):
        outputs = list(stated[-rank:]) if stated else [n * s for n, s in zip(sizes, strides, strict=True)]
        totals = [max(n - wanted, 0) for n, wanted in zip(full, outputs, strict=True)]
        before = [total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals]
    groups = int(operator.attribute("group", 1))
    found = call(
        operator,
        "conv_transpose2d",
        shapes=[(x.shape[0], weights.shape[1] * groups, *outputs)],
        input=x,
        weight=weights,
        bias=bias,
        stride=list(strides),
        dilation=list(dilations),
        padding=before,
        groups=groups,
    )
    return replace(found, layout=plane.whole(found.layout))


@computes("Gemm")
def gemm(operator: Operator) -> Value:
    """alpha * A @ B + beta * C"""
    a, b = (
        _turned(operator.value(i)) if operator.attribute(name, 0) else operator.value(i)
        for i, name in enumerate(("transA", "transB"))
    )
    alpha, beta = float(operator.attribute("alpha", 1.0)), float(operator.attribute("beta", 1.0))
    added = operator.value(2) if operator.has(2) else None
    if added is None:
        return call(operator, "mul", shapes=[_product(a, b)], self=call(operator, "mm", self=a, mat2=b), other=alpha)
    return call(operator, "addmm", shapes=[_product(a, b)], self=added, mat1=a, mat2=b, alpha=alpha, beta=beta)


def _product(a: Value, b: Value) -> Shape:
    return (a.shape[0], b.shape[1])


def _turned(value: Value) -> Value:
    if isinstance(value, Constant):
        return Constant(value.array.T)
    assert isinstance(value, Coded)
    return Coded(value.tensor, value.layout.permuted((1, 0)))


@computes("MatMul")
def matmul(operator: Operator) -> Value:
    return call(operator, "matmul", self=operator.value(0), other=operator.value(1))


@computes("Einsum")
def einsum(operator: Operator) -> Value:
    equation = str(operator.attribute("equation"))
    return call(operator, "einsum", equation=_explicit(equation), tensors=list(operator.inputs))


def _explicit(equation: str) -> str:
    """An equation that says what the output is: without an arrow, letters that occur once, in order."""
    if "->" in equation:
        return equation
    letters = [letter for letter in equation if letter.isalpha()]
    return f"{equation}->{''.join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))}"


@computes("BatchNormalization")
def batch_normalization(operator: Operator) -> Value:
    operator.require(not operator.attribute("training_mode", 0), "it is in training mode", "Export with model.eval().")
    names = ("weight", "bias", "running_mean", "running_var")
    parameters: dict[str, Any] = {name: operator.array(i + 1, name) for i, name in enumerate(names)}
    return call(
        operator, "batch_norm", input=operator.real(0), eps=float(operator.attribute("epsilon", 1e-5)), **parameters
    )
