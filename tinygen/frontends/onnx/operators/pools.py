"""Pooling and means."""

from __future__ import annotations

import math
from dataclasses import replace

from tinygen.errors import UnsupportedError
from tinygen.frontends.aten.layout import NHWC, NLC, Layout
from tinygen.frontends.onnx.axes import axes_of
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.planes import plane_of
from tinygen.frontends.onnx.registry import converts
from tinygen.frontends.onnx.sources.pools import AverageSource, max_pool
from tinygen.frontends.onnx.values import Coded, Pending, PendingPool, Value
from tinygen.frontends.onnx.windows import Window, check_fits, window_of
from tinygen.ir.tensor import Shape


def _pooled(shape: Shape, window: Window) -> Layout:
    """The layout of a pool's output, an image or a signal. `shape` is ONNX's, of the input."""
    rank = len(shape)
    sides = window.output(*_sides(shape))[4 - rank :]
    return Layout.dense((*shape[:2], *sides), NHWC if rank == len(NHWC) else NLC)


def _sides(shape: Shape) -> tuple[int, int]:
    """(rows, columns) of an image, or of a signal, which has one row.

    Raises:
        UnsupportedError: the shape is neither's.
    """
    if len(shape) not in (3, 4):
        raise UnsupportedError(f"a pool over {list(shape)}", fix="tinygen pools [N, C, H, W] and [N, C, L].")
    height, width = (1, *shape[2:])[-2:]
    return height, width


def _window(operator: Operator, shape: Shape) -> Window:
    window = window_of(operator, operator.integers_of("kernel_shape", ()), *_sides(shape))
    operator.require(window.dilation == (1, 1), "a dilated pool", "Use a pool without dilation.")
    check_fits(operator, window, *_sides(shape))
    return window


@converts("MaxPool")
def max_pool_(operator: Operator) -> Value:
    operator.require(1 not in operator.taken, "the indices of the maxima are not supported", "Use the maxima alone.")
    value = operator.value(0)
    if not isinstance(value, Pending | Coded):
        raise operator.unquantized(0)
    plane = plane_of(operator, operator.integers_of("kernel_shape", ()))
    flat = replace(value, layout=plane.flat(value.layout))
    window = _window(plane.operator, flat.shape)
    found = _maximum_later(operator, flat, window) if isinstance(flat, Pending) else _maximum(operator, flat, window)
    return replace(found, layout=plane.whole(found.layout))


def _maximum(operator: Operator, value: Coded, window: Window) -> Coded:
    x = operator.builder.as_image(value)
    return replace(value, tensor=max_pool(operator.builder, x, window), layout=_pooled(value.shape, window))


def _maximum_later(operator: Operator, value: Pending, window: Window) -> Pending:
    """A maximum of floats, postponed until their quantizer is known: then codes are compared."""
    rank = len(value.shape)
    fits = value.layout.is_stored_as(NHWC if rank == len(NHWC) else NLC)
    operator.require(fits, f"a pool over {list(value.shape)} in another order", "Quantize in front of the pool.")
    rising = tuple(gain >= 0 for gain in value.chain.gain)
    pools = (*value.pools, PendingPool(window, rising))
    return replace(value, layout=_pooled(value.shape, window), pools=pools)


@converts("GlobalMaxPool")
def global_max_pool(operator: Operator) -> Value:
    value = operator.value(0)
    if isinstance(value, Pending):
        return _maximum_later(operator, value, _whole(value.shape))
    coded = operator.coded(0)
    return _maximum(operator, coded, _whole(coded.shape))


def _whole(shape: Shape) -> Window:
    return Window(_sides(shape), (1, 1), (1, 1), (0, 0), (0, 0))


def _average(operator: Operator, value: Coded, window: Window) -> Pending:
    x = operator.builder.as_image(value)
    whole = not window.is_padded or window.counts_padding
    source = AverageSource(operator.builder, x, window, math.prod(window.kernel) if whole else None)
    return Pending(source, source.chain(), _pooled(value.shape, window))


@converts("AveragePool")
def average_pool(operator: Operator) -> Value:
    ceiled = operator.attribute("ceil_mode", 0) and operator.attribute("count_include_pad", 0)
    operator.require(not ceiled, "ceil_mode together with count_include_pad", "Use one of the two.")
    value = operator.coded(0)
    plane = plane_of(operator, operator.integers_of("kernel_shape", ()))
    flat = replace(value, layout=plane.flat(value.layout))
    found = _average(operator, flat, _window(plane.operator, flat.shape))
    return replace(found, layout=plane.whole(found.layout))


@converts("GlobalAveragePool")
def global_average_pool(operator: Operator) -> Value:
    value = operator.coded(0)
    return _average(operator, value, _whole(value.shape))


@converts("ReduceMean")
def reduce_mean(operator: Operator) -> Value:
    """A mean over the rows and columns of an image; other means have no pool operator."""
    value = operator.coded(0)
    axes = axes_of(operator, len(value.shape))
    if axes is None:
        return value
    image = len(value.shape) in (3, 4) and axes == list(range(2, len(value.shape)))
    operator.require(image, f"a mean over axes {axes}", "Use GlobalAveragePool.")
    pending = _average(operator, value, _whole(value.shape))
    if operator.attribute("keepdims", 1):
        return pending
    layout = pending.layout.viewed(pending.shape[:2])
    assert layout is not None
    return replace(pending, layout=layout)
