"""How much of each layer may be removed: SNACS's operating constraints (Ganesh 2022, section 4.2.4).

For each layer a support vector machine with an RBF kernel learns the labels from the activations of the unpruned layer.
Then this layer alone is pruned in rising levels, without training, and the same machine is tested on the same samples'
new activations. One threshold on that accuracy, common to all layers, gives each layer the highest level at which the
accuracy is still above it, not the last one before the first failure, so that noise does not end the search early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from tinygen.compress.masking import while_masked
from tinygen.compress.masks import prunable
from tinygen.compress.observe import Observer
from tinygen.compress.ranking import check_share
from tinygen.errors import UnsupportedError

Curve: TypeAlias = Mapping[float, float]
"""Accuracy of a layer's machine by the share of the layer that is removed."""

LEVELS = tuple(percent / 100 for percent in range(1, 100))


@dataclass(frozen=True)
class Limits:
    """Attributes:
    shares: gamma, what may be removed of each layer.
    threshold: theta, the accuracy common to all.
    total: tau, the share of all weights that these limits remove together.
    """

    shares: Mapping[str, float]
    threshold: float
    total: float


class Probe:
    """A layer's support vector machine; C = 1 and scikit-learn's default gamma, on standardised activations."""

    def __init__(self, observer: Observer, name: str, labels: Tensor) -> None:
        self.observer = observer
        self.name = name
        self.layer: nn.Module = prunable(observer.network)[name]
        self.labels = labels.cpu().numpy()
        self.machine: Pipeline = make_pipeline(StandardScaler(), SVC())
        self.machine.fit(self._features(), self.labels)

    def _features(self) -> np.ndarray:
        return self.observer.outputs(self.name).double().cpu().numpy()

    def accuracy(self, mask: Tensor) -> float:
        """On the layer's activations with a kernel or weight mask on it."""
        with while_masked(self.layer, mask):
            return float((self.machine.predict(self._features()) == self.labels).mean())


def curve(probe: Probe, mask_at: Callable[[float], Tensor], levels: Iterable[float] = LEVELS) -> dict[float, float]:
    """Accuracies of a layer pruned to each level; `mask_at` gives its mask."""
    return {level: probe.accuracy(mask_at(level)) for level in levels}


def shared_limits(
    curves: Mapping[str, Curve], sizes: Mapping[str, int], total: float, *, exact: bool = False
) -> Limits:
    """The limits of the highest common threshold at which layers together may lose a share of all weights (4.9).

    Args:
        curves: by layer; layers without one are not pruned.
        sizes: weights of every layer of the network, those that are not pruned too.
        total: tau, the share of all weights to remove.
        exact: one step of the threshold may let several layers go far at once; with this, that last step is made only
            in part, the same part by all layers, until `total` is met. Ours.

    Raises:
        UnsupportedError: a share outside 0..1, or one that no threshold reaches.
    """
    check_share(total)
    weights = sum(sizes.values())

    def removed(shares: Mapping[str, float]) -> float:
        return sum(sizes[name] * share for name, share in shares.items()) / weights

    before: dict[str, float] = dict.fromkeys(curves, 0.0)
    if total == 0.0:
        return Limits(before, 1.0, 0.0)
    for threshold in _thresholds(curves):
        shares = {name: _highest_above(points, threshold) for name, points in curves.items()}
        if removed(shares) >= total - 1e-12:
            part = (total - removed(before)) / (removed(shares) - removed(before)) if exact else 1.0
            shares = {name: before[name] + part * (share - before[name]) for name, share in shares.items()}
            return Limits(shares, threshold, removed(shares))
        before = shares
    raise UnsupportedError(
        f"limits that remove {total:.1%} of the weights: {removed(before):.1%} is all that these layers allow",
        where="shared_limits",
        fix="Ask for less, or exclude fewer layers.",
    )


def _thresholds(curves: Mapping[str, Curve]) -> list[float]:
    """From 100 % down, each value at which a layer's limit can change; accuracies must be above, so just below each."""
    values = {accuracy for points in curves.values() for accuracy in points.values()}
    return [float(np.nextafter(value, -np.inf)) for value in sorted(values, reverse=True)]


def _highest_above(points: Curve, threshold: float) -> float:
    return max((level for level, accuracy in points.items() if accuracy > threshold), default=0.0)
