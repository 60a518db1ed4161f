"""A cache of kernel plans: one build asks several times for a layer's plans, and so does the next build."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import fields

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.tensor import Tensor
from tinygen.lowering.plan import Kernel, KernelPlan

_LIMIT_BYTES = 64 << 20
_FIELDS = tuple(field.name for field in fields(Tensor))

Plans = dict[Kernel, tuple[KernelPlan, ...]]


class KnownPlans:
    """Plans by kernel, of the layers used last.

    Args:
        limit_bytes: of constants in the plans, approximately; one layer is always kept.
    """

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._layers: OrderedDict[Hashable, Plans] = OrderedDict()
        self._bytes: dict[Hashable, int] = {}
        self._total = 0

    def variants(self, kernel: Kernel, node: Node, layer: Hashable) -> tuple[KernelPlan, ...]:
        """As `Kernel.variants`.

        Args:
            layer: `layer_key` of the node.
        """
        if layer is None:
            return kernel.variants(node)
        plans = self._layers.setdefault(layer, {})
        self._layers.move_to_end(layer)
        if kernel not in plans:
            plans[kernel] = kernel.variants(node)
            size = sum(plan.weight_bytes for plan in plans[kernel])
            self._bytes[layer] = self._bytes.get(layer, 0) + size
            self._total += size
            while len(self._layers) > 1 and self._total > self._limit:
                self._total -= self._bytes.pop(self._layers.popitem(last=False)[0], 0)
        return plans[kernel]


class _LayerKey:
    """A tuple that computes its hash once: it is looked up for each kernel."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, parts: tuple[Hashable, ...]) -> None:
        self._parts, self._hash = parts, hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _LayerKey) and self._parts == other._parts)


def layer_key(node: Node) -> Hashable:
    """A key that is equal for equivalent nodes, constants included; None if it cannot be computed."""
    try:
        return _LayerKey((node.op, *(tensor and _tensor_key(tensor) for tensor in (*node.inputs, *node.outputs))))
    except TypeError:
        return None


def _tensor_key(tensor: Tensor) -> tuple[Hashable, ...]:
    return tuple(_value_key(getattr(tensor, name)) for name in _FIELDS)


def _value_key(value: Hashable | np.ndarray) -> Hashable:
    if not isinstance(value, np.ndarray):
        return value
    digest = hashlib.blake2b(value.tobytes(), digest_size=16).digest()
    return value.dtype.str, value.shape, digest
