"""Convolutions and dense layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.frontends.aten.layout import NHWC, Layout
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.operators.quantize import activation_target, dequantized, dequantized_constant
from tinygen.frontends.onnx.registry import Operator, converts
from tinygen.frontends.onnx.sources.batch_matmul import BatchMatmulSource
from tinygen.frontends.onnx.sources.mac import MacSource
from tinygen.frontends.onnx.steps import quantize, stepped
from tinygen.frontends.onnx.values import Coded, Constant, ConstantCodes, Pending, Value
from tinygen.frontends.onnx.windows import window_of
from tinygen.ir.tensor import Shape, Tensor


def _weight_codes(operator: Operator, index: int, channel_axis: int) -> ConstantCodes:
    """Constant weights with known codes, quantized per tensor or per output channel."""
    weights = operator.constant(index, "weights")
    if weights.codes is None:
        raise operator.unquantized(index)
    axis = weights.codes.encoding.axis
    operator.require(
        axis in (None, channel_axis),
        f"its weights, {operator.label(index)}, have scales along axis {axis}, not along their output channels",
        "Quantize weights per tensor, or per output channel.",
    )
    return weights.codes


@converts("Conv")
def conv(operator: Operator) -> Value:
    weights = _weight_codes(operator, 1, 0)
    bias = operator.array(2, "bias") if operator.has(2) else None
    return convolution(operator, operator.coded(0), weights, bias, operator.input_names[1])


def convolution(
    operator: Operator, value: Coded, weights: ConstantCodes, bias: np.ndarray | None, name: str
) -> Pending:
    """Shared by Conv and QLinearConv; `bias` holds real values."""
    operator.require(
        weights.codes.ndim == 4, f"weights of {weights.codes.ndim} dimensions", "Only Conv2d is supported."
    )
    x = operator.builder.as_image(value)
    groups, channels = int(operator.attribute("group", 1)), x.shape[3]
    filters, depth = weights.codes.shape[:2]
    fits = groups > 0 and depth * groups == channels and filters % max(groups, 1) == 0
    operator.damaged(not fits, f"{filters} filters of {depth} channels in {groups} groups over {channels} channels")
    kernel = weights.codes.shape[2:]
    stated = operator.integers_of("kernel_shape", kernel)
    operator.damaged(stated != kernel, f"kernel_shape {list(stated)} of weights {list(kernel)}")
    window = window_of(operator, kernel, *x.shape[1:3])
    source = MacSource(operator.builder, x, weights.transposed(NHWC), window, name)
    sizes = [
        (size + sum(pads) - (taps - 1) * dilation - 1) // stride + 1
        for size, pads, taps, dilation, stride in zip(
            x.shape[1:3], (window.rows, window.columns), window.kernel, window.dilation, window.stride, strict=True
        )
    ]
    operator.damaged(min(sizes) < 1, f"a window of {list(kernel)} does not fit {list(x.shape[1:3])}")
    layout = Layout.dense((x.shape[0], filters, sizes[0], sizes[1]), NHWC)
    return _biased(operator, Pending(source, source.chain(), layout), bias)


def _biased(operator: Operator, pending: Pending, bias: np.ndarray | None) -> Pending:
    if bias is None:
        return pending
    channels = pending.source.channels
    operator.damaged(bias.size not in (1, channels), f"a bias of {bias.size} elements for {channels} channels")
    exact = bias.astype(np.float64).reshape(-1)
    return stepped(pending, lambda chain: chain.affine(1.0, exact))


@converts("Gemm")
def gemm(operator: Operator) -> Value:
    operator.require(not operator.attribute("transA", 0), "transA is not supported")
    transposed = bool(operator.attribute("transB", 0))
    weights = _weight_codes(operator, 1, 0 if transposed else 1)
    operator.require(weights.codes.ndim == 2, f"weights of {weights.codes.ndim} dimensions")
    pending = dense(operator, operator.coded(0), weights if transposed else weights.transposed((1, 0)))
    alpha, beta = float(operator.attribute("alpha", 1.0)), float(operator.attribute("beta", 1.0))
    if alpha != 1.0:
        pending = stepped(pending, lambda chain: chain.affine(alpha))
    if not operator.has(2):
        return pending
    return _biased(operator, pending, operator.array(2, "bias").astype(np.float64) * beta)


def dense(operator: Operator, value: Coded, weights: ConstantCodes) -> Pending:
    """A dense layer. A flattened image keeps its order; the columns of the weights are permuted to match.

    Args:
        weights: [O, I].
    """
    outputs, depth = weights.codes.shape
    operator.damaged(not value.shape or value.shape[-1] != depth, f"{depth} weights over {list(value.shape)}")
    x, weights = _flattened(operator, value, weights)
    source = MacSource(operator.builder, x, weights, None, operator.input_names[min(1, len(operator.input_names) - 1)])
    return Pending(source, source.chain(), Layout.dense((*value.shape[:-1], outputs)))


def _flattened(operator: Operator, value: Coded, weights: ConstantCodes) -> tuple[Tensor, ConstantCodes]:
    leading = tuple(axis for dim in value.layout.dims[:-1] for axis in dim)
    if leading != tuple(range(len(leading))):
        return operator.builder.in_order(value), weights
    columns = value.layout.dims[-1]
    sizes = [value.layout.sizes[axis] for axis in columns]
    places = np.arange(weights.codes.shape[1]).reshape(sizes).transpose(np.argsort(columns)).reshape(-1)
    # A whole image stays one: the codes of its pixels may be packed.
    x = value.tensor if not leading else operator.builder.reshape(value.tensor, value.shape)
    return x, replace(weights, codes=weights.codes[:, places])


@converts("MatMul")
def matmul(operator: Operator) -> Value:
    first, second = operator.value(0), operator.value(1)
    if isinstance(first, Coded) and isinstance(second, Coded):
        return batch_matmul(operator, operator.coded(0), operator.coded(1))
    weights = _weight_codes(operator, 1, 1)
    operator.require(weights.codes.ndim == 2, f"weights of {weights.codes.ndim} dimensions")
    return dense(operator, operator.coded(0), weights.transposed((1, 0)))


def batch_matmul(operator: Operator, a: Coded, b: Coded) -> Pending:
    """A product of two activations."""
    tensors = [operator.builder.in_order(value) for value in (a, b)]
    fits = min(len(a.shape), len(b.shape)) >= 2 and a.shape[-1] == b.shape[-2]
    operator.damaged(not fits, f"matrices {list(a.shape)} and {list(b.shape)} do not multiply")
    shape: Shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    source = BatchMatmulSource(operator.builder, tensors[0], tensors[1])
    return Pending(source, Chain.start(source.channels), Layout.dense(shape))


@converts("QLinearConv")
def qlinear_conv(operator: Operator) -> Value:
    """x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias in steps of the accumulator."""
    x = dequantized(operator, 0, 1, 2)
    weights = dequantized_constant(operator, operator.array(3, "weights"), 4, 5, 0).codes
    assert weights is not None
    bias = None
    if operator.has(8):
        steps = operator.array(8, "bias").astype(np.float64).reshape(-1)
        bias = steps * x.tensor.integer.scale[0] * np.array(weights.encoding.scale)
    pending = convolution(operator, x, weights, bias, operator.input_names[3])
    return replace(quantize(operator.builder, pending, activation_target(operator, 6, 7)), raw=True)


@converts("QLinearMatMul")
def qlinear_matmul(operator: Operator) -> Value:
    """a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point."""
    a = dequantized(operator, 0, 1, 2)
    if isinstance(operator.value(3), Constant):
        weights = dequantized_constant(operator, operator.array(3, "weights"), 4, 5, 1).codes
        assert weights is not None
        operator.require(weights.codes.ndim == 2, f"weights of {weights.codes.ndim} dimensions")
        pending = dense(operator, a, weights.transposed((1, 0)))
    else:
        pending = batch_matmul(operator, a, dequantized(operator, 3, 4, 5))
    return replace(quantize(operator.builder, pending, activation_target(operator, 6, 7)), raw=True)
