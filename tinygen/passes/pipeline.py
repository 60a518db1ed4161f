"""The passes that every build runs, in order. Each returns an equivalent graph."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tinygen.ir.branch import with_branches
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network, Switch
from tinygen.passes.branch_constants import constants_into_branches
from tinygen.passes.constant_outputs import constant_outputs
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.fold_pad import fold_pad
from tinygen.passes.fold_ranges import fold_ranges
from tinygen.passes.nest_weights import nest_weights
from tinygen.passes.remove_channels import remove_channels
from tinygen.passes.remove_dead import remove_dead
from tinygen.passes.ring_buffers import ring_buffers
from tinygen.passes.space_to_batch import without_batches

_CHANNELS = 4
"""In a word of int8 codes."""


def simplify(graph: Graph, *, integers: bool = True) -> Graph:
    """Folds what does not depend on the input, removes what nothing reads (operators, tensors, channels), and merges
    padding into convolutions, and blocks around them into their dilation.

    Branches are simplified too; their inputs, other than constants, and outputs stay as they are.

    Args:
        integers: also remove channels of layers on integer codes.
    """
    graph = constants_into_branches(fold_constants(constant_outputs(without_batches(graph))))
    graph = remove_dead(with_branches(graph, partial(simplify, integers=integers)))
    while True:
        # Without its unread channels, a tensor may be constant as a whole.
        smaller = remove_channels(remove_dead(fold_constants(fold_ranges(graph))), _CHANNELS, integers=integers)
        if smaller.ops == graph.ops:
            return ring_buffers(fold_pad(smaller))
        graph = smaller


def simplify_network(network: Network) -> Network:
    """`simplify` for each switch; then finds weights that switches share.

    Shared weights are sub-arrays of each other, so with several switches integer layers keep all their channels.
    """
    alone = not network.is_switchable
    simple = replace(network, switches=tuple(Switch(one.name, simplify(one.graph, integers=alone)) for one in network))
    return nest_weights(simple)
