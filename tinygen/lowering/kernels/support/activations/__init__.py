"""How activations are read."""
