"""Shared weights: k-means codebooks (Deep Compression)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import ModelError
from tinygen.ir.encodings import Codebook, IntegerEncoding
from tinygen.nn.quantizers.base import WeightCodes, WeightQuantizer, check_bits, round_half_up, straight_through
from tinygen.nn.quantizers.zeros import only


def k_means(values: np.ndarray, count: int, rounds: int = 100) -> np.ndarray:
    """`count` centroids (ascending, float64) of scalars: Lloyd's iteration from centroids spread evenly.

    Deep Compression (section 3.2) found this initialisation the best, since large weights keep centroids of their
    own. Stops when no centroid moves or after `rounds`; a centroid without values stays where it is.
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    centroids = np.linspace(ordered[0], ordered[-1], count)
    for _ in range(rounds):
        edges = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        edges = np.concatenate(([0], edges, [len(ordered)]))
        sizes = np.diff(edges)
        means = np.where(sizes > 0, np.diff(sums[edges]) / np.maximum(sizes, 1), centroids)
        if np.array_equal(means, centroids):
            break
        centroids = means
    return centroids


class CodebookQuant(WeightQuantizer):
    """Every weight is one of 2^bits shared values; the shared values are trained, not the weights.

    S. Han, H. Mao, W. J. Dally, "Deep Compression", ICLR 2016, section 3. The first forward pass clusters the weights
    and fixes which centroid each takes; from then on the gradient of a centroid is the sum over its weights, and the
    weights get none. The centroids are rounded to integers in units of the largest / (2^(table_bits - 1) - 1), in
    training too (straight through), so that the output equals the table's values. `cluster` computes new centroids,
    from weights trained further.

    Args:
        bits: of the indices, 2 to 6.
        table_bits: of the shared values, 8 to 16. Kernels are fastest with 8 bits.
    """

    assignments: Tensor
    clustered: Tensor

    def __init__(self, bits: int, table_bits: int = 16) -> None:
        super().__init__()
        self.bits = check_bits("CodebookQuant", bits, 2, 6)
        self.table_bits = check_bits("CodebookQuant's table", table_bits, 8, 16)
        self.centroids = nn.Parameter(torch.zeros(2**bits))
        self.register_buffer("assignments", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("clustered", torch.zeros((), dtype=torch.bool))

    def prepare(self, shape: torch.Size) -> None:
        self.assignments = torch.zeros(shape, dtype=torch.uint8, device=self.centroids.device)
        self.clustered.zero_()

    @torch.no_grad()
    def cluster(self, weights: Tensor, kept: Tensor | None = None) -> None:
        """Finds centroids for these weights and which of them each weight takes (the nearest; the upper in a tie).

        Args:
            kept: bool, shape of the weights: the centroids are those of these; None is all.

        Raises:
            ModelError: a weight is not finite.
        """
        if not bool(torch.isfinite(weights).all()):
            fix = "Train again with a lower rate."
            raise ModelError("a weight is infinite or not a number", where="CodebookQuant", fix=fix)
        chosen = weights if kept is None or not bool(kept.any()) else weights[kept]
        found = k_means(chosen.cpu().numpy(), 2**self.bits)
        self.centroids.copy_(torch.from_numpy(found))
        middles = torch.from_numpy((found[1:] + found[:-1]) / 2).to(weights.device)
        self.assignments = torch.bucketize(weights.double(), middles, right=True).to(torch.uint8)
        self.clustered.fill_(True)

    def _ready(self, weights: Tensor, kept: Tensor | None) -> None:
        if torch.compiler.is_compiling():
            return
        if not bool(self.clustered):
            self.cluster(weights.detach(), kept)
        elif self.assignments.shape != weights.shape:
            raise ModelError(
                f"clustered for weights {list(self.assignments.shape)}, given {list(weights.shape)}",
                where="CodebookQuant",
                fix="Give each layer a quantizer of its own.",
            )

    def _table(self) -> tuple[Tensor, Tensor]:
        """The rounded centroids in units of the scale (float64), and the scale (float32)."""
        top = self.centroids.detach().double().abs().max()
        steps = 2 ** (self.table_bits - 1) - 1
        scale = (torch.where(top > 0, top, steps) / steps).float()
        scale = scale.clamp_min(torch.finfo(torch.float32).tiny)
        integers = round_half_up(self.centroids.detach().double() / scale.double())
        return integers.clamp(-steps, steps), scale

    def parts(self, weights: Tensor, kept: Tensor | None = None) -> WeightCodes:
        self._ready(weights, kept)
        integers, scale = self._table()
        return WeightCodes(self.assignments, integers[self.assignments.long()], scale)

    def forward(self, weights: Tensor, kept: Tensor | None = None) -> Tensor:
        self._ready(only(weights, kept), kept)
        integers, scale = self._table()
        values = integers.to(weights.dtype) * scale.to(weights.dtype)
        return only(straight_through(self.centroids.to(weights.dtype), values)[self.assignments.long()], kept)

    def encoding(self, weights: Tensor, scale: tuple[float, ...], axis: int | None) -> IntegerEncoding:
        return Codebook(scale, axis, table=tuple(int(value) for value in self._table()[0].tolist()))
