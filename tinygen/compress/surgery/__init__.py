"""Surgery: filters, layers and blocks leave a network, and what remains computes the same without them."""

from tinygen.compress.surgery.filters import (
    MIN_FILTERS,
    Consistent,
    Group,
    consistent,
    groups,
    masked,
    slim,
    unread_filters,
)
from tinygen.compress.surgery.layers import removable_layers, remove_layers, residual_blocks

__all__ = [
    "MIN_FILTERS",
    "Consistent",
    "Group",
    "consistent",
    "groups",
    "masked",
    "removable_layers",
    "remove_layers",
    "residual_blocks",
    "slim",
    "unread_filters",
]
