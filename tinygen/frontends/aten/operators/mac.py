"""Convolutions, linear layers, and the batch norms behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add, Mul
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.transpose_conv import TransposeConv
from tinygen.ir.ops.window import Padding

_OHWI = (0, 2, 3, 1)
_DEPTHWISE = (1, 2, 3, 0)
"""[C * multiplier, 1, KH, KW] to [1, KH, KW, C * multiplier]."""

_TRANSPOSED = (1, 2, 3, 0)
"""[I, O, KH, KW] to OHWI."""

Pairs = tuple[tuple[int, int], tuple[int, int]]


def weights_of(call: Call, name: str = "weight", axis: int = 0) -> Constant:
    """The weights: floats, or dequantized codes with one scale or one scale per output channel, dimension `axis`."""
    found = call[name]
    call.require(isinstance(found, Constant), f"its argument '{name}' must be a constant")
    assert isinstance(found, Constant)
    if found.encoding is not None and found.encoding.axis not in (None, axis):
        raise call.unsupported(f"weights quantized along dimension {found.encoding.axis}, not along output channels")
    return found


def _along(encoding: Affine | None, axis: int) -> Affine | None:
    """The encoding with its channels on another axis."""
    return encoding and (encoding if encoding.axis is None else replace(encoding, axis=axis))


@converts("aten.convolution")
def any_convolution(call: Call) -> Value | list[Value]:
    return transposed_convolution(call) if call["transposed"] else convolution(call)


@converts("aten.conv1d", "aten.conv2d")
def convolution(call: Call) -> Value:
    """A convolution of images, or of signals, which are images one row high."""
    x, weights = call.value("input"), weights_of(call)
    rank = _rank(call, x, weights)
    stride, dilation = call.sides("stride", rank, 1), call.sides("dilation", rank, 1)
    paddings = _padding(call, _taps(weights, rank).shape[2:], dilation, rank)
    return _convolved(call, call.build.image(x), weights, paddings, stride, dilation)


def _convolved(
    call: Call, tensor: str, weights: Constant, paddings: Pairs, stride: tuple[int, int], dilation: tuple[int, int]
) -> Value:
    """A convolution of a tensor [1, H, W, C] with weights [O, I, KH, KW] or [O, I, K], in the call's groups."""
    rank, rows, columns = len(weights.shape), *paddings
    array, channels = _taps(weights, rank), call.build.tensors[tensor].shape[3]
    reach = [(size - 1) * step + 1 for size, step in zip(array.shape[2:], dilation, strict=True)]
    if max(rows) >= reach[0] or max(columns) >= reach[1]:
        # A convolution's own padding cannot be this large.
        tensor = call.build.add(Pad, [tensor], "pad", paddings=((0, 0), rows, columns, (0, 0)), value=0.0)
        rows = columns = (0, 0)
    depthwise = call["groups"] == channels > 1 and weights.shape[1] == 1
    kind: type[Op] = DepthwiseConv2D if depthwise else Conv2D
    stored = array.transpose(_DEPTHWISE if depthwise else _OHWI)
    padded = max(*rows, *columns) > 0
    inputs = [tensor, call.build.constant(stored, "weights", _along(weights.encoding, 3 if depthwise else 0))]
    output = call.build.add(
        kind,
        [*inputs, *_bias(call)],
        padding=Padding.VALID,
        stride=stride,
        dilation=dilation,
        row_padding=rows if padded else None,
        column_padding=columns if padded else None,
    )
    return call.build.fresh_image(output, rank)


def _rank(call: Call, x: Value, weights: Constant) -> int:
    """4 for images, 3 for signals."""
    rank = len(x.shape)
    call.require(rank == len(weights.shape) and rank in (3, 4), f"only [1, C, H, W] and [1, C, L], not {x.shape}")
    return rank


def _taps(weights: Constant, rank: int) -> np.ndarray:
    """The weights of images, or of signals as images one row high: four dimensions, float32."""
    return np.asarray(weights.array, np.float32).reshape(*weights.shape[:2], *[1] * (4 - rank), *weights.shape[2:])


@converts("aten.conv_transpose1d", "aten.conv_transpose2d")
def transposed_convolution(call: Call) -> Value:
    """What its padding crops is the padding of the forward convolution; a longer output needs none behind."""
    x, weights = call.value("input"), weights_of(call, axis=1)
    rank = _rank(call, x, weights)
    array = _taps(weights, rank)
    stride, crop = call.sides("stride", rank, 1), call.sides("padding", rank, 0)
    kernel, sizes, outputs = array.shape[2:], *((1, *shape[2:])[-2:] for shape in (x.shape, call.shapes[0]))
    plain = call["groups"] == 1 and set(call.pair("dilation")) == {1}
    if not plain or any(c >= k for c, k in zip(crop, kernel, strict=True)):
        return _among_zeros(call, x, weights)
    paddings = [(crop[i], max((sizes[i] - 1) * stride[i] + kernel[i] - outputs[i] - crop[i], 0)) for i in range(2)]
    stored = call.build.constant(array.transpose(_TRANSPOSED), "weights", _along(weights.encoding, 0))
    output = call.build.add(
        TransposeConv,
        [call.build.image(x), stored, *_bias(call)],
        size=outputs,
        padding=Padding.VALID,
        stride=stride,
        row_padding=paddings[0],
        column_padding=paddings[1],
    )
    return call.build.fresh_image(output, rank)


def _among_zeros(call: Call, x: Value, weights: Constant) -> Value:
    """A transposed convolution in groups, or dilated: a convolution with the weights turned round, of the input with
    zeros between its pixels.
    """
    build, rank, groups = call.build, len(x.shape), int(call["groups"])
    shared = weights.encoding is None or weights.encoding.axis is None
    call.require(shared or groups == 1, "weights in groups, quantized per channel, of a transposed convolution")
    inputs, outputs, *kernel = weights.shape
    split = weights.array.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    turned = np.flip(split, tuple(range(3, 1 + rank))).reshape(groups * outputs, inputs // groups, *kernel)
    stride, dilation = call.sides("stride", rank, 1), call.sides("dilation", rank, 1)
    crop = call.sides("padding", rank, 0)
    taps, wanted = (1, *kernel)[-2:], (1, *call.shapes[0][2:])[-2:]
    tensor = build.image(x)
    _, height, width, channels = build.tensors[tensor].shape
    if stride != (1, 1):
        apart = build.shaped(tensor, (1, height, 1, width, 1, channels))
        between = tuple((0, 0 if place not in (2, 4) else stride[place // 4] - 1) for place in range(6))
        spread = build.add(Pad, [apart], "zeros", paddings=between, value=0.0)
        tensor = build.shaped(spread, (1, height * stride[0], width * stride[1], channels))
    pairs = []
    for axis in (0, 1):
        reach = (taps[axis] - 1) * dilation[axis]
        before = reach - crop[axis]
        after = wanted[axis] + reach - before - build.tensors[tensor].shape[1 + axis]
        first, count = max(-before, 0), build.tensors[tensor].shape[1 + axis] - max(-before, 0) - max(-after, 0)
        tensor = build.part(tensor, 1 + axis, first, 1, count)
        pairs.append((max(before, 0), max(after, 0)))
    encoding = _along(weights.encoding, 0)
    return _convolved(call, tensor, Constant(turned, encoding), (pairs[0], pairs[1]), (1, 1), dilation)


def _padding(call: Call, kernel: tuple[int, ...], dilation: tuple[int, int], rank: int) -> Pairs:
    """(rows, columns), each (before, after). PyTorch's "same" puts an odd element after; other formats give pairs."""
    given = call["padding"]
    if isinstance(given, tuple) and isinstance(given[0], tuple):
        return given[0], given[1]
    if given == "valid":
        return (0, 0), (0, 0)
    if given == "same":
        totals = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    rows, columns = call.sides("padding", rank, 0)
    return (rows, rows), (columns, columns)


def _bias(call: Call) -> list[str]:
    bias = call.array("bias")
    return [] if bias is None else [call.build.constant(bias, "bias")]


@converts("aten.linear")
def linear(call: Call) -> Value:
    return dense(call, call.value("input"), weights_of(call), call.array("bias"))


def dense(call: Call, x: Value, weights: Constant, bias: np.ndarray | None = None) -> Value:
    """A product of the last dimension with constant weights [O, I]."""
    rank = len(x.shape)
    leading = tuple(axis for dim in x.layout.dims[:-1] for axis in dim)
    if leading != tuple(range(len(leading))):
        x = call.build.contiguous(x)
    # Columns are permuted to the memory order of the elements, so that flattened images need no transposition.
    columns = x.layout.dims[-1]
    array = np.asarray(weights.array, np.float32)
    split = array.reshape(len(array), *(x.layout.sizes[axis] for axis in columns))
    ordered = split.transpose(0, *(1 + np.argsort(columns))).reshape(array.shape)
    tensor = call.build.shaped(x.tensor, x.shape)
    inputs = [tensor, call.build.constant(ordered, "weights", _along(weights.encoding, 0))]
    inputs += [] if bias is None else [call.build.constant(bias, "bias")]
    output = call.build.add(FullyConnected, inputs, keep_dims=rank != 2)
    return call.build.fresh(output, range(rank))


@converts("aten.batch_norm", "aten._native_batch_norm_legit_no_training")
def batch_norm(call: Call) -> Value | list[Value]:
    """y = x * gain + offset per channel; folded into the convolution before it if nothing else reads that."""
    x = call.value("input")
    call.require(not call.get("training", False), "batch norm must be in evaluation mode", "Call module.eval().")
    mean, variance = (np.asarray(call.array(name), np.float64) for name in ("running_mean", "running_var"))
    gain = 1 / np.sqrt(variance + call["eps"])
    if call["weight"] is not None:
        gain = gain * call.array("weight")
    offset = -mean * gain
    if call["bias"] is not None:
        offset = offset + call.array("bias")
    folded = _folded(call, x, gain, offset) if call.sole_reader else None
    result = folded or _scaled(call, x, gain, offset)
    return [result] if call.target == "aten._native_batch_norm_legit_no_training" else result


def _folded(call: Call, x: Value, gain: np.ndarray, offset: np.ndarray) -> Value | None:
    build = call.build
    op = build.producer(x.tensor)
    if not isinstance(op, Conv2D | DepthwiseConv2D | FullyConnected | TransposeConv) or op.inputs[1] in build.weights:
        return None
    channels = x.shape[1]
    if isinstance(op, FullyConnected) and len(x.shape) != 2:
        # The tensor's channels are the last dimension, those of the norm the second.
        return None
    weights = build.tensors[op.inputs[1]].data
    bias = build.tensors[op.inputs[2]].data if len(op.inputs) > 2 else np.zeros(channels)
    assert weights is not None
    assert bias is not None
    last = isinstance(op, DepthwiseConv2D)
    scaled = weights * (gain if last else gain.reshape(-1, *[1] * (weights.ndim - 1)))
    # The convolution keeps its name, its constants get new ones.
    inputs = (op.inputs[0], build.constant(scaled, "weights"), build.constant(bias * gain + offset, "bias"))
    build.replace(op, replace(op, inputs=inputs))
    return x


def _scaled(call: Call, x: Value, gain: np.ndarray, offset: np.ndarray) -> Value:
    build = call.build
    shape = (1, -1, *[1] * (len(x.shape) - 2))
    tensor = x.tensor
    for kind, factor in ((Mul, gain), (Add, offset)):
        operand = build.operand(Constant(factor.reshape(shape)), x.layout, tensor)
        tensor = build.add(kind, [tensor, operand], kind.KIND)
    return Value(tensor, Layout(x.layout.sizes, x.layout.dims))
