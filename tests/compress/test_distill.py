"""Distillation: the losses as their papers print them, and a teacher that is not run where it need not be."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tinygen.compress.distill import (
    Alpha,
    AuxiliaryClassifier,
    Batch,
    Outputs,
    QueryEfficient,
    Schedule,
    SelfDistillation,
    SoftTargets,
    TaskLoss,
    Teacher,
    soft_cross_entropy,
    train_distilled,
)
from tinygen.compress.training import Shuffled
from tinygen.errors import ModelError, UnsupportedError

torch.set_num_threads(1)


class Fixed(nn.Module):
    """Gives rows of a table, those that the images name, and remembers which."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(table.shape[1])
        self.table = nn.Parameter(table)
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked += x.flatten().int().tolist()
        assert not self.training
        self.norm(self.table[x.flatten().long()])
        return self.table[x.flatten().long()]


def random_logits(count: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def entropy_by_hand(q: list[float], p: list[float]) -> float:
    """Of logits q and p, one sample, at temperature 1."""
    sum_q, sum_p = (sum(math.exp(value) for value in logits) for logits in (q, p))
    return -sum(math.exp(b) / sum_p * math.log(math.exp(a) / sum_q) for a, b in zip(q, p, strict=True))


def test_soft_targets_at_high_temperatures_match_logits() -> None:
    """Hinton et al., (4): dC/dz_i is (z_i - v_i) / (N T^2) for logits of mean zero, and the loss has the factor T^2."""
    student = random_logits(1, 5)
    student = student - student.mean()
    answers = torch.tensor([[2.0, -1.0, 0.5, -2.0, 0.5]], dtype=torch.float64)
    z = student.clone().requires_grad_()
    batch = Batch(torch.zeros(1, 1), torch.tensor([0]), [z])
    asked = Teacher(Fixed(answers).double())
    SoftTargets(asked, temperature=1e4)(batch).backward()
    torch.testing.assert_close(z.grad, (student - answers) / 5, rtol=1e-3, atol=1e-4)


def test_soft_targets_by_hand() -> None:
    z, v = [1.0, -0.5, 2.0], [0.5, 3.0, -1.0]
    logits, answers = torch.tensor([z, z]), torch.tensor([v, v])
    assert float(soft_cross_entropy(logits, answers)) == pytest.approx(entropy_by_hand(z, v))
    halves = entropy_by_hand([one / 2 for one in z], [one / 2 for one in v])
    batch = Batch(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), [answers, logits])
    loss = SoftTargets(Teacher(Fixed(answers)), temperature=2, weight=0.3)(batch)
    assert float(loss) == pytest.approx(0.3 * 4 * halves)


def test_teachers_are_not_trained() -> None:
    network = Fixed(random_logits(3, 4).float())
    network.train()
    teacher = Teacher(network)
    logits = torch.zeros(3, 4, requires_grad=True)
    SoftTargets(teacher)(Batch(torch.arange(3.0)[:, None], torch.zeros(3).long(), [logits])).backward()
    assert network.table.grad is None and logits.grad is not None
    assert not network.norm.running_mean.any()
    assert (teacher.asked, teacher.passes) == (3, 1)
    assert not teacher(torch.zeros(1, 1)).requires_grad
    with pytest.raises(ModelError, match="asked about no images"):
        teacher(torch.zeros(0, 1))


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_self_distillation_is_equation_7_2(progress: float) -> None:
    """Labels weigh alpha, which is 1 at first; the last exit 1 - alpha; sums over all exits but the last."""
    exits = [random_logits(1, 3).tolist()[0], random_logits(1, 3, 1).tolist()[0], [0.3, 2.0, -1.0]]
    label = 2
    onehot = [-1e3, -1e3, 0.0]
    alpha = 1 - progress
    wanted = sum(
        (1 - alpha) * entropy_by_hand(one, exits[2]) + alpha * entropy_by_hand(one, onehot) for one in exits[:2]
    )
    batch = Batch(torch.zeros(1, 1), torch.tensor([label]), [torch.tensor([one]) for one in exits], None, progress)
    assert float(SelfDistillation()(batch)) == pytest.approx(wanted, rel=1e-5)


def test_self_distillation_leaves_the_last_exit_alone() -> None:
    early, last = (random_logits(4, 3, seed).requires_grad_() for seed in range(2))
    SelfDistillation(Alpha(0.5, 0.5))(Batch(torch.zeros(4, 1), torch.tensor([0, 1, 2, 0]), [early, last])).backward()
    assert last.grad is None and early.grad is not None and bool(early.grad.any())


def test_self_distillation_at_a_temperature_and_of_classes() -> None:
    early, last, labels = random_logits(4, 3), random_logits(4, 3, 1), torch.tensor([0, 1, 2, 0])
    batch = Batch(torch.zeros(4, 1), labels, [early, last], None, 1.0)
    hot = SelfDistillation(temperature=5)(batch)
    assert float(hot) == pytest.approx(float(soft_cross_entropy(early / 5, last / 5)))
    cold = SelfDistillation(Alpha(1, 1), temperature=5)(batch)
    assert float(cold) == pytest.approx(float(nn.functional.cross_entropy(early / 5, labels)))
    hard = SelfDistillation(hard=True)(batch)
    assert float(hard) == pytest.approx(float(nn.functional.cross_entropy(early, last.argmax(1))))


def test_the_teacher_is_asked_about_mistakes_alone() -> None:
    """Images 1 and 3 are answered wrongly: only they go through the teacher, and the mean is over them."""
    logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 3.0]], requires_grad=True)
    labels = torch.tensor([0, 1, 1, 0])
    network = Fixed(torch.tensor([[9.0, 0.0], [0.0, 1.0], [9.0, 0.0], [2.0, 1.0]]))
    query = QueryEfficient(Teacher(network))
    loss = query(Batch(torch.arange(4.0)[:, None], labels, [logits]))
    assert network.asked == [1, 3] and (query.teacher.asked, query.seen) == (2, 4)
    assert loss.item() == pytest.approx(3 + math.log(1 + math.exp(-3)))  # classes 1 and 0 where 0 and 1 are said
    loss.backward()
    assert logits.grad is not None and logits.grad.any(1).tolist() == [False, True, False, True]


def test_nothing_wrong_asks_nobody() -> None:
    logits = torch.tensor([[3.0, 0.0]], requires_grad=True)
    network = Fixed(torch.zeros(1, 2))
    query = QueryEfficient(Teacher(network))
    batch = Batch(torch.zeros(1, 1), torch.tensor([0]), [logits])
    loss = query(batch) + TaskLoss()(batch)
    loss.backward()
    assert not network.asked and query.teacher.passes == 0 and query.seen == 1
    assert bool(torch.isfinite(loss)) and float(query(batch)) == 0


def test_tokens_learn_from_the_teacher() -> None:
    """What decides is the last exit's answer; what learns is the token."""
    final = torch.tensor([[3.0, 0.0], [0.0, 3.0]], requires_grad=True)
    token = torch.tensor([[0.0, 1.0], [2.0, 0.0]], requires_grad=True)
    network = Fixed(torch.tensor([[5.0, 0.0], [1.0, 0.0]]))
    batch = Batch(torch.arange(2.0)[:, None], torch.tensor([0, 0]), [final], token)
    loss = QueryEfficient(Teacher(network), weight=2, hard=False)(batch)
    assert loss.item() == pytest.approx(2 * entropy_by_hand([2.0, 0.0], [1.0, 0.0]))
    loss.backward()
    assert final.grad is None and token.grad is not None and network.asked == [1]
    everything = QueryEfficient(Teacher(network), everything=True)(batch)
    wanted = (entropy_by_hand([0.0, 1.0], [50.0, 0.0]) + entropy_by_hand([2.0, 0.0], [50.0, 0.0])) / 2
    assert everything.item() == pytest.approx(wanted, rel=1e-5) and network.asked == [1, 0, 1]


class Exits(nn.Module):
    """Two exits, and a token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.early, self.last, self.token = nn.Linear(2, 8), *(nn.Linear(8, 2) for _ in range(3))

    def forward(self, x: Tensor) -> Outputs:
        x = self.body(x).relu()
        return Outputs([self.early(x), self.last(x)], self.token(x))


def points() -> tuple[Tensor, Tensor]:
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > x[:, 1]).long()


def test_training_asks_less_and_less() -> None:
    x, labels = points()
    teacher = Teacher(nn.Linear(2, 2))
    network = Exits()
    objectives = [TaskLoss(), SelfDistillation(), QueryEfficient(teacher), QueryEfficient(teacher, 0.0)]
    history = train_distilled(network, Shuffled(x, labels, 20, 0), objectives, Schedule(12, 0.03))
    assert [epoch.samples for epoch in history] == [200] * 12
    assert sum(epoch.asked for epoch in history) == teacher.asked
    assert history[0].asked > 4 * history[-1].asked and history[-1].loss < history[0].loss / 2
    assert history[-1].saved == 1 - history[-1].asked / 200
    outputs = network(x)
    assert all(float((logits.argmax(1) == labels).float().mean()) > 0.95 for logits in outputs.exits)
    assert not network.training


def test_progress_goes_from_the_first_epoch_to_the_last() -> None:
    class Spy(TaskLoss):
        def __call__(self, batch: Batch) -> Tensor:
            seen.append(batch.progress)
            return super().__call__(batch)

    x, labels = points()
    for epochs, wanted in ((1, [0.0]), (3, [0.0, 0.5, 1.0])):
        seen: list[float] = []
        train_distilled(Exits(), [(x, labels)], [Spy()], Schedule(epochs, 0.01))
        assert seen == wanted
    assert [Alpha().at(progress) for progress in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]


def test_the_rate_falls_along_a_cosine() -> None:
    """Adam's step is the rate itself where the gradient stays the same."""

    class Sum(TaskLoss):
        def __call__(self, batch: Batch) -> Tensor:
            moved.append(float(network.bias.detach()))
            return batch.final.sum()

    moved: list[float] = []
    network = nn.Linear(1, 1)
    schedule = Schedule(4, 0.1, weight_decay=0.0)
    train_distilled(network, [(torch.ones(1, 1), torch.tensor([0]))], [Sum()], schedule)
    steps = [before - after for before, after in pairwise(moved)]
    assert steps == pytest.approx([0.05 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(3)], rel=1e-3)


def test_auxiliary_classifiers_take_patches_and_maps() -> None:
    torch.manual_seed(0)
    head = AuxiliaryClassifier(6, 3).eval()
    maps = torch.randn(2, 6, 4, 4)
    assert head.expand.out_channels == 24
    torch.testing.assert_close(head(maps), head(maps.flatten(2).transpose(1, 2)))
    assert head(maps).shape == (2, 3)
    with pytest.raises(ModelError, match=r"(?s)17 patches make no square.*Drop class"):
        head(torch.zeros(2, 17, 6))


def test_bad_input() -> None:
    teacher = Teacher(nn.Linear(2, 2))
    batch = Batch(torch.zeros(1, 2), torch.tensor([0]), [torch.zeros(1, 2)])
    for make in (
        lambda: SoftTargets(teacher, temperature=0),
        lambda: SelfDistillation(temperature=-1),
        lambda: TaskLoss(-1),
        lambda: QueryEfficient(teacher, float("nan")),
        lambda: Alpha(1.5),
        lambda: Schedule(0),
        lambda: SelfDistillation()(batch),
        lambda: train_distilled(nn.Linear(2, 2), [], []),
    ):
        with pytest.raises(UnsupportedError):
            make()
    with pytest.raises(ModelError, match="only once"):
        train_distilled(nn.Linear(2, 2), iter([]), [TaskLoss()])
    with pytest.raises(ModelError, match="no batch of data"):
        train_distilled(nn.Linear(2, 2), [], [TaskLoss()], Schedule(1))
    nothing = [(torch.full((1, 2), float("nan")), torch.tensor([0]))]
    with pytest.raises(ModelError, match="not a number"):
        train_distilled(nn.Linear(2, 2), nothing, [TaskLoss()], Schedule(1))
