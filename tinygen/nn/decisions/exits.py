"""Early exits: heads along a network; a sample leaves at the first head whose confidence reaches the threshold.

S. Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks", ICPR 2016, leaves
by entropy; G. Huang et al., "Multi-Scale Dense Networks for Resource Efficient Image Classification", ICLR 2018, by
the largest probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.ir.ops.confidence import Confidence, Margin, MaxProbability, NegativeEntropy
from tinygen.nn.decisions.base import Deciding, check_quantizer, codes_of, forget, rows, threshold_code
from tinygen.nn.quantizers import Affine8
from tinygen.nn.quantizers.base import check_choice

MEASURES: Mapping[str, type[Confidence]] = {
    "margin": Margin,
    "probability": MaxProbability,
    "entropy": NegativeEntropy,
}
"""What a threshold is compared with: the largest minus the second largest logit, the largest probability (both at least
the threshold), or the entropy in nats (at most the threshold)."""
SHRINKING = 0.99
"""Of the range of exits' logits, with each batch and exit, where none is as wide."""
LEAVE = 1
"""The branch that a sample takes which leaves; 0 goes on."""


class WidestLogits(Affine8):
    """Quantizer of the logits of several exits: its range covers all of them, and shrinks slowly.

    The mean of the exits' ranges would clip the logits of the exit with the largest range. Clipped logits have no
    gradient: the exit would learn nothing, and exits that are distilled from its outputs would get worse.
    """

    def batch_range(self, x: Tensor) -> Tensor:
        found, running = super().batch_range(x), SHRINKING * self.running_range.double()
        if self.calibrating:
            return found
        return torch.stack((torch.minimum(found[0], running[0]), torch.maximum(found[1], running[1])))


class EarlyExit(Deciding):
    """Returns the logits of `head` if its confidence reaches the threshold, else those of `rest`.

    Both read the same codes. Their logits go through `quantizer`, so that all exits of a network have codes of one
    scale. In training the output is a list of the logits of all exits, first exit first, since losses need them all. In
    evaluation it is a tensor [N, classes], and `rest` runs for the samples that did not exit. See `every_exit` for the
    list in evaluation.

    Args:
        head: features to logits [N, classes].
        rest: features to logits [N, classes]; may end in another EarlyExit, with the same quantizer.
        quantizer: of the logits, an Affine8, best a WidestLogits; all exits of a network share it.
        measure: "margin", "probability" or "entropy": see MEASURES.
        threshold: samples exit if the measure reaches it; part of the state dict.

    Attributes:
        every: whether the list of all exits' logits is given in evaluation, too.

    Raises:
        UnsupportedError: a measure that is not known, a quantizer of another kind, or an exit in `rest` with a
            quantizer of its own.
    """

    threshold: Tensor

    def __init__(
        self,
        head: nn.Module,
        rest: nn.Module,
        *,
        quantizer: Affine8,
        measure: str = "margin",
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.head, self.rest = head, rest
        self.quantizer = check_quantizer(quantizer, "EarlyExit", "logits'")
        self.measure = check_choice("EarlyExit measure", measure, tuple(MEASURES))
        self.register_buffer("threshold", torch.tensor(float(threshold), dtype=torch.float64))
        self.every = False
        later = [part for part in rest.modules() if isinstance(part, EarlyExit)]
        if any(part.quantizer is not quantizer for part in later):
            fix = "Make one WidestLogits(), and give it to every EarlyExit."
            raise UnsupportedError("exits with several quantizers", where="EarlyExit", fix=fix)
        self.has_later = bool(later)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        logits = self.quantizer(self.head(x))
        if self.training or self.every:
            self.index = None
            return [logits, *self._later(self.rest(x))]
        leaves = self.leaves(logits)
        self.index = leaves.long()
        stays = ~leaves
        if self.explores:
            return rows(logits, stays, self._last(self.rest(x))[stays])
        if not bool(stays.any()):
            forget(self.rest)
            return logits
        return rows(logits, stays, self._last(self.rest(x[stays])))

    def _later(self, logits: Tensor | list[Tensor]) -> list[Tensor]:
        return logits if isinstance(logits, list) else [self.quantizer(logits)]

    def _last(self, logits: Tensor) -> Tensor:
        return logits if self.has_later else self.quantizer(logits)

    def scores(self, logits: Tensor) -> Tensor:
        """Integers that rise with confidence, int64 [N], of quantized logits [N, classes], as on the board."""
        codes = codes_of(self.quantizer, logits).cpu().numpy()
        return torch.from_numpy(MEASURES[self.measure].of(codes, self.scale)).long().to(logits.device)

    def confidence(self, logits: Tensor) -> Tensor:
        """The measure itself, float64 [N], in the threshold's unit."""
        unit = MEASURES[self.measure].encoding(self.scale).scale[0]
        return self.scores(logits) * (-unit if self.measure == "entropy" else unit)

    def leaves(self, logits: Tensor) -> Tensor:
        """Which samples exit here, bool [N]."""
        return self.scores(logits) >= self.threshold_score()

    def threshold_score(self) -> int:
        """The threshold as an integer: samples exit if their score is at least this."""
        sign = -1.0 if self.measure == "entropy" else 1.0
        return threshold_code(sign * float(self.threshold), MEASURES[self.measure].encoding(self.scale).scale[0])

    @property
    def scale(self) -> float:
        """The scale of the logits' codes, in evaluation."""
        return float(self.quantizer.grid(self.quantizer.range())[0])


def early_exits(
    stages: Sequence[nn.Module],
    heads: Sequence[nn.Module],
    *,
    measure: str = "margin",
    thresholds: Sequence[float] | None = None,
    quantizer: Affine8 | None = None,
) -> nn.Module:
    """A network with a head behind each stage: stage 0, then an EarlyExit of head 0 and the rest, and so on.

    Args:
        stages: features to features; the first takes the network's input. Each ends with a quantizer.
        heads: as many; each maps the output of its stage to logits [N, classes]. All samples that reach the last one
            exit there.
        thresholds: one for each head but the last; 0 unless given.
        quantizer: of all logits; a WidestLogits unless given.

    Raises:
        UnsupportedError: the numbers of heads or thresholds do not match; and as EarlyExit.
    """
    values = [0.0] * (len(stages) - 1) if thresholds is None else list(thresholds)
    if not len(stages) == len(heads) == len(values) + 1 or len(stages) < 2:
        what = f"{len(stages)} stages, {len(heads)} heads and {len(values)} thresholds"
        fix = "Give as many heads as stages, two at least, and a threshold for each head but the last."
        raise UnsupportedError(what, where="early_exits", fix=fix)
    shared = WidestLogits() if quantizer is None else quantizer
    network = nn.Sequential(stages[-1], heads[-1])
    for stage, head, value in reversed(list(zip(stages[:-1], heads[:-1], values, strict=True))):
        network = nn.Sequential(stage, EarlyExit(head, network, quantizer=shared, measure=measure, threshold=value))
    return network


def exits_of(network: nn.Module) -> list[EarlyExit]:
    """A network's exits, the first one first."""
    return [part for part in network.modules() if isinstance(part, EarlyExit)]


@contextmanager
def every_exit(network: nn.Module) -> Iterator[None]:
    """A context in which the network returns the list of all exits' logits in evaluation too, as in training."""
    exits = exits_of(network)
    before = [part.every for part in exits]
    for part in exits:
        part.every = True
    try:
        yield
    finally:
        for part, value in zip(exits, before, strict=True):
            part.every = value
