"""Training of the float network, and from it of the switchable network or of networks with few bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tinygen.apps.digits.lowbit import REGIMES
from tinygen.apps.wakeword.dataset import Scenes
from tinygen.apps.wakeword.exits import ExitNetwork
from tinygen.apps.wakeword.features import FULL, real_features
from tinygen.apps.wakeword.network import HOP, TwoClasses, two_classes
from tinygen.apps.wakeword.segments import AT_ONCE, BATCH, MAY_BE, STEPS, Place, Segments
from tinygen.compress.distill import soft_cross_entropy
from tinygen.nn import Affine8, InputQuant, clip_weights, convert
from tinygen.nn.switchable import Distillation, SwitchSpec, switchable, train_switchable

Progress = Callable[[str, int, int], None]
SWITCHES = (SwitchSpec(8, 8), SwitchSpec(4, 4), SwitchSpec(2, 2))
FLOAT = SwitchSpec(32, 32)
RATE, SWITCH_RATE = 3e-3, 2e-3
DROPPED = 0.3
"""Of what the last layer sees, in training."""
MASKS = 2
CALM = 3.0
"""A logit: a probability of 0.95."""
_HARD_LOGIT = -2.0
"""What is taken for the phrase with more than this (a probability of 0.12) is shown more often."""


@dataclass(frozen=True)
class Effort:
    """Length of a training.

    Attributes:
        batches: number of batches of the float network.
        rounds: number of evenly spaced searches for sound that is mistaken for the phrase.
        switch_batches: number of batches of the switchable network; each trains all switches.
        recipe_batches: number of batches of the network for each recipe.
    """

    batches: int
    rounds: int
    switch_batches: int
    recipe_batches: int = 2000


def train_float(
    network: nn.Module, segments: Segments, effort: Effort, *, seed: int, progress: Progress | None = None
) -> None:
    """Trains the network in place; it is in evaluation mode afterwards. Equal seeds give equal weights.

    AdamW with a rate that rises and falls once (Smith and Topin, "Super-Convergence", 2018); features are masked as in
    SpecAugment (Park et al., Interspeech 2019).
    """
    _begin(seed)
    rng = np.random.default_rng(seed)
    model = TwoClasses(network)
    drops = _dropping(network)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=effort.batches)
    for done, (features, labels) in enumerate(_rounds(network, segments, effort.batches, effort.rounds, rng), 1):
        model.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features), labels).backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress("training in float", done, effort.batches)
    drops.remove()
    network.eval()


def train_exits(
    network: ExitNetwork, segments: Segments, effort: Effort, *, seed: int, progress: Progress | None = None
) -> None:
    """Trains exit and answer of a network together, in place, as `train_float` does; in evaluation mode afterwards."""
    _begin(seed)
    rng = np.random.default_rng([seed, 5])
    drops = _dropping(network)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=effort.batches)
    given = _rounds(network, segments, effort.batches, effort.rounds, rng)
    for features, labels in _told(given, "training an exit", effort.batches, progress):
        network.train()
        optimizer.zero_grad()
        losses = [nn.functional.cross_entropy(two_classes(logits), labels) for logits in network.both(features)]
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
    drops.remove()
    network.eval()


def _dropping(network: nn.Module) -> RemovableHandle:
    """Adds dropout before the last layer during training; as a hook, so that the exported network has no such layer."""
    return network.whole.register_forward_pre_hook(
        lambda whole, given: (nn.functional.dropout(given[0], DROPPED, whole.training),)
    )


def train_switches(
    network: nn.Module, segments: Segments, effort: Effort, *, seed: int, progress: Progress | None = None
) -> nn.Module:
    """A switchable network, trained from the weights of a trained one; in evaluation mode.

    All switches are trained together, each with the float one as teacher (self-distillation), which boards do not have.
    """
    _begin(seed)
    rng = np.random.default_rng([seed, 1])
    result = switchable(network, (*SWITCHES, FLOAT))
    _fix_input(result)
    model = TwoClasses(result)
    optimizer = torch.optim.AdamW(model.parameters(), SWITCH_RATE, weight_decay=0.001)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, effort.switch_batches)
    hard = hard_places(network, segments, rng)
    given = segments.batches(effort.switch_batches, rng, hard)
    shown = _told(_masked(given, rng), "training the switches", effort.switch_batches, progress)
    # The divergence is a sum over a segment's outputs, cross-entropy a mean.
    distillation = Distillation(output=1 / STEPS, features=0.0)
    train_switchable(model, shown, optimizer, distillation=distillation, after_step=schedule.step)
    return result.eval()


def train_recipe(
    network: nn.Module,
    recipe: str,
    segments: Segments,
    effort: Effort,
    *,
    seed: int,
    progress: Progress | None = None,
) -> nn.Module:
    """A network of few bits, trained from the weights of a trained one; in evaluation mode.

    It learns from the labels and from the float network's outputs (Hinton et al., "Distilling the knowledge in a
    neural network", 2015, at temperature 1). First and last layer have 8 bits.

    Args:
        recipe: a name in REGIMES.
    """
    _begin(seed)
    rng = np.random.default_rng([seed, 4])
    regime = REGIMES[recipe]
    assert regime.recipe is not None
    result = convert(network, regime.recipe)
    last = [name for name, layer in network.named_children() if isinstance(layer, nn.ReLU)][-1]
    setattr(result, last, Affine8(relu=True))
    _fix_input(result)
    model, teacher = TwoClasses(result), TwoClasses(network)
    optimizer = torch.optim.AdamW(model.parameters(), SWITCH_RATE, weight_decay=0.001)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, effort.recipe_batches)
    given = segments.batches(effort.recipe_batches, rng, hard_places(network, segments, rng))
    for features, labels in _told(_masked(given, rng), f"training {recipe}", effort.recipe_batches, progress):
        with torch.no_grad():
            targets = teacher(features)
        logits = model.train()(features)
        optimizer.zero_grad()
        (nn.functional.cross_entropy(logits, labels) + soft_cross_entropy(logits, targets)).backward()
        optimizer.step()
        schedule.step()
        if regime.clip:
            clip_weights(result)
    return result.eval()


def _begin(seed: int) -> None:
    """Seeds torch and uses one thread: sums have a fixed order, and these layers are too small for two threads."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def _fix_input(network: nn.Module) -> None:
    """Sets the input's range to the front end's, so that its quantizer gives the codes of the data set."""
    for module in network.modules():
        if isinstance(module, InputQuant):
            module.momentum = 0.0
            module.running_range.copy_(torch.tensor([0.0, FULL]))
            module.batches.fill_(1)


def _rounds(
    network: nn.Module, segments: Segments, count: int, rounds: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Masked batches; hard places are searched again after each round."""
    hard: list[Place] = []
    for index in range(rounds):
        share = count * (index + 1) // rounds - count * index // rounds
        yield from _masked(segments.batches(share, rng, hard), rng)
        if index < rounds - 1:
            hard = hard_places(network, segments, rng)


def _told(
    given: Iterable[tuple[Tensor, Tensor]], what: str, total: int, progress: Progress | None
) -> Iterator[tuple[Tensor, Tensor]]:
    for done, batch in enumerate(given, 1):
        yield batch
        if progress:
            progress(what, done, total)


def _masked(given: Iterable[tuple[Tensor, Tensor]], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Of longer or shorter vocal tracts; up to MASKS times some channels are gone, or some frames; half of the segments
    are a little louder or softer.
    """
    for features, labels in given:
        features = _warped(features, rng)
        _, channels, frames, _ = features.shape
        for segment in features:
            for _ in range(MASKS):
                if rng.random() < 0.5:
                    first = int(rng.integers(channels - 9))
                    segment[first : first + int(rng.integers(1, 10))] = 0
                if rng.random() < 0.5:
                    first = int(rng.integers(frames - 14))
                    segment[:, first : first + int(rng.integers(1, 15))] = 0
            if rng.random() < 0.5:
                segment.add_(float(rng.normal())).clamp_(0, FULL)
        yield features, labels


def _warped(features: Tensor, rng: np.random.Generator) -> Tensor:
    """Each segment's channels moved along the mel scale, as another speaker's formants are: vocal tract length
    perturbation (Jaitly and Hinton, ICML workshop on deep learning for audio, speech and language processing, 2013).
    """
    count, channels, _, _ = features.shape
    middle = (channels - 1) / 2
    stretch = rng.uniform(0.92, 1.08, (count, 1))
    places = middle + (np.arange(channels) - middle) * stretch + rng.uniform(-2, 2, (count, 1))
    places = places.clip(0, channels - 1)
    # The weight of each channel in the one that takes its place: linear interpolation.
    weights = np.maximum(0, 1 - np.abs(places[:, :, None] - np.arange(channels)))
    return torch.bmm(torch.from_numpy(weights).float(), features[..., 0])[..., None]


def calm(network: nn.Module, segments: Segments) -> None:
    """Scales the logits, so that 8-bit probabilities of the phrase do not all saturate.

    Afterwards a tenth of the phrases in the training data is above CALM. Without scaling, training makes every logit as
    large as it can.
    """
    highest = []
    for scene, logits in enumerate(logits_of(network, segments.scenes)):
        ends = segments.frames - 1 + HOP * np.arange(len(logits))
        for end in segments.ends[scene]:
            near = (ends >= end + AT_ONCE[0]) & (ends <= end + AT_ONCE[1])
            highest += [float(logits[near].max())] if near.any() else []
    factor = min(1.0, CALM / max(float(np.quantile(highest, 0.9)), CALM))
    with torch.no_grad():
        network.whole.weight.mul_(factor)
        network.whole.bias.mul_(factor)


def hard_places(network: nn.Module, segments: Segments, rng: np.random.Generator) -> list[Place]:
    """Starts of segments that the network mistakes for the phrase."""
    found = []
    for scene, logits in enumerate(logits_of(network, segments.scenes)):
        ends = segments.frames - 1 + HOP * np.flatnonzero(logits > _HARD_LOGIT)
        for end in ends:
            behind = end - segments.ends[scene]
            if not np.any((behind >= MAY_BE[0]) & (behind <= MAY_BE[1])):
                found.append(segments.with_window(scene, int(end), rng))
    return found


def logits_of(network: nn.Module, scenes: Scenes) -> Iterator[np.ndarray]:
    """Logits, float32 [S], of all windows of each scene, HOP apart."""
    network.eval()
    for first in range(0, len(scenes.codes), BATCH // 4):
        codes = scenes.codes[first : first + BATCH // 4]
        with torch.no_grad():
            yield from network(as_tensor(codes))[:, 0, :, 0].numpy()


def as_tensor(codes: np.ndarray) -> Tensor:
    """Features [N, channels, T, 1] of codes [N, T, channels]."""
    return torch.from_numpy(real_features(codes)).permute(0, 2, 1)[..., None].contiguous()
