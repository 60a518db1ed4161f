"""The auxiliary classifier of self-distillation: the head of an exit that is only used for training.

S. Elkerdawy, thesis, University of Alberta, 2022, section 7.2.4 and figure 7.4: features [N, P, d] of P patches are
expanded to 4 d by a linear layer, unfolded to [N, 4 d, sqrt(P), sqrt(P)], and pass through a convolution, batch norm
and GELU to a linear layer that classifies. Left open there and chosen here: a 3x3 convolution that keeps the size and
goes back to d channels, and the mean over the pixels in front of the last layer.

Feature maps [N, d, H, W] of a convolutional network are unfolded already; their linear layer is a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

from torch import Tensor, nn

from tinygen.errors import ModelError

EXPANSION = 4


class AuxiliaryClassifier(nn.Module):
    """Logits [N, classes] of features [N, P, d] or [N, d, H, W].

    Args:
        features: d.
        classes: number of classes.
        activation: GELU in the thesis; heads that run on a board need a ReLU or an activation that is exported as one.

    Raises:
        ModelError: when called, if the number of patches is not a square; drop a class token first.
    """

    def __init__(self, features: int, classes: int, activation: Callable[[], nn.Module] = nn.GELU) -> None:
        super().__init__()
        wide = EXPANSION * features
        self.expand = nn.Conv2d(features, wide, 1)
        self.conv = nn.Conv2d(wide, features, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(features)
        self.activation = activation()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.bn(self.conv(self.expand(_unfolded(x) if x.dim() == 3 else x))))
        return self.dense(self.flatten(self.pool(x)))


def _unfolded(tokens: Tensor) -> Tensor:
    """[N, P, d] as [N, d, sqrt(P), sqrt(P)]."""
    count, patches, features = tokens.shape
    side = isqrt(patches)
    if side * side != patches:
        fix = "Drop class and distillation tokens before."
        raise ModelError(f"{patches} patches make no square", where="AuxiliaryClassifier", fix=fix)
    return tokens.transpose(1, 2).reshape(count, features, side, side)
