"""What quantized networks may be made of besides layers: functions, the modules they are, and limits of both."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from tinygen.errors import UnsupportedError

_FUNCTIONS: tuple[tuple[tuple[Any, ...], Callable[..., nn.Module]], ...] = (
    (("relu", "relu_", torch.relu, torch.relu_, functional.relu), lambda inplace=False: nn.ReLU()),
    ((functional.relu6,), lambda inplace=False: nn.ReLU6()),
    ((functional.hardtanh,), nn.Hardtanh),
    ((functional.leaky_relu,), nn.LeakyReLU),
    (("flatten", torch.flatten), lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim)),
    ((functional.max_pool2d, torch.max_pool2d), nn.MaxPool2d),
    ((functional.avg_pool2d,), nn.AvgPool2d),
    ((functional.adaptive_avg_pool2d,), nn.AdaptiveAvgPool2d),
    ((functional.dropout,), lambda p=0.5, training=True, inplace=False: nn.Dropout(p)),
    (("contiguous",), nn.Identity),
)
ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
SUBTRACTIONS = (operator.sub, operator.isub, torch.sub, "sub", "sub_")
CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
MEANS = ("mean", torch.mean)
VIEWS = ("view", "reshape", torch.reshape)


def module_of(function: Any, arguments: Sequence[Any], options: dict[str, Any]) -> nn.Module | None:
    """The module that a function is, called with these arguments behind its tensor; None if there is none."""
    for functions, module in _FUNCTIONS:
        if function in functions:
            return module(*arguments, **options)
    return None


def reads_batch(node: fx.Node) -> bool:
    """Whether a node of a trace reads the size of a batch: x.size(0), or x.shape[0] (x.shape itself is one, too)."""
    if node.op == "call_method":
        return node.target == "size" and (*node.args[1:], *node.kwargs.values()) == (0,)
    if node.target is getattr:
        return node.args[1] == "shape" and all(map(reads_batch, node.users))
    source = node.args[0] if node.target is operator.getitem else None
    return isinstance(source, fx.Node) and source.target is getattr and node.args[1] == 0


def check_module(module: nn.Module) -> None:
    """
    Raises:
        UnsupportedError: the module's arguments are not those of a pool, flattening or batch norm that can be exported.
    """
    if isinstance(module, nn.MaxPool2d):
        if module.ceil_mode or not _all(module.dilation, 1) or module.return_indices:
            raise UnsupportedError("a max pool with ceil_mode, dilation or return_indices", fix="Use padding instead.")
    elif isinstance(module, nn.AvgPool2d):
        if module.ceil_mode or not _all(module.padding, 0) or module.divisor_override:
            raise UnsupportedError(
                "an average pool with padding, ceil_mode or divisor_override",
                fix="Choose a kernel and stride that the image divides into.",
            )
    elif isinstance(module, nn.Flatten):
        if module.start_dim != 1 or module.end_dim not in (-1, 3):
            raise UnsupportedError(
                f"a flattening of dimensions {module.start_dim} to {module.end_dim}",
                fix="All but the first are flattened: torch.flatten(x, 1).",
            )
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not module.track_running_stats:
        raise UnsupportedError("a batch norm without running statistics", fix="Train it with track_running_stats=True.")


def _all(value: int | Sequence[int], expected: int) -> bool:
    return value == expected if isinstance(value, int) else set(value) == {expected}


def check_mean(dim: Any = None, keepdim: bool = False, dtype: Any = None) -> None:
    """
    Raises:
        UnsupportedError: a mean with these arguments is not over height and width.
    """
    dims = [dim] if isinstance(dim, int) else [] if dim is None else list(dim)
    if sorted(d % 4 for d in dims) != [2, 3] or dtype is not None:
        raise UnsupportedError(f"a mean over {dim}", fix="Means over height and width are read: (2, 3).")
