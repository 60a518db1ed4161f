"""Surgery: removes filters, layers and blocks from a network; the rest computes the same without them.

scores = criteria.weight_norm(network)
masks = criteria.filter_masks(scores, 0.5, groups=groups(network, example))
small = slim(network, example, masks)  # equals masked(network, example, masks); now train it further
shallow = remove_layers(small, example, ["blocks.3"])

graph = slim_graph(tinygen.export(network, example, calibration=x), {"conv1": keep})  # or after the export
"""

from tinygen.compress.surgery.channels import MIN_FILTERS
from tinygen.compress.surgery.filters import (
    Consistent,
    Group,
    consistent,
    groups,
    masked,
    slim,
    unread_filters,
)
from tinygen.compress.surgery.graphs import GraphMasks, consistent_graph, masked_graph, slim_graph
from tinygen.compress.surgery.layers import removable_layers, remove_layers, residual_blocks

__all__ = [
    "MIN_FILTERS",
    "Consistent",
    "GraphMasks",
    "Group",
    "consistent",
    "consistent_graph",
    "groups",
    "masked",
    "masked_graph",
    "removable_layers",
    "remove_layers",
    "residual_blocks",
    "slim",
    "slim_graph",
    "unread_filters",
]
