"""Pooling and means."""

from __future__ import annotations

from dataclasses import replace

from tinygen.frontends.aten.layout import NHWC, Layout
from tinygen.frontends.onnx.registry import Operator, converts
from tinygen.frontends.onnx.sources.pools import AverageSource, max_pool
from tinygen.frontends.onnx.values import Coded, Pending, PendingPool, Value, from_image
from tinygen.frontends.onnx.windows import Window, window_of
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Shape


def _pooled(shape: Shape, window: Window) -> Layout:
    """The layout of a pool's output, an image. `shape` is ONNX's."""
    pads = (window.rows, window.columns)
    sizes = [axis(shape[i + 2], window.kernel[i], window.stride[i], 1, Padding.VALID, pads[i]).output for i in range(2)]
    return Layout.dense((*shape[:2], *sizes), NHWC)


def _window(operator: Operator, height: int, width: int) -> Window:
    window = window_of(operator, operator.integers_of("kernel_shape", ()), height, width)
    operator.require(window.dilation == (1, 1), "a dilated pool", "Use a pool without dilation.")
    return window


@converts("MaxPool")
def max_pool_(operator: Operator) -> Value:
    operator.require(len(operator.output_names) == 1, "the indices of the maxima are not supported")
    value = operator.value(0)
    if isinstance(value, Pending):
        return _maximum_later(operator, value, _window(operator, *_image(operator, value)))
    coded = operator.value(0)
    if not isinstance(coded, Coded):
        raise operator.unquantized(0)
    x = operator.builder.as_image(coded)
    pooled = max_pool(operator.builder, x, _window(operator, *x.shape[1:3]))
    return replace(coded, tensor=pooled, layout=from_image(pooled).layout)


def _image(operator: Operator, value: Pending) -> tuple[int, int]:
    fits = len(value.shape) == len(NHWC) and value.layout.is_stored_as(NHWC)
    operator.require(fits, f"a pool over {list(value.shape)} in another order", "Quantize in front of the pool.")
    return value.shape[2], value.shape[3]


def _maximum_later(operator: Operator, value: Pending, window: Window) -> Pending:
    """A maximum of floats, postponed until their quantizer is known: then codes are compared."""
    del operator
    rising = tuple(gain >= 0 for gain in value.chain.gain)
    layout = _pooled(value.shape, window)
    return replace(value, layout=layout, pools=(*value.pools, PendingPool(window, rising)))


@converts("GlobalMaxPool")
def global_max_pool(operator: Operator) -> Value:
    value = operator.value(0)
    if isinstance(value, Pending):
        size = _image(operator, value)
        return _maximum_later(operator, value, _whole(size[0], size[1]))
    coded = operator.coded(0)
    x = operator.builder.as_image(coded)
    return from_image(max_pool(operator.builder, x, _whole(*x.shape[1:3])))


def _whole(height: int, width: int) -> Window:
    return Window((height, width), (1, 1), (1, 1), (0, 0), (0, 0))


def _average(operator: Operator, window: Window | None) -> Pending:
    x = operator.builder.as_image(operator.coded(0))
    found = window or _window(operator, *x.shape[1:3])
    whole = not found.is_padded or found.counts_padding
    divisor = found.kernel[0] * found.kernel[1] if whole else None
    source = AverageSource(operator.builder, x, found, divisor)
    return Pending(source, source.chain(), _pooled((x.shape[0], x.shape[3], *x.shape[1:3]), found))


@converts("AveragePool")
def average_pool(operator: Operator) -> Value:
    ceiled = operator.attribute("ceil_mode", 0) and operator.attribute("count_include_pad", 0)
    operator.require(not ceiled, "ceil_mode together with count_include_pad", "Use one of the two.")
    return _average(operator, None)


@converts("GlobalAveragePool")
def global_average_pool(operator: Operator) -> Value:
    x = operator.builder.as_image(operator.coded(0))
    return _average(operator, _whole(*x.shape[1:3]))


@converts("ReduceMean")
def reduce_mean(operator: Operator) -> Value:
    """A mean over the rows and columns of an image; other means have no pool operator."""
    value = operator.coded(0)
    given = operator.array(1, "axes").reshape(-1).tolist() if operator.has(1) else operator.integers_of("axes", ())
    axes = sorted(operator.axis(int(entry), len(value.shape)) for entry in given)
    operator.require(len(value.shape) == 4 and axes == [2, 3], f"a mean over axes {axes}", "Use GlobalAveragePool.")
    x = operator.builder.as_image(value)
    pending = _average(operator, _whole(*x.shape[1:3]))
    if operator.attribute("keepdims", 1):
        return pending
    layout = pending.layout.viewed(pending.shape[:2])
    assert layout is not None
    return replace(pending, layout=layout)
