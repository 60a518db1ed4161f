"""Networks of tinygen.nn's modules in float: the same modules and parameters, nothing quantized."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinygen.nn import Affine8, CondConv2d, EarlyExit, MixtureOfExperts, SkipBlock, WeightQuantizer
from tinygen.nn.mask_predictors import MaskPredictor

_RANGES = ("running_range", "batches", "mixed_range")


def in_float(network: nn.Module) -> nn.Module:
    """A copy that computes in float, in training and evaluation; decisions are those of the real scores."""
    network = copy.deepcopy(network)
    for part in network.modules():
        if isinstance(part, Affine8):
            part.forward = torch.relu if part.relu else _same
        elif isinstance(part, WeightQuantizer):
            part.forward = _same
        elif isinstance(part, CondConv2d):
            part.forward = _mixed(part)
        elif isinstance(part, MaskPredictor):
            part.forward = _predicted(part)
        elif isinstance(part, EarlyExit):
            part.leaves = _sure(part)
        elif isinstance(part, SkipBlock):
            part.opens = lambda logit: logit >= 0
        elif isinstance(part, MixtureOfExperts):
            part.forward = _routed(part)
    return network


def float_weights(network: nn.Module) -> dict[str, Tensor]:
    """The state of a float network: no ranges."""
    return {name: value for name, value in network.state_dict().items() if name.rsplit(".", 1)[-1] not in _RANGES}


def _same(x: Tensor, kept: Tensor | None = None) -> Tensor:
    return x


def _mixed(part: CondConv2d):
    def forward(x: Tensor) -> Tensor:
        logits = part.router(x.mean((2, 3)))
        shares = torch.softmax(logits, 1) if part.routing == "softmax" else torch.sigmoid(logits)
        weights = torch.einsum("ne,eoikl->noikl", shares, part.weight).flatten(0, 1)
        rows = x.reshape(1, -1, *x.shape[2:])
        made = functional.conv2d(rows, weights, None, part.stride, part.padding, groups=len(x))
        return made.reshape(len(x), part.out_channels, *made.shape[2:])

    return forward


def _predicted(part: MaskPredictor):
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        peaks = x.amax((2, 3))
        logits = functional.linear(torch.softmax(peaks, 1) if part.softmax else peaks, part.weight, part.bias)
        return logits, logits.detach().double()

    return forward


def _sure(part: EarlyExit):
    def leaves(logits: Tensor) -> Tensor:
        best = logits.topk(2, 1).values
        return best[:, 0] - best[:, 1] >= part.threshold

    return leaves


def _routed(part: MixtureOfExperts):
    """The k largest of a softmax over all."""

    def forward(x: Tensor) -> Tensor:
        shares = torch.softmax(part.router(x).flatten(1), 1)
        part.chosen = shares.topk(part.k, 1).indices
        mask = torch.zeros_like(shares).scatter(1, part.chosen, 1.0)
        said = torch.stack([part.quantizer(expert(x)) for expert in part.experts], 1)
        return part.quantizer(((shares * mask)[:, :, None, None, None] * said).sum(1))

    return forward
