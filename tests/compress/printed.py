"""Tables 4.4 and 4.5 of M. Ravi Ganesh's thesis (Michigan, 2022): limits of VGG16 on CIFAR-10, in percent."""

from __future__ import annotations

from itertools import pairwise

GAMMA: dict[str, tuple[float, ...]] = {
    "1": (0, 0, 21.02, 51.02, 61.03, 86.03, 91.01, 91.01, 96.02, 91.01, 91.01, 66.01, 91.01, 0),
    "w": (0, 0, 21.02, 51.02, 51.02, 91.01, 91.01, 91.01, 96.02, 91.01, 91.01, 66.01, 91.01, 0),
    "w2": (0, 0, 21.02, 51.02, 51.02, 91.01, 91.01, 91.01, 96.02, 91.01, 91.01, 66.01, 91.01, 0),
    "exp(-w2/2)": (0, 0, 21.02, 51.02, 71.02, 86.03, 91.01, 91.01, 96.02, 91.01, 91.01, 66.01, 91.01, 0),
    "act": (0, 0, 0, 96.02, 51.02, 96.02, 86.03, 91.01, 96.02, 91.01, 91.01, 61.03, 91.01, 0),
    "w act": (0, 0, 41.01, 56.03, 61.03, 81.03, 86.03, 91.01, 96.02, 96.02, 91.01, 61.03, 91.01, 0),
    "exp(-w2 act2/2)": (0, 0, 36.03, 61.03, 56.03, 86.03, 96.02, 86.03, 91.01, 96.02, 81.03, 71.02, 86.03, 0),
}
"""By phi, of layers 1 to 14."""

PRUNED = {
    "1": 84.02, "w": 84.12, "w2": 84.17, "exp(-w2/2)": 84.46, "act": 76.13, "w act": 82.59, "exp(-w2 act2/2)": 76.99,
}  # fmt: skip
"""Weights removed, percent, by phi."""

BLOCKS = 64 * 64
"""G = 64 groups of filters by 64 of input channels."""

_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG16_WEIGHTS = (*(9 * a * b for a, b in pairwise(_WIDTHS)), 512 * 10)
"""Thirteen 3x3 convolutions and one dense layer."""
