"""PyTorch layers to train low-bit networks with."""

from tinygen.nn import quantizers

__all__ = ["quantizers"]
