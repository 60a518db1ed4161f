"""Static channel pruning: every layer narrower by one factor, before training.

R. Raju, thesis, 2022, section 3.4.2: "reduce the capacity of the model prior to training". A width multiplier, not a
selection from a trained network: the honest rival of dynamic methods of the same density. Widths are ceil(d C).
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.compress.criteria.selection import layer_sizes
from tinygen.compress.surgery import groups, slim
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import UnsupportedError


def static_channels(network: nn.Module, example: Example, density: float) -> dict[str, Tensor]:
    """Masks, bool [O] by layer, that keep the first ceil(d C) filters of each layer; coupled layers alike.

    Args:
        density: d, above 0 and up to 1; read as the decimal number it prints as, so that 0.55 of 100 is 55.

    Raises:
        UnsupportedError: another density, or the network cannot be traced.
        ModelError: the network does not take the example.
    """
    if not 0.0 < density <= 1.0:
        raise UnsupportedError(f"a density of {density}", where="static_channels", fix="Use 0 < density <= 1.")
    share = Fraction(str(density))
    found = groups(network, example)
    masks = {name: torch.zeros(size, dtype=torch.bool) for name, size in layer_sizes(found).items()}
    for group in found:
        count = len(group.members[0][1])
        kept = -(-share.numerator * count // share.denominator) if group.prunable else count
        for name, index in group.members:
            masks[name][index[:kept]] = True
    return masks


def narrowed(network: nn.Module, example: Example, density: float, seed: int) -> nn.Module:
    """The network of d times the width, with new random weights, to be trained from scratch.

    Args and errors as `static_channels`; `seed` of the weights (torch's generator is left as it was).
    """
    result = slim(network, example, static_channels(network, example, density))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in result.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return result
