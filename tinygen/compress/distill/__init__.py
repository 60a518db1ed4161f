"""Knowledge distillation: from a teacher, from a teacher that is run on few samples, from the network's own last exit.

    from tinygen.compress.distill import QueryEfficient, Schedule, SelfDistillation, TaskLoss, Teacher, train_distilled

    teacher = Teacher(large)
    objectives = [TaskLoss(), SelfDistillation(), QueryEfficient(teacher)]      # (7.4) of the thesis
    history = train_distilled(network, batches, objectives, Schedule(epochs=30, lr=2e-3))
    print(f"{100 * history[-1].saved:.0f} % of the images did not go through the teacher")

A network gives logits [N, classes], or a sequence of them: those of its exits, the last exit's last; or `Outputs`, with
the logits of a distillation token. The loss is the sum of the objectives, each a function of a `Batch`.

- `TaskLoss`: cross-entropy of the last exit and the labels.
- `SoftTargets`: a teacher's probabilities at a temperature (Hinton et al. 2015).
- `SelfDistillation`: the other exits learn from the labels first, from the last exit later (Elkerdawy 2022, 7.2.2).
- `QueryEfficient`: a teacher is run on the samples that the network gets wrong (Elkerdawy 2022, 7.2.3).
- `AuxiliaryClassifier`: the head of an exit that is only used for training (Elkerdawy 2022, 7.2.4).
"""

from tinygen.compress.distill.auxiliary import AuxiliaryClassifier
from tinygen.compress.distill.exits import Alpha, SelfDistillation
from tinygen.compress.distill.objective import Batch, Objective, Outputs, TaskLoss, Teacher, soft_cross_entropy
from tinygen.compress.distill.query import QueryEfficient
from tinygen.compress.distill.soft_targets import SoftTargets
from tinygen.compress.distill.training import Epoch, Schedule, train_distilled

__all__ = [
    "Alpha",
    "AuxiliaryClassifier",
    "Batch",
    "Epoch",
    "Objective",
    "Outputs",
    "QueryEfficient",
    "Schedule",
    "SelfDistillation",
    "SoftTargets",
    "TaskLoss",
    "Teacher",
    "soft_cross_entropy",
    "train_distilled",
]
