"""Skipped blocks: a gate decides for each sample whether a residual block runs.

X. Wang et al., "SkipNet: Learning Dynamic Routing in Convolutional Networks", ECCV 2018: x' = G(x) F(x) + (1 - G(x)) x,
where F is the whole residual block, its shortcut included.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.nn.decisions.base import Deciding, codes_of, forget, rows, threshold_code
from tinygen.nn.quantizers import ActivationQuantizer, Affine8
from tinygen.nn.quantizers.base import check_choice, straight_through

SOFT, STRAIGHT_THROUGH, REINFORCE = "soft", "straight-through", "reinforce"
RUN = 1
"""The branch of a sample whose block runs; 0 hands it on."""


class SkipBlock(Deciding):
    """Runs `block` for the samples whose gate is open; passes the others through.

    A gate is open where its logit, as a code of `gate_quantizer`, is at least the threshold (0: a probability of 1/2).
    There are three training modes, of which the paper uses the second and then the third:

    - "soft": the output is g * block(x) + (1 - g) * x, with g = sigmoid(logit - threshold);
    - "straight-through": the hard gate in the forward pass, the gradient of the soft one in the backward pass;
    - "reinforce": open with probability g, drawn for each sample; `log_probability` has the gradient.

    Args:
        block: features to features of the same shape, its shortcut included.
        gate: features to logits [N, 1].
        quantizer: of the output of either branch. If x was quantized by this same module, skipping copies codes; else
            it requantizes them. (A quantizer with a tanh in it changes its own values: it always requantizes.)
        threshold: the block runs if the logit is at least this; part of the state dict. It is clamped to the
            quantizer's range.
        training_gate: "soft", "straight-through" or "reinforce"; may be assigned between epochs.
        cost: of the block, in any unit that all blocks of a network share: its MACs, say.

    Attributes:
        gate_quantizer: of the gate's logit.
        probability: [N], g of the last batch; with gradient in training. None before the first.
        open: [N] bool, which blocks of the last batch ran (in "soft": would have run).
        log_probability: [N], of what was drawn; None except with "reinforce" in training.
    """

    threshold: Tensor
    probability: Tensor | None
    open: Tensor | None
    log_probability: Tensor | None

    def __init__(
        self,
        block: nn.Module,
        gate: nn.Module,
        *,
        quantizer: ActivationQuantizer,
        threshold: float = 0.0,
        training_gate: str = STRAIGHT_THROUGH,
        cost: float = 1.0,
    ) -> None:
        super().__init__()
        self.block, self.gate, self.quantizer = block, gate, quantizer
        self.gate_quantizer = Affine8()
        self.register_buffer("threshold", torch.tensor(float(threshold), dtype=torch.float64))
        self.training_gate = training_gate
        self.cost = cost
        self.probability = self.open = self.log_probability = None

    def forward(self, x: Tensor) -> Tensor:
        logit = self.gate_quantizer(self.gate(x)).flatten(1).squeeze(1)
        self.probability = torch.sigmoid(logit - self.threshold.to(logit.dtype))
        self.log_probability = None
        if self.training:
            return self._mixed(x, logit)
        self.open = self.opens(logit)
        self.index = self.open.long()
        kept = self.quantizer(x)
        if self.explores:
            return rows(kept, self.open, self.quantizer(self.block(x))[self.open])
        if not bool(self.open.any()):
            forget(self.block)
            return kept
        return rows(kept, self.open, self.quantizer(self.block(x[self.open])))

    def _mixed(self, x: Tensor, logit: Tensor) -> Tensor:
        """The output in training, where both branches run."""
        soft = self.probability
        assert soft is not None
        way = check_choice("SkipBlock training_gate", self.training_gate, (SOFT, STRAIGHT_THROUGH, REINFORCE))
        self.open = logit.detach() >= self.threshold.to(logit.dtype)
        gate = soft
        if way == STRAIGHT_THROUGH:
            gate = straight_through(soft, self.open.to(soft.dtype))
        elif way == REINFORCE:
            drawn = torch.bernoulli(soft.detach())
            self.open = drawn > 0
            self.log_probability = torch.distributions.Bernoulli(probs=soft).log_prob(drawn)
            gate = drawn
        gate = gate.reshape(-1, *(1,) * (x.dim() - 1))
        run, kept = self.quantizer(self.block(x)), self.quantizer(x)
        return gate * run + (1.0 - gate) * kept

    def opens(self, logit: Tensor) -> Tensor:
        """Which samples' blocks run, bool [N], of quantized logits [N], in evaluation."""
        return codes_of(self.gate_quantizer, logit) >= self.threshold_score()

    def threshold_score(self) -> int:
        """The threshold as a code, -128 to 127: the block runs from this one on."""
        scale, zero = self.gate_quantizer.grid(self.gate_quantizer.range())
        return min(max(threshold_code(float(self.threshold), float(scale), int(zero)), -128), 127)


def skip_blocks(network: nn.Module) -> list[SkipBlock]:
    """A network's skipped blocks, in the order in which they were registered."""
    return [part for part in network.modules() if isinstance(part, SkipBlock)]


def gate_cost(network: nn.Module) -> Tensor:
    """The mean share of the blocks' cost that the last batch ran, with the gradient of the soft gates: 0 to 1.

    Add alpha times it to the loss in "soft" and "straight-through" training.
    """
    blocks = [block for block in skip_blocks(network) if block.probability is not None]
    return _weighted((block.cost, block.probability.mean()) for block in blocks if block.probability is not None)


def reinforce(network: nn.Module, losses: Tensor, alpha: float) -> Tensor:
    """The policy-gradient (REINFORCE) loss that trains drawn gates; add it to the mean of `losses`.

    The paper's hybrid objective is the expectation of L - alpha / n * sum of R_i, R_i being the cost of block i where
    it was skipped, else 0. Its gradient towards gate i is that of the drawn gate's log-probability times -r_i,
    r_i = -(L - alpha / n * sum of R_j, j >= i): a gate does not influence the cost of earlier blocks.

    Args:
        network: whose blocks are registered in the order in which they run, all in "reinforce"; its last batch counts.
        losses: [N], the task's loss of each sample of that batch.
        alpha: the reward for skipping all blocks, in units of the loss. Costs are divided by their mean.

    Raises:
        UnsupportedError: no block of the network has drawn its gates.
    """
    blocks = [block for block in skip_blocks(network) if block.log_probability is not None]
    if not blocks:
        fix = 'Set training_gate = "reinforce" on its SkipBlocks, and run it in training mode first.'
        raise UnsupportedError("no gate has been drawn", where="reinforce", fix=fix)
    mean_cost = sum(block.cost for block in blocks) / len(blocks)
    saved, total = torch.zeros_like(losses), torch.zeros_like(losses)
    for block in reversed(blocks):
        assert block.open is not None and block.log_probability is not None
        saved = saved + (~block.open).to(losses.dtype) * (block.cost / mean_cost)
        reward = -(losses.detach() - alpha / len(blocks) * saved)
        total = total - block.log_probability * reward
    return total.mean()


def _weighted(pairs: Iterable[tuple[float, Tensor]]) -> Tensor:
    total, whole = torch.zeros(()), 0.0
    for cost, share in pairs:
        total, whole = total + cost * share, whole + cost
    return total / whole if whole else total
