"""Whether gated networks beat narrow ones of the same cycles."""
