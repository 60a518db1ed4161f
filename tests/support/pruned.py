"""Layers of which kernels, blocks or single weights are zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir.encodings import Affine, Ternary
from tinygen.ir.graph import Graph

DENSITIES = (0.0, 0.05, 0.3, 0.5, 0.8, 1.0)


def pruned(graph: Graph, density: float, *, by: str = "kernels", seed: int = 0) -> Graph:
    """The graph with most of its first layer's weights zero: some filters wholly, some not at all.

    Args:
        graph: whose weights' code 0 is the integer 0.
        density: share of the weights that stay, on average; each filter has its own.
        by: "kernels" of an input and an output channel, "groups" of 4 input channels, or single "weights".
        seed: of the choice.
    """
    name = graph.ops[0].inputs[1]
    tensor = graph.tensors[name]
    assert isinstance(tensor.encoding, Affine | Ternary) and tensor.data is not None
    rng = np.random.default_rng([seed, int(100 * density)])
    shape = tensor.data.shape
    each = rng.beta(6 * density + 0.01, 6 * (1 - density) + 0.01, (shape[0], 1, 1, 1)) if 0 < density < 1 else density
    groups = -(-shape[3] // 4)
    draws = rng.random({"kernels": (shape[0], 1, 1, shape[3]), "groups": (shape[0], 1, 1, groups)}.get(by, shape))
    if by == "groups":
        draws = np.repeat(draws, 4, axis=3)[..., : shape[3]]
    kept = draws < np.broadcast_to(each, draws.shape)
    data = (tensor.data * kept).astype(tensor.data.dtype)
    return replace(graph, tensors={**graph.tensors, name: replace(tensor, data=data)})
