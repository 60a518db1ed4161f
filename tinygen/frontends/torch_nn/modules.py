"""What each module, and each function, makes of the values that reach it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain, Reach
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Pool, Raw, Steps, Value
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.integer_conv_2d import IntegerConv2D
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.ops.integer_pool_2d import IntegerSumPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.window import Padding, axis
from tinygen.ir.tensor import Tensor
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.quantizers import ActivationQuantizer

Rule = Callable[[Builder, Any, Value, str], Value]


def apply(builder: Builder, module: nn.Module, x: Value, where: str) -> Value:
    """The value behind a module.

    Raises:
        UnsupportedError: the module is not read, or needs codes and gets real values.
    """
    for kind, rule in _MODULES:
        if isinstance(module, kind):
            return rule(builder, module, x, where)
    raise UnsupportedError(
        f"{type(module).__name__} is not read in quantized networks", where=where,
        fix="tinygen.nn.convert makes quantized layers of Conv2d and Linear." if _is_float(module) else "",
    )  # fmt: skip


def _is_float(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)


def call(
    builder: Builder, function: Any, x: Value, arguments: tuple[Any, ...], options: dict[str, Any], where: str
) -> Value:
    """The value behind a function or method call."""
    for functions, module in _FUNCTIONS:
        if function in functions:
            return apply(builder, module(*arguments, **options), x, where)
    if function in ("mean", torch.mean):
        return _mean(builder, x, where, *arguments, **options)
    if function in ("view", "reshape") and len(arguments) == 2 and arguments[1] == -1:
        return _flatten(builder, None, x, where)
    name = getattr(function, "__name__", str(function))
    raise UnsupportedError(f"the function {name} is not read in quantized networks", where=where)


def _pending(x: Value, where: str) -> Pending:
    """The value as a chain; codes are the accumulators of a Requantize."""
    if isinstance(x, Pending):
        return x
    if isinstance(x, Raw):
        raise UnsupportedError(
            "the model's input has no quantizer", where=where, fix="Put tinygen.nn.InputQuant in front."
        )
    tensor = x.tensor
    channels = tensor.shape[-1]
    low, high = _ends(tensor)
    reach = Reach(np.full(channels, low), np.full(channels, high))
    chain = Chain.start(channels).affine(tensor.integer.scale[0])
    return Pending(Requantize, {}, (tensor.name,), tensor.shape, chain, reach, where, flat=x.flat)


def _ends(tensor: Tensor) -> tuple[int, int]:
    """Least and largest integer of a tensor's codes."""
    low, high = tensor.code_range
    integers = tensor.integer.integers(np.arange(low, high + 1).astype(tensor.dtype))
    return int(integers.min()), int(integers.max())


def _codes(builder: Builder, x: Value, where: str) -> Coded:
    """The value as codes; sums of codes are taken as they are, in 16 bits."""
    if isinstance(x, Coded):
        return x
    if isinstance(x, Pending):
        exact = builder.exact(x, f"{x.where}.sum") if x.op is IntegerSumPool2D else None
        if exact is not None:
            return exact
    raise UnsupportedError(
        "its input is real values that no quantizer has made codes of", where=where,
        fix="Put an activation quantizer of tinygen.nn in front (Affine8, ReLUQuant, Sign, ...).",
    )  # fmt: skip


def _activation_quantizer(builder: Builder, module: ActivationQuantizer, x: Value, where: str) -> Coded:
    boundaries, encoding = module.boundaries()
    if isinstance(x, Raw):
        return builder.add_input("input", _board_shape(x.shape), encoding)
    pending = _pending(x, where)
    return builder.quantize(pending, Steps(boundaries, module.lowest_code), encoding, where)


def _board_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def _input_of(builder: Builder, module: QuantConv2d | QuantLinear, x: Value, where: str) -> Coded:
    if module.input_quantizer is not None:
        return _activation_quantizer(builder, module.input_quantizer, x, f"{where}.input_quantizer")
    return _codes(builder, x, where)


def _conv(builder: Builder, module: QuantConv2d, x: Value, where: str) -> Pending:
    source = _input_of(builder, module, x, where).tensor
    if len(source.shape) != 4:
        raise UnsupportedError(f"a convolution of {list(source.shape)}", where=where, fix="Images are [N, C, H, W].")
    codes, encoding = module.weight_codes()
    rows, columns = _paddings(module)
    fields = {
        "padding": Padding.VALID, "stride": tuple(module.stride), "dilation": tuple(module.dilation),
        "row_padding": rows, "column_padding": columns,
    }  # fmt: skip
    geometry = zip(source.shape[1:3], module.kernel_size, module.stride, module.dilation, (rows, columns), strict=True)
    sizes = [axis(n, kernel, stride, gap, Padding.VALID, pad).output for n, kernel, stride, gap, pad in geometry]
    shape = (source.shape[0], *sizes, module.out_channels)
    return _mac(builder, module, IntegerConv2D, fields, source, np.moveaxis(codes, 1, -1), encoding, shape, where)


def _paddings(module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """(above, below), (left, right)."""
    if module.padding == "valid":
        return (0, 0), (0, 0)
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    rows, columns = module.padding
    return (int(rows), int(rows)), (int(columns), int(columns))


def _linear(builder: Builder, module: QuantLinear, x: Value, where: str) -> Pending:
    source = _input_of(builder, module, x, where)
    codes, encoding = module.weight_codes()
    scales = module.kernel_scales()
    if source.flat:
        codes = _columns_as_nhwc(codes, source.tensor)
        scales = None if scales is None else _columns_as_nhwc(scales, source.tensor)
    elif len(source.tensor.shape) != 2:
        raise UnsupportedError(
            f"a dense layer along one axis of {list(source.tensor.shape)}", where=where, fix="Flatten in front of it."
        )
    shape = (source.tensor.shape[0], module.out_features)
    return _mac(builder, module, IntegerFullyConnected, {}, source.tensor, codes, encoding, shape, where, scales)


def _columns_as_nhwc(codes: np.ndarray, source: Tensor) -> np.ndarray:
    """[O, C * H * W] of a flattened image to [O, H * W * C], as it lies on the board."""
    _, height, width, channels = source.shape
    image = codes.reshape(len(codes), channels, height, width)
    return np.moveaxis(image, 1, -1).reshape(len(codes), -1)


def _mac(
    builder: Builder, module: QuantConv2d | QuantLinear, op: type, fields: dict[str, Any], source: Tensor,
    codes: np.ndarray, encoding: Any, shape: tuple[int, ...], where: str, scales: np.ndarray | None = None,
) -> Pending:  # fmt: skip
    """Accumulators of a layer and what they stand for: x_scale * w_scale * accumulator + bias."""
    names = [source.name, builder.constant(f"{where}.weight", codes, encoding)]
    integers = encoding.integers(codes)
    scales = module.kernel_scales() if scales is None else scales
    if scales is not None:
        names.append(builder.constant(f"{where}.kernel_scales", scales, Affine("uint16", (1.0,), (0,))))
        inner = (1,) * (integers.ndim - 2)
        integers = integers * scales.astype(np.int64).reshape(len(scales), *inner, scales.shape[-1])
    low, high = _ends(source)
    reach = Reach.of_weights(integers, min(low, 0), max(high, 0))
    bias = 0.0 if module.bias is None else module.bias.detach().double().numpy()
    chain = Chain.start(len(codes)).affine(source.integer.scale[0]).affine(np.array(encoding.scale), bias)
    return Pending(op, fields, tuple(names), shape, chain, reach, where)


def _batch_norm(builder: Builder, module: nn.BatchNorm2d, x: Value, where: str) -> Pending:
    pending = _pending(x, where)
    if module.running_mean is None or module.running_var is None:
        raise UnsupportedError("a batch norm without running statistics", where=where)
    if pending.chain.channels != module.num_features:
        raise UnsupportedError(
            f"a batch norm of {module.num_features} features behind {pending.chain.channels} channels", where=where,
            fix="Put it in front of the flattening.",
        )  # fmt: skip
    gamma = 1.0 if module.weight is None else module.weight.detach().double().numpy()
    beta = 0.0 if module.bias is None else module.bias.detach().double().numpy()
    mean, variance = (v.detach().double().numpy() for v in (module.running_mean, module.running_var))
    return pending.then(pending.chain.batch_norm(mean, variance, module.eps, gamma, beta))


def _relu(builder: Builder, module: nn.ReLU, x: Value, where: str) -> Pending:
    pending = _pending(x, where)
    return pending.then(pending.chain.relu())


def _clip(builder: Builder, module: nn.Hardtanh, x: Value, where: str) -> Pending:
    pending = _pending(x, where)
    return pending.then(pending.chain.clip(module.min_val, module.max_val))


def _max_pool(builder: Builder, module: nn.MaxPool2d, x: Value, where: str) -> Value:
    if module.ceil_mode or _pair(module.dilation) != (1, 1):
        raise UnsupportedError("a pool with ceil_mode or dilation", where=where)
    kernel = _pair(module.kernel_size)
    stride, padding = _pair(module.stride or kernel), _pair(module.padding)
    if isinstance(x, Coded):
        channels = _image(builder, x, where).shape[3]
        return Coded(builder.max_pool(x.tensor, Pool(where, kernel, stride, padding, (True,) * channels), (1,), where))
    return _pending(x, where).pooled(where, kernel, stride, padding)


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _average_pool(builder: Builder, module: nn.AvgPool2d, x: Value, where: str) -> Pending:
    if module.ceil_mode or _pair(module.padding) != (0, 0) or module.divisor_override:
        raise UnsupportedError("an average pool with padding, ceil_mode or divisor_override", where=where)
    kernel = _pair(module.kernel_size)
    return _sum(builder, x, kernel, _pair(module.stride or kernel), where)


def _adaptive_pool(builder: Builder, module: nn.AdaptiveAvgPool2d, x: Value, where: str) -> Pending:
    _, height, width, _ = _image(builder, x, where).shape
    size = module.output_size
    rows, columns = (size, size) if isinstance(size, int) or size is None else size
    rows, columns = rows or height, columns or width
    if height % rows or width % columns:
        raise UnsupportedError(f"adaptive average of {height}x{width} to {rows}x{columns}", where=where)
    kernel = (height // rows, width // columns)
    return _sum(builder, x, kernel, kernel, where)


def _mean(builder: Builder, x: Value, where: str, dim: Any = None, keepdim: bool = False) -> Value:
    _, height, width, _ = _image(builder, x, where).shape
    dims = sorted(d % 4 for d in (dim if isinstance(dim, list | tuple) else [dim or 0]))
    if dims != [2, 3]:
        raise UnsupportedError(f"a mean over {dim}", where=where, fix="Means over height and width are read.")
    pooled = _sum(builder, x, (height, width), (height, width), where)
    return pooled if keepdim else _flatten(builder, None, pooled, where)


def _image(builder: Builder, x: Value, where: str) -> Tensor:
    tensor = _codes(builder, x, where).tensor
    if len(tensor.shape) != 4:
        raise UnsupportedError(f"a pool of {list(tensor.shape)}", where=where)
    return tensor


def _sum(builder: Builder, x: Value, kernel: tuple[int, int], stride: tuple[int, int], where: str) -> Pending:
    tensor = _image(builder, x, where)
    batch, height, width, channels = tensor.shape
    count = kernel[0] * kernel[1]
    low, high = _ends(tensor)
    reach = Reach(np.full(channels, low * count), np.full(channels, high * count))
    chain = Chain.start(channels).affine(tensor.integer.scale[0]).divide(float(count))
    shape = (batch, (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1, channels)
    fields = {"padding": Padding.VALID, "kernel": kernel, "stride": stride}
    return Pending(IntegerSumPool2D, fields, (tensor.name,), shape, chain, reach, where)


def _flatten(builder: Builder, module: nn.Flatten | None, x: Value, where: str) -> Value:
    if module is not None and (module.start_dim, module.end_dim) != (1, -1):
        raise UnsupportedError(f"a flattening of {module.start_dim} to {module.end_dim}", where=where)
    if isinstance(x, Pending):
        return Pending(**{**x.__dict__, "flat": x.flat or len(x.shape) == 4})
    if isinstance(x, Coded):
        return Coded(x.tensor, x.flat or len(x.tensor.shape) == 4)
    return Raw((x.shape[0], int(np.prod(x.shape[1:])))) if len(x.shape) != 4 else _flat_input(x, where)


def _flat_input(x: Raw, where: str) -> Raw:
    if x.shape[1] != 1:
        raise UnsupportedError(
            "an image of several channels, flattened before it is quantized", where=where,
            fix="Quantize it first: boards take images as NHWC.",
        )  # fmt: skip
    return Raw((x.shape[0], x.shape[2] * x.shape[3]))


def _same(builder: Builder, module: nn.Module, x: Value, where: str) -> Value:
    return x


_MODULES: tuple[tuple[type, Rule], ...] = (
    (QuantConv2d, _conv),
    (QuantLinear, _linear),
    (ActivationQuantizer, _activation_quantizer),
    (nn.BatchNorm2d, _batch_norm),
    (nn.BatchNorm1d, _batch_norm),
    (nn.Hardtanh, _clip),  # ReLU6 is one
    (nn.ReLU, _relu),
    (nn.MaxPool2d, _max_pool),
    (nn.AvgPool2d, _average_pool),
    (nn.AdaptiveAvgPool2d, _adaptive_pool),
    (nn.Flatten, _flatten),
    (nn.Identity, _same),
    (nn.Dropout, _same),
    (nn.Dropout2d, _same),
)

_FUNCTIONS: tuple[tuple[tuple[Any, ...], Callable[..., nn.Module]], ...] = (
    (("relu", "relu_", torch.relu, functional.relu), lambda inplace=False: nn.ReLU()),
    ((functional.relu6,), lambda inplace=False: nn.ReLU6()),
    ((functional.hardtanh,), nn.Hardtanh),
    (("flatten", torch.flatten), lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim)),
    ((functional.max_pool2d, torch.max_pool2d), nn.MaxPool2d),
    ((functional.avg_pool2d,), nn.AvgPool2d),
    ((functional.adaptive_avg_pool2d,), nn.AdaptiveAvgPool2d),
    ((functional.dropout,), lambda *_, **__: nn.Identity()),
    (("contiguous",), nn.Identity),
    ((operator.pos,), nn.Identity),
)
