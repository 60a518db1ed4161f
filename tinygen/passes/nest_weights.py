"""Finds weights of few bits that can be derived from another switch's 8-bit codes, and shares those in flash.

Networks of switchable precision quantize the same real weights by one rule with different numbers of bits, and narrower
switches use a sub-array of them. `tinygen.ir.nesting` says when few bits are a function of 8; given weights are checked
code by code. The graph computes the same: kernels may read either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir.graph import Graph
from tinygen.ir.nesting import NESTED_BITS, PARENT_BITS, derived_codes, odd_level_bits
from tinygen.ir.network import Network, Switch
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.tensor import Tensor


def nest_weights(network: Network) -> Network:
    """The same network; `nested_in` of convolution weights holds the 8-bit codes that they can be derived from.

    Those that others are derived from hold themselves, so that a kernel may read what the others read.
    """
    if not network.is_switchable:
        return network
    parents = [data for switch in network for tensor in _weights(switch.graph) if (data := _parent(tensor)) is not None]
    parents.sort(key=lambda codes: -codes.size)
    nested = [_nested(one.graph, parents) for one in network]
    shared = {id(tensor.nested_in) for graph in nested for tensor in graph.tensors.values()}
    marked = [_marked(graph, shared) for graph in nested]
    return replace(network, switches=tuple(Switch(one.name, g) for one, g in zip(network, marked, strict=True)))


def _weights(graph: Graph) -> Iterator[Tensor]:
    for op in graph.ops:
        tensor = graph.tensors[op.inputs[1]] if isinstance(op, Conv2D) and not op.is_tflite else None
        if tensor is not None and tensor.is_constant:
            yield tensor


def _parent(weights: Tensor) -> np.ndarray | None:
    return weights.data if odd_level_bits(weights.encoding) == PARENT_BITS else None


def _nested(graph: Graph, parents: Sequence[np.ndarray]) -> Graph:
    found = {
        tensor.name: replace(tensor, nested_in=parent)
        for tensor in _weights(graph)
        if (parent := _find(tensor, parents)) is not None
    }
    return replace(graph, tensors={**graph.tensors, **found}) if found else graph


def _marked(graph: Graph, shared: set[int]) -> Graph:
    """Weights whose codes others read are nested in themselves."""
    own = {
        tensor.name: replace(tensor, nested_in=tensor.data)
        for tensor in _weights(graph)
        if tensor.nested_in is None and id(tensor.data) in shared
    }
    return replace(graph, tensors={**graph.tensors, **own}) if own else graph


def _find(weights: Tensor, parents: Sequence[np.ndarray]) -> np.ndarray | None:
    """The largest parent, other than the weights themselves, from a sub-array of which the weights can be derived."""
    bits, data = odd_level_bits(weights.encoding), weights.data
    if bits not in NESTED_BITS or data is None:
        return None
    for parent in parents:
        fits = parent.shape[1:-1] == data.shape[1:-1] and parent.shape[0] >= len(data)
        if fits and parent.shape[-1] >= data.shape[-1] and parent is not data:
            corner = parent[: len(data), ..., : data.shape[-1]]
            if np.array_equal(derived_codes(corner, PARENT_BITS, bits), data):
                return parent
    return None
