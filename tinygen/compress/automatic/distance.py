"""How close weights are to their quantized values: the angle (4.3), the Euclidean distance (4.4), and interactions.

A small training step changes the code of a weight near a quantizer boundary. Filters with many such weights have not
converged, and are removed first. The thesis found (figure 4.3) that a filter's own distance ranks it badly, and that of
the kernels in the next layer which read its output ranks it well: if a feature map carries no information, the kernels
that read it do not converge.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.compress.surgery.channels import ChannelMap
from tinygen.errors import ModelError
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.quantizers import Symmetric8

METRICS = ("angle", "euclidean")
Layer = QuantConv2d | QuantLinear


def closeness(v: Tensor, quantized: Tensor, metric: str) -> Tensor:
    """Closeness of vectors along the last axis; larger is closer.

    "angle": the cosine of the angle between v and theta(v) (4.3), at most 1; 0 where either vector is zero.
    "euclidean": minus their distance (4.4), at most 0.

    Args:
        v, quantized: [..., n], float64.

    Raises:
        ModelError: another metric.
    """
    if metric == "angle":
        lengths = v.norm(dim=-1) * quantized.norm(dim=-1)
        return (v * quantized).sum(-1) / torch.where(lengths > 0, lengths, 1.0)
    if metric == "euclidean":
        return -(v - quantized).norm(dim=-1)
    raise ModelError(f"there is no metric '{metric}'", where="closeness", fix=f"Metrics: {', '.join(METRICS)}.")


@torch.no_grad()
def _pair(layer: Layer) -> tuple[Tensor, Tensor]:
    """Weights and quantized weights [O, I, taps], float64."""
    shape = (*layer.weight.shape[:2], -1)
    return layer.weight.double().reshape(shape), layer.quantized_weight().double().reshape(shape)


def filter_closeness(layer: Layer, metric: str = "angle") -> Tensor:
    """Closeness of each filter, taken as one vector, [O]: what the thesis calls pruning by the filter (table 4.4)."""
    v, quantized = _pair(layer)
    return closeness(v.flatten(1), quantized.flatten(1), metric)


def kernel_closeness(layer: Layer, metric: str = "angle") -> Tensor:
    """Closeness of each kernel, [O, I].

    A kernel of one weight has no useful angle: its cosine is 1 or -1. Use `interactions`, which takes all weights that
    read a channel together in such layers.
    """
    v, quantized = _pair(layer)
    return closeness(v, quantized, metric)


def _by_channel(layer: Layer, inputs: np.ndarray, depthwise: bool, metric: str) -> dict[int, Tensor]:
    """For each channel that a layer reads, the mean closeness of its kernels for it (0-dimensional).

    Args:
        inputs: numbers of the layer's input channels [I]; features of a flattened image have that of their channel.
    """
    v, quantized = _pair(layer)
    if depthwise:
        v, quantized = v.transpose(0, 1), quantized.transpose(0, 1)
    found = {}
    for number in np.unique(inputs):
        columns = torch.from_numpy(np.flatnonzero(inputs == number))
        a, b = v[:, columns].flatten(1), quantized[:, columns].flatten(1)
        # [ours] Kernels of one weight have no angle: the weights of all filters for the channel are one vector.
        found[int(number)] = closeness(a, b, metric).mean() if a.shape[1] > 1 else closeness(a.T, b.T, metric)[0]
    return found


def is_low_bit(layer: object) -> bool:
    """Whether a layer's weights have fewer than 8 bits; wider weights are always close to their quantized values."""
    return isinstance(layer, Layer) and not isinstance(layer.weight_quantizer, Symmetric8)


def interactions(network: nn.Module, channels: ChannelMap, metric: str = "angle") -> dict[int, Tensor]:
    """By channel number, the mean closeness of the kernels that read the channel (section 4.3.3).

    Channels that no layer with low-bit weights reads are left out: the thesis ranks them by their own filters.

    Args:
        network: of quantized layers.
        channels: `surgery.channel_map` of it.
    """
    found: dict[int, list[Tensor]] = {}
    for name, layer in channels.layers.items():
        module = network.get_submodule(name)
        if is_low_bit(module) and (layer.groups == 1 or layer.depthwise):
            for number, value in _by_channel(module, layer.inputs, layer.depthwise, metric).items():
                found.setdefault(number, []).append(value)
    return {number: torch.stack(values).mean() for number, values in found.items()}
