"""Surgery: filters, layers and blocks leave a network, and what remains computes the same without them."""

from tinygen.compress.surgery.filters import MIN_FILTERS, Consistent, Group, consistent, groups, masked, slim

__all__ = ["MIN_FILTERS", "Consistent", "Group", "consistent", "groups", "masked", "slim"]
