"""Optimal Brain Damage: rank weights by the loss their removal is expected to cost.

Y. LeCun, J. S. Denker, S. A. Solla, "Optimal Brain Damage", NIPS 1989: at a minimum, with a diagonal Hessian, removing
w_i costs h_ii w_i^2 / 2. Kernels cost the sum over their weights. Two diagonals, both never negative:

- "gauss-newton": the exact diagonal of the Gauss-Newton matrix of the cross-entropy, the mean over samples of
  sum_c p_c g_c^2, where g_c is the gradient of log p_c and p the network's own probabilities. It is the Hessian without
  the curvature of the logits, and equals the Fisher information. One backward pass per sample and class.
- "fisher": the empirical Fisher, g^2 at the true label instead; one backward pass per sample. Samples that are fitted
perfectly contribute 0.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tinygen.compress.magnitude import ranked_layers
from tinygen.compress.masks import prunable, used_weights
from tinygen.compress.ranking import LEVELS, chosen, layers_of, prune_lowest
from tinygen.compress.surgery.tracing import evaluating
from tinygen.errors import ModelError, UnsupportedError

CURVATURES = ("gauss-newton", "fisher")


def obd_scores(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    curvature: str = "gauss-newton",
    level: str = "weight",
    exclude: Collection[str] = (),
) -> dict[str, Tensor]:
    """h_ii w_i^2 / 2 of every weight, or summed over each kernel [O, I].

    Args:
        network: gives logits [N, classes]; looked at in evaluation mode, which is put back. Trained: OBD takes the
            gradient to be 0.
        images: [N, ...]; a few hundred do.
        labels: [N] int64.
        curvature: "gauss-newton" or "fisher".
        level: "weight" or "kernel".
        exclude: names of layers that stay whole.

    Raises:
        UnsupportedError: unknown curvature or level; a layer whose weights get no gradient (CodebookQuant, frozen).
        ModelError: no images, or not as many labels.
    """
    chosen("curvature", curvature, CURVATURES)
    chosen("level", level, LEVELS)
    if not len(images) or len(images) != len(labels):
        fix = "Give one label per image."
        raise ModelError(f"{len(images)} images and {len(labels)} labels", where="obd_scores", fix=fix)
    layers = layers_of(network, exclude)
    with evaluating(network), torch.enable_grad():
        diagonals = _diagonals(network, _trainable(layers), images, labels, curvature)
    scores = {name: h * used_weights(layers[name]).double() ** 2 / 2 for name, h in diagonals.items()}
    return scores if level == "weight" else {n: s.reshape(*s.shape[:2], -1).sum(2) for n, s in scores.items()}


def _trainable(layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The parameters behind the weights; torch.nn.utils.prune moves them."""
    found = {name: layer._parameters.get("weight_orig", layer.weight) for name, layer in layers.items()}
    for name, weight in found.items():
        if not weight.requires_grad:
            raise _no_gradient(name)
    return found


def _no_gradient(name: str) -> UnsupportedError:
    fix = "Rank a network whose weights are trained, or exclude the layer."
    return UnsupportedError("its weights get no gradient", where=name, fix=fix)


def _diagonals(
    network: nn.Module, weights: dict[str, Tensor], images: Tensor, labels: Tensor, curvature: str
) -> dict[str, Tensor]:
    """h_ii by layer, float64: means of squared gradients, one sample at a time."""
    sums = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    for image, label in zip(images, labels, strict=True):
        logits = torch.log_softmax(network(image[None])[0], 0)
        classes = range(len(logits)) if curvature == "gauss-newton" else [int(label)]
        for number in classes:
            share = float(logits[number].detach().exp()) if curvature == "gauss-newton" else 1.0
            gradients = torch.autograd.grad(
                logits[number], list(weights.values()), retain_graph=number != classes[-1], allow_unused=True
            )
            for name, gradient in zip(weights, gradients, strict=True):
                if gradient is None:
                    raise _no_gradient(name)
                sums[name] += share * gradient.double() ** 2
    return {name: total / len(images) for name, total in sums.items()}


def prune_by_obd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    share: float,
    *,
    curvature: str = "gauss-newton",
    level: str = "weight",
    scope: str = "global",
    exclude: Collection[str] = (),
    empty_filters: bool = False,
) -> dict[str, Tensor]:
    """Masks without the weights (or kernels) that cost least; a kernel is ranked by its cost per weight.

    At high shares, costs of single weights do not say what a whole layer costs: with scope "global" one layer may lose
    nearly all. For `empty_filters` see `prune_by_magnitude`.
    """
    exclude = set(prunable(network)) - set(ranked_layers(network, level, exclude, empty_filters))
    scores = obd_scores(network, images, labels, curvature=curvature, level=level, exclude=exclude)
    if level == "kernel":
        sizes = {name: layer.weight[0, 0].numel() for name, layer in layers_of(network, exclude).items()}
        scores = {name: values / sizes[name] for name, values in scores.items()}
    return prune_lowest(network, scores, share, scope=scope, empty_filters=empty_filters)
