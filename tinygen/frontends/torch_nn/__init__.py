"""Modules made of tinygen.nn's layers, whose encodings are kept: a graph of integer layers."""

from tinygen.frontends.torch_nn.read import is_quantized, read_quantized
from tinygen.frontends.torch_nn.switches import read_switches

__all__ = ["is_quantized", "read_quantized", "read_switches"]
