"""Pruning group by group: rank the filters, search how many to remove, and fine-tune if many were removed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tinygen.compress.automatic.distance import METRICS, filter_closeness, interactions, is_low_bit
from tinygen.compress.automatic.search import Observation, RatioSearch, best_ratio
from tinygen.compress.masks import prunable
from tinygen.compress.surgery import Group, groups, slim
from tinygen.compress.surgery.channels import ChannelMap
from tinygen.compress.surgery.rules import channel_map
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.ir.encodings import Affine, Binary, Codebook, Levels, PowerOfTwo, Ternary
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.pruned import copy_network
from tinygen.nn.switchable import is_switchable

RANKINGS = ("interactions", "filter", "random")
_FLOAT_BITS = 32


@dataclass(frozen=True)
class AutomaticSettings:
    """Settings of chapter 4.

    Attributes:
        metric: "angle" or "euclidean".
        ranking: by "interactions", by the "filter" itself (the worse one of figure 4.3), or "random".
        alpha: alpha_1 of (4.5), of the share of parameters left; alpha_2, of the bits left, is a quarter of it. The
            thesis takes 1 on CIFAR-10 (2 for BNN) and 8 on ImageNet.
        search: settings of the search for ratios.
        backwards: from the last layer to the first.
        trivial: the largest share of a layer that is pruned without fine-tuning. Accuracy does not matter for it:
            "every time a layer is pruned a non-trivial amount (for our experiments we use above 5%)" (4.4).
        seed: of the random ranking.
    """

    metric: str = "angle"
    ranking: str = "interactions"
    alpha: float = 1.0
    search: RatioSearch = field(default_factory=RatioSearch)
    backwards: bool = False
    trivial: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value, known in (("metric", self.metric, METRICS), ("ranking", self.ranking, RANKINGS)):
            if value not in known:
                raise TinygenError(f"there is no {what} '{value}'", where="AutomaticSettings", fix=", ".join(known))
        if not 0 <= self.trivial <= 1:
            fix = "Give a share, 0 to 1: 0.05 is the thesis's."
            raise TinygenError(f"a trivial share of {self.trivial:g}", where="AutomaticSettings", fix=fix)
        if self.alpha < 0:
            raise TinygenError(f"alpha is {self.alpha}", where="AutomaticSettings", fix="Give at least 0.")


@dataclass(frozen=True)
class Pruned:
    """What was done to one group of layers.

    Attributes:
        layers: their names.
        ratio: share of filters to remove, as found; `filters` are left of `before`.
        tried: ratios and losses.
    """

    layers: tuple[str, ...]
    ratio: float
    before: int
    filters: int
    tried: tuple[Observation, ...]


@dataclass(frozen=True)
class AutomaticResult:
    """The narrower network, and a record of how it was pruned.

    Attributes:
        network: of the same class.
        groups: in the order in which they were pruned.
        parameters, bits: what is left, in percent.
        fine_tunings: how often `finetune` was called.
    """

    network: nn.Module
    groups: tuple[Pruned, ...]
    parameters: float
    bits: float
    fine_tunings: int


def prune_automatically(
    network: nn.Module,
    example: Example,
    accuracy: Callable[[nn.Module], float],
    *,
    finetune: Callable[[nn.Module], None] | None = None,
    settings: AutomaticSettings | None = None,
) -> AutomaticResult:
    """Prunes a trained quantized network: searches the best ratio for each group of coupled layers.

    Args:
        network: of tinygen.nn's layers; left as it is.
        example: its input, with a batch in front.
        accuracy: in percent, of a network on a small set of data that is not the test set. It is called once per
            observation: 11 times per group unless the search says otherwise.
        finetune: trains a network a little (the thesis: 5 epochs), in place; called after each group that lost more
            than a trivial share. Train further at the end (the thesis: 10 epochs).

    Raises:
        UnsupportedError: the network cannot be traced, or has several switches.
        TinygenError: it has no low-bit layers, or none that can be pruned; its accuracy is 1 or less, or above 100.
    """
    chosen = settings or AutomaticSettings()
    if is_switchable(network):
        raise UnsupportedError(
            "a network of several switches",
            where=type(network).__name__,
            fix="Prune a network of one, or the float network, and make it switchable then.",
        )
    if not any(is_low_bit(module) for module in network.modules()):
        raise TinygenError(
            "it has no layers of less than 8 bits",
            where=type(network).__name__,
            fix="Convert and train it (tinygen.nn.convert), or prune it by another criterion.",
        )
    return _Pruning(copy_network(network), example, accuracy, finetune, chosen).run()


class _Pruning:
    def __init__(
        self,
        network: nn.Module,
        example: Example,
        accuracy: Callable[[nn.Module], float],
        finetune: Callable[[nn.Module], None] | None,
        settings: AutomaticSettings,
    ) -> None:
        self.network, self.example, self.accuracy = network, example, accuracy
        self.finetune, self.settings = finetune, settings
        self.whole = _Size.of(network)
        self.fine_tunings = 0
        self.generator = torch.Generator().manual_seed(settings.seed)

    def run(self) -> AutomaticResult:
        found = [group for group in groups(self.network, self.example) if group.prunable]
        if not found:
            raise TinygenError("none of its layers can be pruned", where=type(self.network).__name__)
        reference = self.accuracy(self.network)
        if 0 < reference <= 1 or reference > 100:
            raise TinygenError(
                f"an accuracy of {reference:g}, which is no percentage",
                where="prune_automatically",
                fix="Give percent: 100 times what tinygen.compress.accuracy gives.",
            )
        done = [self._group(group) for group in (reversed(found) if self.settings.backwards else found)]
        left = _Size.of(self.network)
        return AutomaticResult(
            self.network, tuple(done), left.parameters_of(self.whole), left.bits_of(self.whole), self.fine_tunings
        )

    def _group(self, group: Group) -> Pruned:
        scores = self._scores(group)
        order = torch.argsort(scores, stable=True)
        cache: dict[int, float] = {}

        def loss(ratio: float) -> float:
            gone = _gone(ratio, len(order))
            if gone not in cache:
                cache[gone] = self._loss(self._cut(group, order[:gone]))
            return cache[gone]

        ratio, tried = best_ratio(loss, self.settings.search)
        gone = _gone(ratio, len(order))
        self.network = self._cut(group, order[:gone])
        if self.finetune is not None and gone > self.settings.trivial * len(order):
            self.finetune(self.network)
            self.fine_tunings += 1
        names = tuple(dict.fromkeys(name for name, _ in group.members))
        return Pruned(names, ratio, len(order), len(order) - gone, tuple(tried))

    def _scores(self, group: Group) -> Tensor:
        """The score of each entry of the group; high scores are kept."""
        count = len(group.members[0][1])
        if self.settings.ranking == "random":
            return torch.rand(count, generator=self.generator, dtype=torch.float64)
        channels = channel_map(self.network, self.example)
        by_number = interactions(self.network, channels, self.settings.metric)
        name, indices = group.members[0]
        numbers = channels.layers[name].outputs[indices.numpy()]
        if self.settings.ranking == "interactions" and all(int(n) in by_number for n in numbers):
            return torch.stack([by_number[int(n)] for n in numbers])
        return self._own(group, channels)

    def _own(self, group: Group, channels: ChannelMap) -> Tensor:
        """The mean of the filters' own closeness; where none has low-bit weights, their lengths."""
        parts = [(self.network.get_submodule(name), indices) for name, indices in group.members]
        low = [filter_closeness(m, self.settings.metric)[i] for m, i in parts if is_low_bit(m)]
        return torch.stack(low or [m.weight.detach().double().flatten(1).norm(dim=1)[i] for m, i in parts]).mean(0)

    def _cut(self, group: Group, gone: Tensor) -> nn.Module:
        masks = {
            name: torch.ones(len(layer.weight), dtype=torch.bool)
            for name, layer in prunable(self.network).items()
            if name in dict(group.members)
        }
        for name, indices in group.members:
            masks[name][indices[gone]] = False
        return slim(self.network, self.example, masks)

    def _loss(self, network: nn.Module) -> float:
        """(4.5), in percent."""
        left = _Size.of(network)
        size = left.parameters_of(self.whole) + left.bits_of(self.whole) / 4
        return 100 - self.accuracy(network) + self.settings.alpha * size


def _gone(ratio: float, filters: int) -> int:
    """How many filters to remove; at least one stays."""
    return min(math.floor(ratio * filters + 0.5), filters - 1)


@dataclass(frozen=True)
class _Size:
    """Parameters of a network, and their bits: those of the encoding for weights, 32 for others (section 4.4)."""

    parameters: int
    bits: int

    @staticmethod
    def of(network: nn.Module) -> _Size:
        parameters = sum(parameter.numel() for parameter in network.parameters())
        weights = [(m.weight.numel(), weight_bits(m)) for m in prunable(network).values()]
        others = parameters - sum(count for count, _ in weights)
        return _Size(parameters, sum(count * bits for count, bits in weights) + _FLOAT_BITS * others)

    def parameters_of(self, whole: _Size) -> float:
        return 100.0 * self.parameters / whole.parameters

    def bits_of(self, whole: _Size) -> float:
        return 100.0 * self.bits / whole.bits


def weight_bits(layer: nn.Module) -> int:
    """Bits of a layer's weights: those of the codes' encoding, 32 without a quantizer."""
    if not isinstance(layer, QuantConv2d | QuantLinear):
        return _FLOAT_BITS
    match layer.weight_codes()[1]:
        case Binary():
            return 1
        case Ternary():
            return 2
        case Levels(bits=bits):
            return bits
        case PowerOfTwo(exponents=exponents):
            return (2 * exponents).bit_length()
        case Codebook(table=table):
            return max((len(table) - 1).bit_length(), 1)
        case Affine(storage=storage):
            return 8 * torch.empty(0, dtype=getattr(torch, storage)).element_size()
