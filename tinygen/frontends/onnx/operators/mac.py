"""Convolutions and dense layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.frontends.aten.layout import NHWC, NLC, Layout
from tinygen.frontends.folding import Chain
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.planes import plane_of
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.batch_matmul import BatchMatmulSource
from tinygen.frontends.onnx.sources.mac import MacSource
from tinygen.frontends.onnx.steps import stepped
from tinygen.frontends.onnx.values import Coded, Constant, ConstantCodes, Pending, Value
from tinygen.frontends.onnx.windows import check_filters, check_fits, window_of
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


@converts("Conv", strict=True)
def conv(operator: Operator) -> Value:
    weights = _weight_codes(operator, 1, 0)
    bias = operator.array(2, "bias") if operator.has(2) else None
    return convolution(operator, operator.coded(0), weights, bias, operator.input_names[1])


def convolution(
    operator: Operator, value: Coded, weights: ConstantCodes, bias: np.ndarray | None, name: str
) -> Pending:
    """`bias` holds real values. A signal is an image one row high."""
    codes = weights.codes
    operator.damaged(codes.ndim != len(value.shape), f"weights of {codes.ndim} dimensions over {len(value.shape)}")
    plane = plane_of(operator, codes.shape[2:])
    operator, codes = plane.operator, plane.window(codes)
    x = operator.builder.as_image(replace(value, layout=plane.flat(value.layout)))
    check_filters(operator, codes.shape, x.shape[3])
    window = window_of(operator, codes.shape[2:], *x.shape[1:3])
    check_fits(operator, window, *x.shape[1:3])
    images = replace(weights, codes=codes.reshape(*codes.shape[:2], *window.kernel))
    source = MacSource(operator.builder, x, images.transposed(NHWC), window, name)
    sides = window.output(*x.shape[1:3])[4 - codes.ndim :]
    layout = Layout.dense((x.shape[0], codes.shape[0], *sides), NHWC if len(sides) == 2 else NLC)
    return _biased(operator, Pending(source, source.chain(), plane.whole(layout)), bias)


def _biased(operator: Operator, pending: Pending, bias: np.ndarray | None) -> Pending:
    if bias is None:
        return pending
    channels = pending.source.channels
    operator.damaged(bias.size not in (1, channels), f"a bias of {bias.size} elements for {channels} channels")
    exact = bias.astype(np.float64).reshape(-1)
    return stepped(pending, lambda chain: chain.affine(1.0, exact))


@converts("Gemm", strict=True)
def gemm(operator: Operator) -> Value:
    transposed = bool(operator.attribute("transB", 0))
    weights = _weight_codes(operator, 1, 0 if transposed else 1)
    operator.require(weights.codes.ndim == 2, f"weights of {weights.codes.ndim} dimensions")
    value = operator.coded(0)
    if operator.attribute("transA", 0):
        value = replace(value, layout=value.layout.permuted((1, 0)))
    pending = dense(operator, value, weights if transposed else weights.transposed((1, 0)))
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


@converts("MatMul", strict=True)
def matmul(operator: Operator) -> Value:
    first, second = operator.value(0), operator.value(1)
    if isinstance(first, Coded) and isinstance(second, Coded):
        return batch_matmul(operator, operator.coded(0), operator.coded(1))
    if isinstance(first, Constant):
        return _weights_first(operator)
    weights = _weight_codes(operator, 1, 1)
    operator.require(weights.codes.ndim == 2, f"weights of {weights.codes.ndim} dimensions")
    return dense(operator, operator.coded(0), weights.transposed((1, 0)))


def _weights_first(operator: Operator) -> Pending:
    """W @ x, as the transposed of what a dense layer makes of the transposed x."""
    weights, value = _weight_codes(operator, 0, 0), operator.coded(1)
    rank = len(value.shape)
    operator.require(weights.codes.ndim == 2 <= rank, f"weights of {weights.codes.ndim} dimensions")
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    found = dense(operator, replace(value, layout=value.layout.permuted(swapped)), weights)
    return replace(found, layout=found.layout.permuted(swapped))


def batch_matmul(operator: Operator, a: Coded, b: Coded) -> Pending:
    """A product of two activations."""
    tensors = [operator.builder.in_order(value) for value in (a, b)]
    fits = min(len(a.shape), len(b.shape)) >= 2 and a.shape[-1] == b.shape[-2]
    operator.damaged(not fits, f"matrices {list(a.shape)} and {list(b.shape)} do not multiply")
    shape: Shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    source = BatchMatmulSource(operator.builder, tensors[0], tensors[1])
    return Pending(source, Chain.start(source.channels), Layout.dense(shape))
