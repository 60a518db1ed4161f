"""Groups of consecutive filters: connectivity scores of whole blocks of kernels (Ganesh 2022, section 3.2.3).

G is the number of groups, of equal size, not the size of a group. A block is the set of kernels that connect one group
of input channels with one group of filters; it is kept or removed as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, fx, nn

from tinygen.compress.masks import prunable
from tinygen.compress.observe import Observer
from tinygen.compress.surgery.tracing import Tracer, refuse_decisions
from tinygen.errors import ModelError, UnsupportedError

Groups: TypeAlias = "int | Mapping[str, int | tuple[int, int]]"
"""Groups of each layer, or by its name: of filters and of input channels alike, or (of filters, of channels).

One number for all is taken as "at most": a layer of fewer channels has one group each.
"""


@dataclass(frozen=True)
class Grid:
    """Blocks of a layer: `rows` groups of filters by `columns` groups of input channels."""

    rows: int
    columns: int

    def spread(self, blocks: np.ndarray, shape: tuple[int, int]) -> Tensor:
        """[rows, columns] to [O, I]."""
        tall, wide = shape[0] // self.rows, shape[1] // self.columns
        return torch.from_numpy(np.repeat(np.repeat(blocks, tall, 0), wide, 1))


def grid_of(name: str, layer: nn.Module, groups: Groups) -> Grid:
    """The blocks of a layer.

    Raises:
        UnsupportedError: its channels cannot be split into that many equal groups.
    """
    rows, columns = layer.weight.shape[:2]
    if isinstance(groups, int):
        wanted = (min(groups, rows), min(groups, columns))
    else:
        given = groups.get(name, (rows, columns))
        wanted = (given, given) if isinstance(given, int) else given
    if min(wanted) < 1 or rows % wanted[0] or columns % wanted[1]:
        raise UnsupportedError(
            f"{wanted[0]} x {wanted[1]} groups of {rows} filters and {columns} input channels",
            where=name,
            fix="Give numbers of groups that divide them.",
        )
    return Grid(*wanted)


def slices(width: int, groups: int) -> list[slice]:
    """Consecutive groups of equal size."""
    size = width // groups
    return [slice(i * size, (i + 1) * size) for i in range(groups)]


def connected(observer: Observer, exclude: Collection[str] = ()) -> dict[str, nn.Module]:
    """Layers whose connections can be ranked: all but the first, which reads no filters, and those in `exclude`.

    Convolutions in groups are left whole (in a depthwise one a kernel is a filter), as are layers of one input channel.

    Raises:
        ModelError: `exclude` names no layer, or nothing is left.
    """
    return connections(observer.network, observer.layers, exclude)


def order_of(network: nn.Module) -> tuple[str, ...]:
    """Convolutions and dense layers as they run; as they are registered, where torch.fx cannot trace the network.

    Raises:
        UnsupportedError: the network has decisions (early exits, skipped blocks, experts), so its order depends on
            data.
    """
    refuse_decisions(network)
    names = prunable(network)
    try:
        nodes = Tracer().trace(network).nodes
    except (fx.proxy.TraceError, TypeError):
        return tuple(names)
    return tuple(str(node.target) for node in nodes if node.op == "call_module" and str(node.target) in names)


def connections(network: nn.Module, order: Sequence[str], exclude: Collection[str] = ()) -> dict[str, nn.Module]:
    """`connected`, of layers in this order."""
    layers = prunable(network)
    where = type(network).__name__
    if unknown := sorted(set(exclude) - set(layers)):
        fix = f"Layers: {', '.join(layers)}."
        raise ModelError(f"no layer {', '.join(unknown)} to exclude", where=where, fix=fix)
    names = [name for name in order[1:] if name not in exclude]
    found = {n: layers[n] for n in names if getattr(layers[n], "groups", 1) == 1 and layers[n].weight.shape[1] > 1}
    if not found:
        raise ModelError(
            "no layer with connections to rank", where=where, fix="It takes two layers, one behind another."
        )
    return found
