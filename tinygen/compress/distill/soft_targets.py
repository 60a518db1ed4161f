"""Soft targets: a student learns a teacher's probabilities at a raised temperature.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; slides by A. Wang
(2023), "Knowledge Transfer". With q_i = exp(z_i / T) / sum_j exp(z_j / T) (1) for the student and p likewise for the
teacher, the loss is T^2 times the cross-entropy of q and p: gradients of soft targets shrink by 1 / T^2, and the factor
keeps their share beside hard targets the same when T is changed. The teacher runs on every sample of every batch.
"""

from __future__ import annotations

from torch import Tensor

from tinygen.compress.distill.objective import (
    Batch,
    Objective,
    Teacher,
    checked_temperature,
    checked_weight,
    soft_cross_entropy,
)


class SoftTargets(Objective):
    """weight * T^2 * CrossEntropy(softmax(final / T), softmax(teacher / T)).

    Args:
        teacher: runs on every image.
        temperature: T. Small students need a low temperature: with 30 units a layer the best were 2.5 to 4 (section 3,
            MNIST), with 300 all above 8 did as well; speech took 2 (section 4, of 1, 2, 5 and 10).
        weight: beside a `TaskLoss` of its own weight; speech had 0.5 for each.

    Raises:
        UnsupportedError: a temperature that is not above 0, or a negative weight.
    """

    def __init__(self, teacher: Teacher, temperature: float = 4.0, weight: float = 1.0) -> None:
        self.teacher: Teacher = teacher
        self.temperature = checked_temperature(temperature, "SoftTargets")
        self.weight = checked_weight(weight, "SoftTargets")

    def __call__(self, batch: Batch) -> Tensor:
        loss = soft_cross_entropy(batch.final, self.teacher(batch.images), self.temperature)
        return self.weight * self.temperature**2 * loss
