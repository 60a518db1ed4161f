"""Converters of modules, functions and methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.frontends.torch_nn import gated, layers, masked, mixed, operands, pools, sums
from tinygen.frontends.torch_nn.builder import Builder
from tinygen.frontends.torch_nn.values import Coded, Pending, Raw, Value
from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.functions import ADDITIONS, CONCATENATIONS, MEANS, SUBTRACTIONS, VIEWS, check_module, module_of
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import ActivationQuantizer

Rule = Callable[[Builder, Any, Value, str], Value]


def apply(builder: Builder, module: nn.Module, x: Value, where: str) -> Value:
    """The output of a module.

    Raises:
        UnsupportedError: the module is not supported, or needs codes and its input has no quantizer.
    """
    check_module(module)
    for kind, rule in _MODULES:
        if isinstance(module, kind):
            return rule(builder, module, x, where)
    fix = "Use ReLU, Hardtanh, PReLU, or a quantizer alone, between a layer and the next quantizer."
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        fix = "tinygen.nn.convert makes quantized layers of Conv2d and Linear."
    raise UnsupportedError(f"{type(module).__name__} is not read in quantized networks", where=where, fix=fix)


def call(builder: Builder, function: Any, arguments: Sequence[Any], options: dict[str, Any], where: str) -> Value:
    """The output of a function or method call; tensors among the arguments are values.

    Raises:
        UnsupportedError: the function is not supported, or not with these arguments.
    """
    name = getattr(function, "__name__", str(function))
    if function in CONCATENATIONS:
        return _concatenate(builder, where, *arguments, **options)
    x, rest = (arguments[0] if arguments else None), tuple(arguments[1:])
    if not isinstance(x, Raw | Coded | Pending):
        raise UnsupportedError(f"{name} of something that is no tensor of the network", where=where)
    for functions, sign in ((ADDITIONS, 1), (SUBTRACTIONS, -1)):
        if function in functions:
            return _sum(builder, x, rest, options, where, sign)
    if any(isinstance(value, Raw | Coded | Pending) for value in (*rest, *options.values())):
        raise UnsupportedError(
            f"{name} of two tensors is not read in quantized networks",
            where=where,
            fix="Additions, subtractions and concatenations of branches are.",
        )
    if (module := module_of(function, rest, options)) is not None:
        return apply(builder, module, x, where)
    if function in MEANS:
        return pools.mean(builder, x, where, *rest, **options)
    if function in VIEWS and _flattens(x, rest):
        return pools.flatten(builder, nn.Flatten(), x, where)
    raise UnsupportedError(
        f"the function {name} is not read in quantized networks", where=where, fix="Use modules, or torch.flatten."
    )


def _flattens(x: Value, arguments: Sequence[Any]) -> bool:
    """Whether view or reshape with these arguments flattens all but the batch, which is 1."""
    shape = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments
    return len(shape) == 2 and (shape[1] == -1 or (shape[0] in (1, -1) and shape[1] == operands.elements(x)))


def _sum(builder: Builder, a: Value, rest: Sequence[Any], options: dict[str, Any], where: str, sign: int) -> Pending:
    other = rest[0] if rest else options.get("other")
    if not isinstance(other, Raw | Coded | Pending) or options.get("alpha", 1) != 1:
        raise UnsupportedError(
            "a sum with a number, or with a factor alpha",
            where=where,
            fix="Put it into the bias of the layer in front.",
        )
    return sums.add(builder, a, other, where, sign)


def _concatenate(builder: Builder, where: str, tensors: Sequence[Any] = (), dim: int = 0) -> Coded:
    if not all(isinstance(part, Raw | Coded | Pending) for part in tensors):
        raise UnsupportedError("a concatenation with something that is no tensor of the network", where=where)
    return sums.concatenate(builder, tensors, dim, where)


def _batch_norm(builder: Builder, module: nn.BatchNorm2d, x: Value, where: str) -> Pending:
    pending = operands.pending(builder, x, where)
    if pending.chain.channels != module.num_features:
        raise UnsupportedError(
            f"a batch norm of {module.num_features} features behind {pending.chain.channels} channels",
            where=where,
            fix="Put it in front of the flattening.",
        )
    gamma = 1.0 if module.weight is None else module.weight.detach().double().numpy()
    beta = 0.0 if module.bias is None else module.bias.detach().double().numpy()
    mean, variance = (v.detach().double().numpy() for v in (module.running_mean, module.running_var))
    return pending.then(pending.chain.batch_norm(mean, variance, module.eps, gamma, beta))


def _relu(builder: Builder, module: nn.ReLU, x: Value, where: str) -> Pending:
    pending = operands.pending(builder, x, where)
    return pending.then(pending.chain.relu())


def _clip(builder: Builder, module: nn.Hardtanh, x: Value, where: str) -> Pending:
    pending = operands.pending(builder, x, where)
    return pending.then(pending.chain.clip(module.min_val, module.max_val))


def _prelu(builder: Builder, module: nn.PReLU, x: Value, where: str) -> Pending:
    return _bent(operands.pending(builder, x, where), module.weight.detach().flatten().tolist(), where)


def _leaky_relu(builder: Builder, module: nn.LeakyReLU, x: Value, where: str) -> Pending:
    # Torch multiplies in float32, with the slope rounded to float32.
    return _bent(operands.pending(builder, x, where), [float(torch.tensor(module.negative_slope).float())], where)


def _bent(pending: Pending, slopes: Sequence[float], where: str) -> Pending:
    channels = pending.chain.channels
    if len(slopes) not in (1, channels):
        raise UnsupportedError(f"{len(slopes)} slopes behind {channels} channels", where=where, fix="Flatten later.")
    if min(slopes) < 0:
        raise UnsupportedError(
            f"a slope of {min(slopes):.3g}: values no longer rise with the accumulator",
            where=where,
            fix="Keep slopes from 0 on: clamp them in training (weight.data.clamp_(min=0)).",
        )
    exact = [Fraction(slope) for slope in slopes]
    return pending.bent(exact * (channels if len(exact) == 1 else 1))


def _same(builder: Builder, module: nn.Module, x: Value, where: str) -> Value:
    return x


_MODULES: tuple[tuple[type, Rule], ...] = (
    (GatedConv2d, gated.convolution),
    (MaskedConv2d, masked.convolution),
    (CondConv2d, mixed.convolution),
    (QuantConv2d, layers.convolution),
    (QuantLinear, layers.dense),
    (ActivationQuantizer, layers.activation_quantizer),
    (nn.BatchNorm2d, _batch_norm),
    (nn.BatchNorm1d, _batch_norm),
    (nn.Hardtanh, _clip),  # ReLU6 is one
    (nn.ReLU, _relu),
    (nn.PReLU, _prelu),
    (nn.LeakyReLU, _leaky_relu),
    (nn.MaxPool2d, pools.largest),
    (nn.AvgPool2d, pools.average),
    (nn.AdaptiveAvgPool2d, pools.adaptive),
    (nn.Flatten, pools.flatten),
    (nn.Identity, _same),
    (nn.Dropout, _same),
    (nn.Dropout2d, _same),
)
