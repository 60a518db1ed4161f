"""Query-efficient distillation: the teacher runs only on samples that the student gets wrong.

S. Elkerdawy, thesis, University of Alberta, 2022, section 7.2.3:

    L_qe = CrossEntropy(d[final != y], teacher(x[final != y]))     (7.3)

with d the distillation token's logits as in DeiT (H. Touvron et al. 2021), and `final` the last classifier's prediction
in this very step. The other samples do not go through the teacher: "saving up to 70% of inference calls" there.

What the thesis leaves open, and what is done here: the mean is over the samples given to the teacher, so that few weigh
as much as many ("emphasizes more distillation weight on the hard to learn samples"); when there are none the loss is 0
and the teacher does not run; the target is the teacher's class, as in DeiT (`hard=False`: its probabilities). A network
without a token takes the last exit's logits in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tinygen.compress.distill.objective import Batch, Objective, Teacher, checked_weight, soft_cross_entropy


class QueryEfficient(Objective):
    """weight * L_qe (7.3).

    Args:
        teacher: its `asked` counts the samples that went through it.
        hard: learn the teacher's class, not its probabilities.
        everything: run the teacher on every sample, the full query that the thesis compares with.

    Attributes:
        seen: all samples, given to the teacher or not.
    """

    def __init__(self, teacher: Teacher, weight: float = 1.0, *, hard: bool = True, everything: bool = False) -> None:
        self.teacher: Teacher = teacher
        self.weight = checked_weight(weight, "QueryEfficient")
        self.hard, self.everything = hard, everything
        self.seen = 0

    def __call__(self, batch: Batch) -> Tensor:
        self.seen += len(batch.labels)
        wrong = batch.final.detach().argmax(1) != batch.labels
        chosen = torch.ones_like(wrong) if self.everything else wrong
        # The mean cross-entropy of an empty batch is NaN.
        if not bool(chosen.any()):
            return batch.final.new_zeros(())
        answers = self.teacher(batch.images[chosen])
        logits = (batch.final if batch.token is None else batch.token)[chosen]
        if self.hard:
            return self.weight * functional.cross_entropy(logits, answers.argmax(1))
        return self.weight * soft_cross_entropy(logits, answers)
