"""Mixtures of experts: a router chooses k of n parts for each sample.

N. Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", ICLR 2017, takes a
softmax over the k largest logits; W. Fedus et al., "Switch Transformers", JMLR 23, 2022, k = 1 and the probability that
the softmax over all logits gives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.ops.top_k import top_positions
from tinygen.ir.tensor import Tensor as IrTensor
from tinygen.nn.decisions.base import Deciding, codes_of, forget
from tinygen.nn.quantizers import ActivationQuantizer, Affine8
from tinygen.nn.quantizers.base import check_choice, straight_through

PROBABILITIES = Affine("int8", (1.0 / 256.0,), (-128,))
"""What the integer softmax gives."""
ALL, CHOSEN, NONE = "all", "chosen", "none"


class MixtureOfExperts(Deciding):
    """The sum of the outputs of the k experts with the largest logits, weighted by the router.

    In evaluation logits are codes of `router_quantizer`: among equal logits the first experts are chosen, and the
    weights are those of the integer softmax, in 256ths. Experts run for the samples that chose them. In training all of
    them run for all samples.

    Args:
        router: features to logits [N, experts].
        experts: two or more, features to features of one shape.
        quantizer: of each expert's output, and of the sum.
        k: how many experts a sample has.
        weights: "all" (the softmax over all logits), "chosen" (over the k largest), or "none": k is 1, and the output
            is the expert's, as it is; the router's gradient is that of "all", divided by the probability.

    Attributes:
        router_quantizer: of the router's logits.
        probabilities: [N, experts] of the last batch, the softmax over all, with gradient in training; None before.
        chosen: [N, k] int64, the experts of the last batch, the largest weight first.

    Raises:
        UnsupportedError: fewer than two experts, k above their number, or weights that do not allow this k.
    """

    probabilities: Tensor | None
    chosen: Tensor | None

    def __init__(
        self,
        router: nn.Module,
        experts: Sequence[nn.Module],
        *,
        quantizer: ActivationQuantizer,
        k: int = 1,
        weights: str = ALL,
    ) -> None:
        super().__init__()
        self.router, self.experts = router, nn.ModuleList(experts)
        self.quantizer, self.router_quantizer = quantizer, Affine8()
        self.k = k
        self.weights = check_choice("MixtureOfExperts weights", weights, (ALL, CHOSEN, NONE))
        self.probabilities = self.chosen = None
        where = "MixtureOfExperts"
        if not 1 <= k <= len(self.experts) or len(self.experts) < 2:
            what = f"{k} of {len(self.experts)} experts"
            raise UnsupportedError(what, where=where, fix="Give two experts or more, and a k of 1 up to their number.")
        if (weights == NONE and k > 1) or (weights == CHOSEN and k == 1):
            fix = 'With k = 1 use "all" or "none": the only one chosen has weight 1. With more use "all" or "chosen".'
            raise UnsupportedError(f'weights "{weights}" for k = {k}', where=where, fix=fix)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.router_quantizer(self.router(x).flatten(1))
        self.probabilities = torch.softmax(logits, 1)
        if self.training:
            self.index = None
            # Of equal logits the first: a stable sort keeps them in order, torch.topk does not say.
            self.chosen = torch.sort(logits.detach(), dim=1, descending=True, stable=True).indices[:, : self.k]
            return self._mixed(x, logits)
        return self._routed(x, codes_of(self.router_quantizer, logits).cpu().numpy().astype(np.int8))

    def _mixed(self, x: Tensor, logits: Tensor) -> Tensor:
        """The output in training."""
        assert self.chosen is not None and self.probabilities is not None
        said = torch.stack([self.quantizer(expert(x)) for expert in self.experts], 1)
        rows = torch.arange(len(x), device=x.device)[:, None]
        taken = said[rows, self.chosen]
        shares = self.probabilities.gather(1, self.chosen)
        if self.weights == CHOSEN:
            shares = torch.softmax(logits.gather(1, self.chosen), 1)
        elif self.weights == NONE:
            shares = straight_through(shares / shares.detach(), torch.ones_like(shares))
        total = (shares.reshape(*shares.shape, *(1,) * (taken.dim() - 2)) * taken).sum(1)
        return total if self.weights == NONE else self.quantizer(total)

    def _routed(self, x: Tensor, logits: np.ndarray) -> Tensor:
        """The output in evaluation, of int8 logits [N, experts]."""
        positions = top_positions(logits, self.k)
        self.index = self.chosen = torch.from_numpy(np.ascontiguousarray(positions)).to(x.device)
        said = self._said(x)
        if self.weights == NONE:
            return self.quantizer(said[0])
        shares = self._shares(logits, positions).to(x.device)
        encoding = self.quantizer.encoding()
        # Sums of integers, as on the board. One rounding, of the product with the scale, in double precision.
        integers = [torch.from_numpy(encoding.integers(self.quantizer.codes(part)[0])).to(x.device) for part in said]
        shape = (-1, *(1,) * (said[0].dim() - 1))
        total = sum(shares[:, j].reshape(shape) * part for j, part in enumerate(integers))
        return self.quantizer(torch.as_tensor(total).double() * (encoding.scale[0] / 256.0)).to(x.dtype)

    def _said(self, x: Tensor) -> list[Tensor]:
        """Outputs of the first, the second, ... chosen expert of each sample, [N, ...] each, not quantized yet."""
        assert self.chosen is not None
        found: list[Tensor | None] = [None] * self.k
        for number, expert in enumerate(self.experts):
            wanted = (self.chosen == number).any(1)
            if not bool(wanted.any()) and not self.explores:
                forget(expert)
                continue
            seen = torch.ones_like(wanted) if self.explores else wanted
            said = expert(x[seen])
            if self.explores:
                self.quantizer(said)  # so that it observes the output's range
            for j in range(self.k):
                mine = self.chosen[:, j] == number
                target = found[j]
                if target is None:
                    target = found[j] = torch.zeros(len(x), *said.shape[1:], dtype=said.dtype, device=said.device)
                target[mine] = said[mine[seen]]
        return [part for part in found if part is not None]

    def _shares(self, logits: np.ndarray, positions: np.ndarray) -> Tensor:
        """Weights in 256ths, int64 [N, k]."""
        chosen = self.weights == CHOSEN
        codes = self.softmax_codes(np.take_along_axis(logits, positions, 1) if chosen else logits)
        shares = codes if chosen else np.take_along_axis(codes, positions, 1)
        return torch.from_numpy(shares.astype(np.int64) + 128)

    def softmax_codes(self, logits: np.ndarray) -> np.ndarray:
        """The integer softmax of int8 logits [N, n], as `PROBABILITIES`."""
        op = Softmax(name="softmax", inputs=("logits",), outputs=("shares",))
        given = IrTensor("logits", logits.shape, self.router_quantizer.encoding())
        return op.evaluate(Node(op, (given,), (IrTensor("shares", logits.shape, PROBABILITIES),)), [logits])[0]


def mixtures(network: nn.Module) -> list[MixtureOfExperts]:
    """A network's mixtures of experts, in the order in which they were registered."""
    return [part for part in network.modules() if isinstance(part, MixtureOfExperts)]


def load_balance(network: nn.Module) -> Tensor:
    """The mean over mixtures of n * sum of f_i P_i (Fedus 2022, equation 4): 1 if all experts are used equally.

    f_i is the share of the last batch's choices that fell on expert i, P_i the mean of its probability, which has the
    gradient. Add alpha times it to the loss; the paper has alpha = 0.01.
    """
    losses = []
    for part in mixtures(network):
        if part.probabilities is None or part.chosen is None:
            continue
        count = len(part.experts)
        shares = torch.bincount(part.chosen.flatten(), minlength=count).to(part.probabilities.dtype)
        losses.append(count * (shares / shares.sum() * part.probabilities.mean(0)).sum())
    return torch.stack(losses).mean() if losses else torch.zeros(())
